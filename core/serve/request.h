/*
 * request.h - one request from submit to its last event
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_REQUEST_H
#define SERVE_REQUEST_H

#include "kv/kv_cache.h"
#include "model/lora.h"
#include "serve/draft.h"
#include "serve/guess.h"
#include "serve/obey.h"
#include "serve/sampler.h"
#include "serve/score.h"
#include "serve/stream.h"
#include "text/reasoning.h"

struct lane;

enum request_state { REQUEST_QUEUED, REQUEST_RUNNING, REQUEST_OVER };

struct request {
    uint64_t id;
    struct request *next;       /* in its lane, or in the list of those that are over */
    struct request *next_by_id;
    struct lane *lane;
    int n_passed;               /* by others behind it in its lane */
    uint64_t turn;              /* order of first admission; 0: never admitted */
    enum request_state state;

    int32_t *tokens;            /* prompt, then answer; room for n_limit */
    int n_prompt, n_tokens, n_limit;
    int n_told;                 /* tokens of which the caller knows, the prompt among them */
    int n_cached;               /* of the prompt, found in the prefix tree when it was first admitted */
    int n_computed;             /* positions whose keys and values are in the cache */
    bool fixed;                 /* all its room is reserved at admission, and it never makes way for others */
    int n_reserve;              /* positions to have room for, if fixed */
    struct kv_seq seq;

    struct sampler sampler;
    int32_t chosen;             /* by answer_choose for this step; -1: not yet */
    struct draft draft;
    struct guess guess;
    bool guessed;               /* the draft of this step is the guess */
    struct obey obey;
    int n_skip;                 /* bytes in front of the answer that the prompt had already: its healed token */
    struct buffer *stops;
    size_t n_stops;
    struct stream stream;       /* the answer */
    struct stream thought;      /* the reasoning in front of it */
    struct reasoning reasoning;
    bool separate_reasoning;
    bool ignore_end, special;
    bool hollow;                /* fills a hole that no token marks, with nothing yet: must not end so */
    bool want_logprobs;
    int n_top;
    dsr1_logits_mode want_logits;
    bool want_experts;
    bool want_phases;
    dsr1_phase told;            /* by the last PHASE event */
    struct lora *lora;          /* a reference of its own, or NULL */
    dsr1_pooling pooling;
    double *pooled;             /* n_embd sums */
    struct score score;

    int priority;
    uint64_t scope;
    dsr1_event_fn on_event;
    void *user;
    bool cancelled;             /* the engine's lock guards it */
    dsr1_progress progress;     /* after the last step; guarded likewise */
    double deadline;            /* clock_seconds(); 0: none */
    dsr1_finish finish;         /* not NONE: the DONE event is due */
    dsr1_error error;
    double t_submit, t_start, t_first, t_end;
};

/* What the engine tells about itself so that a request can be checked. */
struct request_bounds {
    int context_size;           /* prompt and answer together */
    int n_vocab, n_embd;
    struct obey_terms obey;
};

/* Does the request need bounds->obey.table? */
bool request_obeys(const dsr1_request *from);

/* Copies what the caller gave, and writes the tokens that a constraint forces to begin with. */
dsr1_status request_open(const dsr1_request *from, const struct request_bounds *bounds, struct request **request,
                         dsr1_error *err);
void request_close(struct request *request);

/* How many tokens in front may come from the prefix tree. The last one is always computed: its logits go on. */
int request_cacheable(const struct request *request);

/* Are tokens told together with the logits before them, also those that needed none? */
static inline bool request_judges(const struct request *request)
{
    return request->want_logprobs || request->n_top > 0;
}

/* Known tokens to compute: not the last one that there may ever be. */
static inline int request_pending(const struct request *request)
{
    bool full = request->n_tokens == request->n_limit && request->n_limit > request->n_prompt;
    return request->n_tokens - full - request->n_computed;
}

/* Is the prompt done, so that an answer is being written? */
static inline bool request_answering(const struct request *request)
{
    return request->n_computed >= request->n_prompt;
}

#endif
