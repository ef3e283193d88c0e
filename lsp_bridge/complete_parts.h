/*
 * complete_parts.h - what the files that answer jobs share
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_COMPLETE_PARTS_H
#define LSP_COMPLETE_PARTS_H

#include "complete.h"
#include "layout.h"

/* What polish.h is told about a job. */
struct polish complete_polish(const struct job *job);

/* The grammar of the place (code_grammar.h) behind `known`; *out stays empty where nothing is masked. */
void complete_grammar(const struct job *job, const struct buffer *known, struct buffer *out);

/* Is the layout's last token to be chosen anew? */
bool complete_heals(const struct job *job, const struct model_host *host, const struct layout *layout,
                    const struct buffer *known);

/* The layout of a job, with `known` behind the typed part. */
dsr1_status complete_layout(const struct job *job, struct model_host *host, const struct buffer *known,
                            struct layout *layout, dsr1_error *err);

struct complete_drawing {
    float temperature, min_p;
    uint64_t seed;
    bool (*stop)(void *user, const struct draft *draft);
    void *user;
};

/* One text behind `known` from the server at host->pg, appended to the draft. Writes what it did into job->report. */
dsr1_status complete_remotely(struct job *job, struct model_host *host, const struct buffer *known,
                              const struct complete_drawing *drawing, struct draft *draft, dsr1_error *err);

/*
 * Fills job->choices with what else could stand there: texts that are drawn, with fixed seeds, in one batch (one by one
 * from a server), and differ from job->text and from each other. Failures leave fewer of them.
 */
void complete_choices(struct job *job, struct model_host *host, const struct complete_hooks *hooks);

#endif
