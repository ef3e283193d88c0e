/*
 * job.h - one request for a suggestion, on its way from the reader to the answer
 *
 * A job holds copies of all it needs: documents and settings may change while
 * it waits.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_JOB_H
#define LSP_JOB_H

#include "model_host.h"
#include "polish.h"
#include "position.h"
#include "settings.h"
#include "surroundings.h"

/*
 * In the order of their importance. The last two are nobody's: what would be
 * asked after an accept, and a prompt whose KV rows will soon be wanted.
 */
enum job_kind { JOB_INVOKED, JOB_AUTOMATIC, JOB_COMPLETION, JOB_ACTION, JOB_SPECULATION, JOB_WARM_UP, JOB_KINDS };

/* Where an answer came from. */
enum job_source { SOURCE_MODEL, SOURCE_RECALL, SOURCE_RESUMED };

struct job_report {
    enum job_source source;
    enum prompt_mode prompt;
    bool healed, masked, over;          /* over: nothing more will be written */
    bool dropped;               /* nobody waited for it any more, and idle_ms went by until the worker had stopped */
    double idle_ms;
    int prompt_tokens, cached_tokens, completion_tokens;
    int suffix_tokens;          /* of the prompt: those between the lines above and the typed part */
    size_t prefix_bytes, suffix_bytes, context_bytes;
    double bridge_cpu_ms;       /* the reader's own time of bridge_ms; of an answer from memory, for all of it */
    double bridge_ms, wait_ms, first_ms, total_ms;  /* until it was queued, waited, first token, answered */
    struct buffer raw;          /* what the model wrote */
    char error[sizeof((dsr1_error *) 0)->message];
};

/* A text, and how many bytes of the rest of the line it contains. */
struct job_choice {
    struct buffer text;
    size_t replaced;
    double likely;              /* mean log-probability of its tokens */
};

struct job {
    enum job_kind kind;
    char *id;                   /* JSON text */
    char *uri;
    char language[32];
    char *tables;               /* where SQL is written: what the database has, for its mask; else NULL. Owned */
    /* the place */
    enum position_encoding encoding;
    size_t line, column;        /* the cursor, as the client counts */
    size_t start;               /* where the range that is replaced begins */
    size_t end;                 /* and ends, at least */
    char *lead;                 /* what the inserted text begins with: the word before the cursor, or selected text */
    bool fixed_range;           /* the range is the client's (selectedCompletionInfo) and must not grow */
    size_t cursor;              /* byte offset in the document */
    struct buffer context;      /* schema and pieces of other files, which stand before the prefix */
    struct surroundings around;
    struct action *action;      /* of JOB_ACTION; owned */
    /* the wishes */
    int mode;                   /* enum settings_mode */
    bool line_only, heal, speculate;
    bool any_indent, any_brackets;  /* see polish.h and code_grammar.h */
    int items;                  /* texts to choose from, at most */
    int max_tokens, answer_ms, speculate_ms;
    float temperature;
    double min_token_prob, min_line_prob;
    /* its life */
    double received_at, due_at; /* clock_seconds() */
    double dropped_at;          /* when nobody wanted it any more; the worker's lock, as below */
    bool answered;              /* guarded by the worker's lock: whoever sets it sends the answer */
    bool recorded;              /* in the statistics; whoever sends the answer or ends the job does it */
    bool dropped;               /* nobody wants the rest of it any more; same lock */
    /* the result */
    struct buffer text;
    size_t replaced;
    unsigned hits;              /* of polish */
    struct job_choice choices[ITEMS_MAX - 1];   /* what else it could be, the most likely first */
    int n_choices;
    struct job_report report;
};

void job_free(struct job *job);     /* accepts NULL */

const char *job_kind_name(enum job_kind kind);
const char *job_source_name(enum job_source source);
const char *job_prompt_name(enum prompt_mode prompt);

#endif
