/*
 * draft.c - what a client asked, as a request for the engine
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/draft.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static dsr1_status copy_texts(const struct wire_text *from, uint32_t n, const char *what, const char **to, size_t *n_to,
                              dsr1_error *err)
{
    for (*n_to = 0; *n_to < n; ++*n_to) {
        struct wire_text text = from[*n_to];
        if (text.size > 0 && memchr(text.data, 0, text.size))
            return error_set(err, DSR1_ERR_ARGUMENT, "%s holds a zero byte", what);
        to[*n_to] = strndup(text.size ? text.data : "", text.size);
        if (!to[*n_to])
            return error_nomem(err, what);
    }
    return DSR1_OK;
}

static dsr1_status fill_complete(const struct served *served, const struct wire_complete *m, struct draft *d,
                                 dsr1_error *err)
{
    dsr1_request *r = &d->request;
    dsr1_status status = prompt_open(served, &m->prompt, m->constraint != DSR1_CONSTRAINT_NONE, &d->prompt, err);
    r->max_tokens = m->max_tokens;
    r->temperature = m->temperature;
    r->top_k = m->top_k;
    r->top_p = m->top_p;
    r->min_p = m->min_p;
    r->repeat_penalty = m->repeat_penalty;
    r->seed = m->seed;
    r->heal = m->heal;
    r->want_logprobs = m->want_logprobs;
    r->n_top = m->n_top;
    r->separate_reasoning = d->prompt.is_chat;
    r->reasoning_open = d->prompt.reasoning_open;
    r->constraint.kind = m->constraint;
    r->constraint.texts = d->constraint;
    r->constraint.open_end = m->open_end;
    r->stop = d->stop;
    if (status == DSR1_OK)
        status = copy_texts(m->constraint_texts, m->n_constraint, "a constraint", d->constraint,
                            &r->constraint.n_texts, err);
    if (status == DSR1_OK)
        status = copy_texts(m->stop, m->n_stop, "a stop string", d->stop, &r->n_stop, err);
    return status;
}

static dsr1_status fill_score(const struct served *served, const struct wire_score *m, struct draft *d,
                              dsr1_error *err)
{
    dsr1_status status = prompt_open(served, &m->prompt, true, &d->prompt, err);
    d->request.continuations = d->continuations;
    for (uint32_t i = 0; i < m->n_continuations && status == DSR1_OK; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        status = prompt_append(served, m->continuations[i], 0, &ids, &n, err);
        d->continuations[d->request.n_continuations++] = (dsr1_tokens){ids, n};
    }
    return status;
}

static dsr1_status fill_embed(const struct served *served, const struct wire_embed *m, struct draft *d,
                              dsr1_error *err)
{
    d->request.pooling = m->pooling == DSR1_POOLING_NONE ? DSR1_POOLING_MEAN : m->pooling;
    if (served->info.n_embd > WIRE_EMBED_MAX)
        return error_set(err, DSR1_ERR_UNSUPPORTED, "an embedding of %d numbers does not fit a message",
                         served->info.n_embd);
    return prompt_append(served, m->text, DSR1_ADD_BOS, &d->prompt.ids, &d->prompt.n, err);
}

dsr1_status draft_read(const struct wire_frame *frame, enum wire_type type, union draft_message *m,
                       struct wire_terms *terms)
{
    dsr1_status status = type == WIRE_COMPLETE ? wire_get_complete(frame, &m->complete)
                         : type == WIRE_SCORE  ? wire_get_score(frame, &m->score)
                                               : wire_get_embed(frame, &m->embed);
    *terms = type == WIRE_COMPLETE ? m->complete.terms : type == WIRE_SCORE ? m->score.terms : m->embed.terms;
    return status;
}

dsr1_status draft_fill(const struct served *served, enum wire_type type, const union draft_message *m, struct draft *d,
                       dsr1_error *err)
{
    return type == WIRE_COMPLETE ? fill_complete(served, &m->complete, d, err)
           : type == WIRE_SCORE  ? fill_score(served, &m->score, d, err)
                                 : fill_embed(served, &m->embed, d, err);
}

void draft_free(struct draft *d)
{
    for (size_t i = 0; i < d->request.n_stop; i++)
        free((char *) d->stop[i]);
    for (size_t i = 0; i < d->request.constraint.n_texts; i++)
        free((char *) d->constraint[i]);
    for (size_t i = 0; i < d->request.n_continuations; i++)
        free((int32_t *) d->continuations[i].ids);
    prompt_close(&d->prompt);
    free(d);
}
