/*
 * request.h - one request from submit to its last event
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SERVE_REQUEST_H
#define SERVE_REQUEST_H

#include "kv/kv_cache.h"
#include "serve/sampler.h"
#include "serve/stream.h"

#include <stdatomic.h>

struct request {
    uint64_t id;
    struct request *next;       /* in the queue */
    int32_t *tokens;            /* prompt, then answer; room for n_limit */
    int n_prompt, n_tokens, n_limit;
    int n_cached;               /* of the prompt, found in the prefix tree */
    int n_computed;             /* positions whose keys and values are in the cache */
    int n_reserved;             /* positions that the sequence may need */
    struct kv_seq seq;
    struct sampler sampler;
    struct buffer *stops;
    size_t n_stops;
    struct stream stream;
    bool ignore_end, special;
    dsr1_logits_mode want_logits;
    int priority;
    uint64_t scope;
    dsr1_event_fn on_event;
    void *user;
    atomic_bool cancelled;
    dsr1_finish finish;         /* not NONE: the DONE event is due */
    dsr1_error error;
    double t_submit, t_start, t_first, t_end;
};

/*
 * Copies what the caller gave. context_size bounds prompt and answer together;
 * n_vocab bounds the ids.
 */
dsr1_status request_open(const dsr1_request *from, int context_size, int n_vocab, struct request **request,
                         dsr1_error *err);
void request_close(struct request *request);

#endif
