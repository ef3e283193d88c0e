/*
 * request.c - one request from submit to its last event
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/request.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dsr1_status check_options(const dsr1_request *f, dsr1_error *err)
{
    if (!(f->temperature >= 0) || !isfinite(f->temperature))
        return error_set(err, DSR1_ERR_ARGUMENT, "temperature %g: must be 0 or more", f->temperature);
    if (f->top_k < 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "top_k %d: must be 0 or more", f->top_k);
    if (!(f->top_p >= 0 && f->top_p <= 1))
        return error_set(err, DSR1_ERR_ARGUMENT, "top_p %g: must be within 0 and 1", f->top_p);
    if (!(f->min_p >= 0 && f->min_p <= 1))
        return error_set(err, DSR1_ERR_ARGUMENT, "min_p %g: must be within 0 and 1", f->min_p);
    if (!(f->repeat_penalty >= 0) || !isfinite(f->repeat_penalty))
        return error_set(err, DSR1_ERR_ARGUMENT, "repeat_penalty %g: must be positive", f->repeat_penalty);
    if (!(f->timeout_ms >= 0) || !isfinite(f->timeout_ms))
        return error_set(err, DSR1_ERR_ARGUMENT, "timeout_ms %g: must be 0 or more", f->timeout_ms);
    if (f->n_top < 0 || f->n_top > DSR1_TOP_MAX)
        return error_set(err, DSR1_ERR_ARGUMENT, "n_top %d: must be 0 to %d", f->n_top, DSR1_TOP_MAX);
    if (f->max_tokens != 0 && (f->n_continuations > 0 || f->pooling != DSR1_POOLING_NONE))
        return error_set(err, DSR1_ERR_ARGUMENT, "a request for scores or an embedding has no answer: max_tokens must be 0");
    for (size_t i = 0; i < f->n_stop; i++)
        if (!f->stop[i] || !f->stop[i][0])
            return error_set(err, DSR1_ERR_ARGUMENT, "a stop string is empty");
    return DSR1_OK;
}

static dsr1_status check_prompt(const dsr1_request *f, const struct request_bounds *b, dsr1_error *err)
{
    if (f->n_tokens == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "the prompt is empty");
    /* One token of answer must fit behind the prompt, if an answer is asked for. */
    size_t room = (size_t) b->context_size - (f->max_tokens != 0);
    if (f->n_tokens > room)
        return error_set(err, DSR1_ERR_LIMIT, "prompt has %zu tokens, but the context holds %d", f->n_tokens,
                         b->context_size);
    for (size_t i = 0; i < f->n_tokens; i++)
        if (f->tokens[i] < 0 || f->tokens[i] >= b->n_vocab)
            return error_set(err, DSR1_ERR_ARGUMENT, "token %d is not in the vocabulary of %d", f->tokens[i], b->n_vocab);
    return DSR1_OK;
}

static bool copy_stops(struct request *r, const dsr1_request *f)
{
    r->stops = memory_array(f->n_stop, sizeof *r->stops);
    if (!r->stops)
        return false;
    for (size_t i = 0; i < f->n_stop; i++) {
        buffer_string(&r->stops[i], f->stop[i]);
        r->n_stops++;
        if (r->stops[i].failed)
            return false;
    }
    r->stream.stops = r->stops;
    r->stream.n_stops = r->n_stops;
    return true;
}

static void copy_options(struct request *r, const dsr1_request *f)
{
    r->sampler = (struct sampler){f->temperature, f->top_k, f->top_p, f->min_p, f->repeat_penalty, f->seed};
    r->ignore_end = f->ignore_end;
    r->special = f->special;
    r->separate_reasoning = f->separate_reasoning;
    reasoning_begin(&r->reasoning, f->reasoning_open);
    r->want_logprobs = f->want_logprobs;
    r->n_top = f->n_top;
    r->want_logits = f->want_logits;
    r->pooling = f->pooling;
    r->priority = f->priority;
    r->lora = lora_share((struct lora *) f->adapter);
    /* What an adapter computed is no other's prefix. */
    r->scope = r->lora ? rng_mix(f->scope ^ rng_mix(r->lora->id)) : f->scope;
    r->want_experts = f->want_experts;
    r->want_phases = f->want_phases;
    r->on_event = f->on_event;
    r->user = f->user;
    draft_open(&r->draft, f->no_draft);
    r->guess = (struct guess){.off = f->no_draft, .next = -1, .accepted = 0.5f};
}

/*
 * Behind a suffix that came first, the end of the prefix looks like any place in a text, so that a model takes it for the
 * end of the answer, too.
 */
static bool fills_unmarked_hole(const dsr1_request *f, const struct tokenizer *tokenizer)
{
    int32_t middle = tokenizer_fim_middle(tokenizer);
    if (middle < 0 || !tokenizer_fim_suffix_first(tokenizer))
        return false;
    size_t i = 0;
    while (i < f->n_tokens && f->tokens[i] != middle)
        i++;
    return i < f->n_tokens;
}

/* What a request without an answer needs is known; so is what one needs that must not start over. */
static dsr1_status set_room(struct request *r, const struct request_bounds *b, dsr1_error *err)
{
    int last = r->n_limit > r->n_prompt ? r->n_limit - 1 : r->n_prompt;
    if (r->score.n_texts > 0 && r->n_prompt + r->score.longest > b->context_size)
        return error_set(err, DSR1_ERR_LIMIT, "prompt and continuation have %d tokens, but the context holds %d",
                         r->n_prompt + r->score.longest, b->context_size);
    r->n_reserve = r->score.n_texts > 0 ? r->n_prompt + r->score.longest - 1 : last;
    r->fixed = r->n_limit == r->n_prompt || r->want_logits == DSR1_LOGITS_ALL;
    return DSR1_OK;
}

#define HEALED_MAX 6            /* tokens of a half word: longer ones are mostly right as they are */

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char) c >= 0x80;
}

/*
 * The last token, if it has a text and is not all there is, and those before it that belong to the same word: half a word
 * is cut otherwise than the whole ("ret", "u" and "return"), and tokens that only half words have lead astray.
 */
static struct obey_healed to_heal(const dsr1_request *f, const struct request_bounds *b)
{
    int n = 0;
    bool in_word = true;
    while (f->heal && in_word && n < HEALED_MAX && (size_t) n + 1 < f->n_tokens) {
        char bytes[256];
        size_t size = tokenizer_token_bytes(b->obey.tokenizer, f->tokens[f->n_tokens - 1 - (size_t) n], false, bytes, sizeof bytes);
        if (size == 0 || size > sizeof bytes || (n > 0 && !is_word_byte(bytes[size - 1])))
            break;
        n++;
        in_word = is_word_byte(bytes[0]);
    }
    return (struct obey_healed){f->tokens + f->n_tokens - n, n};
}

/* Behind copy_all: healed tokens belong to the answer, and so do the tokens that can only be these. */
static dsr1_status begin_answer(struct request *r, const dsr1_request *f, const struct request_bounds *b, dsr1_error *err)
{
    struct obey_healed healed = to_heal(f, b);
    dsr1_status status = obey_open(&r->obey, &b->obey, f, healed, err);
    if (status != DSR1_OK)
        return status;
    r->n_tokens = r->n_prompt = r->n_told = r->n_prompt - healed.n;
    r->n_skip = r->obey.n_healed;
    int room = r->n_limit - r->n_tokens, n = obey_forced(&r->obey, r->tokens + r->n_tokens, room, room);
    for (int i = 0; i < n; i++)
        obey_accept(&r->obey, r->tokens[r->n_tokens++]);
    return DSR1_OK;
}

static dsr1_status copy_all(struct request *r, const dsr1_request *f, const struct request_bounds *b, dsr1_error *err)
{
    int room = b->context_size - (int) f->n_tokens;
    r->n_prompt = r->n_tokens = r->n_told = (int) f->n_tokens;
    r->n_limit = r->n_prompt + (f->max_tokens < 0 || f->max_tokens > room ? room : f->max_tokens);
    r->tokens = memory_array((size_t) r->n_limit, sizeof *r->tokens);
    r->pooled = f->pooling ? memory_array((size_t) b->n_embd, sizeof *r->pooled) : NULL;
    if (!r->tokens || (f->pooling && !r->pooled) || !copy_stops(r, f))
        return error_nomem(err, "a request");
    memcpy(r->tokens, f->tokens, f->n_tokens * sizeof *r->tokens);
    r->hollow = fills_unmarked_hole(f, b->obey.tokenizer);
    dsr1_status status = score_open(&r->score, f, b->n_vocab, err);
    if (status == DSR1_OK)
        status = set_room(r, b, err);
    return status == DSR1_OK && request_obeys(f) ? begin_answer(r, f, b, err) : status;
}

bool request_obeys(const dsr1_request *f)
{
    return f->max_tokens != 0 && (f->heal || f->constraint.kind != DSR1_CONSTRAINT_NONE);
}

dsr1_status request_open(const dsr1_request *f, const struct request_bounds *b, struct request **out, dsr1_error *err)
{
    dsr1_status status = check_options(f, err);
    if (status == DSR1_OK)
        status = check_prompt(f, b, err);
    if (status != DSR1_OK)
        return status;
    struct request *r = memory_array(1, sizeof *r);
    if (!r)
        return error_nomem(err, "a request");
    copy_options(r, f);
    status = copy_all(r, f, b, err);
    if (status != DSR1_OK) {
        request_close(r);
        return status;
    }
    *out = r;
    return DSR1_OK;
}

int request_cacheable(const struct request *r)
{
    if (r->want_logits == DSR1_LOGITS_ALL || r->pooling == DSR1_POOLING_MEAN)
        return 0;
    /* Forced tokens are judged by logits in front of them. */
    return (request_judges(r) ? r->n_told : r->n_tokens) - 1;
}

void request_close(struct request *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_stops; i++)
        buffer_free(&r->stops[i]);
    free(r->stops);
    stream_free(&r->stream);
    stream_free(&r->thought);
    score_close(&r->score);
    draft_close(&r->draft);
    lora_close(r->lora);
    obey_close(&r->obey);
    free(r->pooled);
    free(r->tokens);
    free(r);
}
