/*
 * wire_message.c - what client and engine say to each other
 *
 * Each pair of functions below is a message's layout: fields in order, nothing
 * between them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "wire/wire_message.h"

static struct wire_cursor payload(const struct wire_frame *frame)
{
    return wire_cursor(frame->payload, frame->size);
}

static dsr1_status checked(const struct wire_cursor *cursor)
{
    return wire_cursor_done(cursor) ? DSR1_OK : DSR1_ERR_FORMAT;
}

/* A truth is 0 or 1; anything else is not one of ours. */
static bool get_bool(struct wire_cursor *cursor)
{
    uint8_t value = wire_get_u8(cursor);
    if (value > 1)
        cursor->failed = true;
    return value == 1;
}

bool wire_put_bare(struct buffer *out, enum wire_type type, uint64_t request)
{
    return wire_frame_end(out, wire_frame_begin(out, type, request));
}

/* ---- HELLO ---- */

bool wire_put_hello(struct buffer *out, const struct wire_hello *hello)
{
    size_t begin = wire_frame_begin(out, WIRE_HELLO, 0);
    wire_put_u32(out, WIRE_MAGIC);
    wire_put_u32(out, hello->protocol);
    wire_put_u8(out, (uint8_t) hello->peer);
    wire_put_u32(out, hello->pid);
    wire_put_u32(out, hello->database);
    wire_put_u32(out, hello->role);
    wire_put_text(out, hello->version);
    wire_put_text(out, hello->model);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_hello(const struct wire_frame *frame, struct wire_hello *hello)
{
    struct wire_cursor cursor = payload(frame);
    *hello = (struct wire_hello){0};
    if (wire_get_u32(&cursor) != WIRE_MAGIC)
        return DSR1_ERR_FORMAT;
    hello->protocol = wire_get_u32(&cursor);
    if (cursor.failed)
        return DSR1_ERR_FORMAT;
    if (hello->protocol != WIRE_PROTOCOL)
        return DSR1_ERR_UNSUPPORTED;
    uint8_t peer = wire_get_u8(&cursor);
    if (peer > WIRE_PEER_OTHER)
        return DSR1_ERR_FORMAT;
    hello->peer = (enum wire_peer) peer;
    hello->pid = wire_get_u32(&cursor);
    hello->database = wire_get_u32(&cursor);
    hello->role = wire_get_u32(&cursor);
    hello->version = wire_get_text(&cursor);
    hello->model = wire_get_text(&cursor);
    return checked(&cursor);
}

/* ---- COMPLETE ---- */

bool wire_put_complete(struct buffer *out, uint64_t request, const struct wire_complete *complete)
{
    size_t begin = wire_frame_begin(out, WIRE_COMPLETE, request);
    wire_put_u8(out, complete->raw);
    wire_put_u8(out, complete->stream);
    wire_put_i32(out, complete->max_tokens);
    wire_put_f32(out, complete->temperature);
    wire_put_i32(out, complete->top_k);
    wire_put_f32(out, complete->top_p);
    wire_put_f32(out, complete->min_p);
    wire_put_f32(out, complete->repeat_penalty);
    wire_put_u64(out, complete->seed);
    wire_put_i32(out, complete->priority);
    wire_put_u8(out, complete->has_system);
    wire_put_text(out, complete->system);
    wire_put_text(out, complete->prompt);
    wire_put_u32(out, complete->n_stop);
    for (uint32_t i = 0; i < complete->n_stop; i++)
        wire_put_text(out, complete->stop[i]);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_complete(const struct wire_frame *frame, struct wire_complete *complete)
{
    struct wire_cursor cursor = payload(frame);
    complete->raw = get_bool(&cursor);
    complete->stream = get_bool(&cursor);
    complete->max_tokens = wire_get_i32(&cursor);
    complete->temperature = wire_get_f32(&cursor);
    complete->top_k = wire_get_i32(&cursor);
    complete->top_p = wire_get_f32(&cursor);
    complete->min_p = wire_get_f32(&cursor);
    complete->repeat_penalty = wire_get_f32(&cursor);
    complete->seed = wire_get_u64(&cursor);
    complete->priority = wire_get_i32(&cursor);
    complete->has_system = get_bool(&cursor);
    complete->system = wire_get_text(&cursor);
    complete->prompt = wire_get_text(&cursor);
    complete->n_stop = wire_get_u32(&cursor);
    if (cursor.failed || complete->n_stop > WIRE_STOP_MAX)
        return DSR1_ERR_FORMAT;
    for (uint32_t i = 0; i < complete->n_stop; i++)
        complete->stop[i] = wire_get_text(&cursor);
    return checked(&cursor);
}

/* ---- DONE, TEXT, ERROR ---- */

bool wire_put_done(struct buffer *out, uint64_t request, const struct wire_done *done)
{
    size_t begin = wire_frame_begin(out, WIRE_DONE, request);
    wire_put_u8(out, (uint8_t) done->finish);
    wire_put_i32(out, done->usage.prompt_tokens);
    wire_put_i32(out, done->usage.cached_tokens);
    wire_put_i32(out, done->usage.completion_tokens);
    wire_put_f64(out, done->usage.queue_ms);
    wire_put_f64(out, done->usage.prefill_ms);
    wire_put_f64(out, done->usage.decode_ms);
    wire_put_text(out, done->text);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_done(const struct wire_frame *frame, struct wire_done *done)
{
    struct wire_cursor cursor = payload(frame);
    uint8_t finish = wire_get_u8(&cursor);
    if (finish > DSR1_FINISH_ERROR)
        return DSR1_ERR_FORMAT;
    done->finish = (dsr1_finish) finish;
    done->usage.prompt_tokens = wire_get_i32(&cursor);
    done->usage.cached_tokens = wire_get_i32(&cursor);
    done->usage.completion_tokens = wire_get_i32(&cursor);
    done->usage.queue_ms = wire_get_f64(&cursor);
    done->usage.prefill_ms = wire_get_f64(&cursor);
    done->usage.decode_ms = wire_get_f64(&cursor);
    done->text = wire_get_text(&cursor);
    return checked(&cursor);
}

static bool put_one_text(struct buffer *out, enum wire_type type, uint64_t request, struct wire_text text)
{
    size_t begin = wire_frame_begin(out, type, request);
    wire_put_text(out, text);
    return wire_frame_end(out, begin);
}

static dsr1_status get_one_text(const struct wire_frame *frame, struct wire_text *text)
{
    struct wire_cursor cursor = payload(frame);
    *text = wire_get_text(&cursor);
    return checked(&cursor);
}

bool wire_put_text_event(struct buffer *out, uint64_t request, struct wire_text text)
{
    return put_one_text(out, WIRE_TEXT, request, text);
}

dsr1_status wire_get_text_event(const struct wire_frame *frame, struct wire_text *text)
{
    return get_one_text(frame, text);
}

bool wire_put_error(struct buffer *out, uint64_t request, const struct wire_error *error)
{
    size_t begin = wire_frame_begin(out, WIRE_ERROR, request);
    wire_put_i32(out, error->status);
    wire_put_text(out, error->message);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_error(const struct wire_frame *frame, struct wire_error *error)
{
    struct wire_cursor cursor = payload(frame);
    int32_t status = wire_get_i32(&cursor);
    /* A status that only a newer engine knows is still a failure. */
    error->status = status < 0 && status >= DSR1_ERR_INTERNAL ? (dsr1_status) status : DSR1_ERR_INTERNAL;
    error->message = wire_get_text(&cursor);
    return checked(&cursor);
}

/* ---- TOKENS ---- */

bool wire_put_tokens(struct buffer *out, uint64_t request, struct wire_text text)
{
    return put_one_text(out, WIRE_TOKENS, request, text);
}

dsr1_status wire_get_tokens(const struct wire_frame *frame, struct wire_text *text)
{
    return get_one_text(frame, text);
}

bool wire_put_tokens_result(struct buffer *out, uint64_t request, uint64_t n_tokens)
{
    size_t begin = wire_frame_begin(out, WIRE_TOKENS_RESULT, request);
    wire_put_u64(out, n_tokens);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_tokens_result(const struct wire_frame *frame, uint64_t *n_tokens)
{
    struct wire_cursor cursor = payload(frame);
    *n_tokens = wire_get_u64(&cursor);
    return checked(&cursor);
}

/* ---- STATS ---- */

bool wire_put_stats_result(struct buffer *out, uint64_t request, const struct wire_stats *stats)
{
    const dsr1_engine_stats *engine = &stats->engine;
    size_t begin = wire_frame_begin(out, WIRE_STATS_RESULT, request);
    wire_put_i32(out, engine->n_threads);
    wire_put_i32(out, engine->context_size);
    wire_put_i32(out, engine->max_batch);
    wire_put_i32(out, engine->n_running);
    wire_put_i32(out, engine->n_queued);
    wire_put_u64(out, engine->kv_used);
    wire_put_u64(out, engine->kv_size);
    wire_put_u64(out, engine->n_requests);
    wire_put_u64(out, engine->n_finished);
    wire_put_u64(out, engine->n_cancelled);
    wire_put_u64(out, engine->n_failed);
    wire_put_u64(out, engine->prompt_tokens);
    wire_put_u64(out, engine->cached_tokens);
    wire_put_u64(out, engine->completion_tokens);
    wire_put_u64(out, engine->n_steps);
    wire_put_u64(out, engine->n_step_rows);
    wire_put_f64(out, engine->prefill_s);
    wire_put_f64(out, engine->decode_s);
    wire_put_u64(out, stats->rss);
    wire_put_u32(out, stats->n_clients);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_stats_result(const struct wire_frame *frame, struct wire_stats *stats)
{
    dsr1_engine_stats *engine = &stats->engine;
    struct wire_cursor cursor = payload(frame);
    engine->n_threads = wire_get_i32(&cursor);
    engine->context_size = wire_get_i32(&cursor);
    engine->max_batch = wire_get_i32(&cursor);
    engine->n_running = wire_get_i32(&cursor);
    engine->n_queued = wire_get_i32(&cursor);
    engine->kv_used = wire_get_u64(&cursor);
    engine->kv_size = wire_get_u64(&cursor);
    engine->n_requests = wire_get_u64(&cursor);
    engine->n_finished = wire_get_u64(&cursor);
    engine->n_cancelled = wire_get_u64(&cursor);
    engine->n_failed = wire_get_u64(&cursor);
    engine->prompt_tokens = wire_get_u64(&cursor);
    engine->cached_tokens = wire_get_u64(&cursor);
    engine->completion_tokens = wire_get_u64(&cursor);
    engine->n_steps = wire_get_u64(&cursor);
    engine->n_step_rows = wire_get_u64(&cursor);
    engine->prefill_s = wire_get_f64(&cursor);
    engine->decode_s = wire_get_f64(&cursor);
    stats->rss = wire_get_u64(&cursor);
    stats->n_clients = wire_get_u32(&cursor);
    return checked(&cursor);
}
