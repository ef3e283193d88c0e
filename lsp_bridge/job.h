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

#include "polish.h"
#include "position.h"
#include "surroundings.h"

/* In the order of their importance. */
enum job_kind { JOB_INVOKED, JOB_AUTOMATIC, JOB_COMPLETION, JOB_KINDS };

/* Where an answer came from. */
enum job_source { SOURCE_MODEL, SOURCE_RECALL, SOURCE_RESUMED };

struct job_report {
    enum job_source source;
    bool fim, healed;
    int prompt_tokens, cached_tokens, completion_tokens;
    size_t prefix_bytes, suffix_bytes;
    double wait_ms, first_ms, total_ms;
    struct buffer raw;          /* what the model wrote */
    char error[sizeof((dsr1_error *) 0)->message];
};

struct job {
    enum job_kind kind;
    char *id;                   /* JSON text */
    char *uri;
    /* the place */
    enum position_encoding encoding;
    size_t line, column;        /* the cursor, as the client counts */
    size_t start;               /* where the range that is replaced begins */
    size_t end;                 /* and ends, at least */
    char *lead;                 /* what the inserted text begins with: the word before the cursor, or selected text */
    bool fixed_range;           /* the range is the client's (selectedCompletionInfo) and must not grow */
    struct surroundings around;
    /* the wishes */
    bool line_only, heal;
    int max_tokens, answer_ms;
    float temperature;
    double min_token_prob, min_line_prob;
    /* its life */
    double received_at, due_at; /* clock_seconds() */
    bool answered;              /* guarded by the worker's lock: whoever sets it sends the answer */
    bool dropped;               /* nobody wants the rest of it any more; same lock */
    /* the result */
    struct buffer text;
    size_t replaced;
    unsigned hits;              /* of polish */
    struct job_report report;
};

void job_free(struct job *job);     /* accepts NULL */

const char *job_kind_name(enum job_kind kind);
const char *job_source_name(enum job_source source);

#endif
