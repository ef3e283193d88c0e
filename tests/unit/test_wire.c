/*
 * test_wire.c - claims about core/wire: frames and messages
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire/wire_message.h"

/* A whole frame's bytes, read back. */
static struct wire_frame read_back(struct wire_reader *reader, const struct buffer *bytes)
{
    struct wire_frame frame;
    memcpy(wire_reader_room(reader, bytes->size), bytes->data, bytes->size);
    wire_reader_received(reader, bytes->size);
    assert_int_equal(wire_reader_next(reader, &frame), 1);
    assert_int_equal(frame.size + WIRE_FRAME_HEADER, bytes->size);
    return frame;
}

static bool same_text(struct wire_text a, struct wire_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ------------------------------------------------------------------ */
/* One of each message                                                 */
/* ------------------------------------------------------------------ */

static const struct wire_hello hello = {WIRE_PROTOCOL, WIRE_PEER_BACKEND, 4711, 16384, 10, {"0.1.0", 5}, {"m.gguf", 6}};

/* A zero byte and text that is not ASCII pass through. */
static const struct wire_complete complete = {.raw = true,
                                              .stream = true,
                                              .max_tokens = -1,
                                              .temperature = 0.7f,
                                              .top_k = 40,
                                              .top_p = 0.9f,
                                              .min_p = 0.05f,
                                              .repeat_penalty = 1.1f,
                                              .seed = UINT64_MAX - 3,
                                              .priority = -1,
                                              .has_system = true,
                                              .system = {"\xc3\xa4\0z", 4},
                                              .prompt = {"once", 4},
                                              .n_stop = 2,
                                              .stop = {{"\n\n", 2}, {"", 0}}};

static const struct wire_done done = {DSR1_FINISH_STOP, {1, 2, 3, 4.5, 5.5, 6.5}, {"text", 4}};
static const struct wire_error error = {DSR1_ERR_BUSY, {"full", 4}};
static const struct wire_text text = {"some text", 9};
static const struct wire_stats stats = {{.n_threads = 1, .context_size = 2, .max_batch = 3, .n_running = 4,
                                         .n_queued = 5, .kv_used = 6, .kv_size = (size_t) 7 << 33, .n_requests = 8,
                                         .n_finished = 9, .n_cancelled = 10, .n_failed = 11, .prompt_tokens = 12,
                                         .cached_tokens = 13, .completion_tokens = 14, .n_steps = 15,
                                         .n_step_rows = 16, .prefill_s = 17.25, .decode_s = 18.5},
                                        19,
                                        20};

static bool put_hello(struct buffer *out)
{
    return wire_put_hello(out, &hello);
}

static bool put_complete(struct buffer *out)
{
    return wire_put_complete(out, 5, &complete);
}

static bool put_done(struct buffer *out)
{
    return wire_put_done(out, 5, &done);
}

static bool put_error(struct buffer *out)
{
    return wire_put_error(out, 5, &error);
}

static bool put_text(struct buffer *out)
{
    return wire_put_text_event(out, 5, text);
}

static bool put_tokens(struct buffer *out)
{
    return wire_put_tokens(out, 5, text);
}

static bool put_tokens_result(struct buffer *out)
{
    return wire_put_tokens_result(out, 5, (uint64_t) 1 << 40);
}

static bool put_stats(struct buffer *out)
{
    return wire_put_stats_result(out, 5, &stats);
}

/* Reads a message; where it is whole, all of it is as it was sent. */
static dsr1_status get_hello(const struct wire_frame *frame)
{
    struct wire_hello got;
    dsr1_status status = wire_get_hello(frame, &got);
    if (status == DSR1_OK) {
        assert_int_equal(got.protocol, hello.protocol);
        assert_int_equal(got.peer, hello.peer);
        assert_int_equal(got.pid, hello.pid);
        assert_int_equal(got.database, hello.database);
        assert_int_equal(got.role, hello.role);
        assert_true(same_text(got.version, hello.version));
        assert_true(same_text(got.model, hello.model));
    }
    return status;
}

static dsr1_status get_complete(const struct wire_frame *frame)
{
    struct wire_complete got;
    dsr1_status status = wire_get_complete(frame, &got);
    if (status == DSR1_OK) {
        assert_true(got.raw && got.stream && got.has_system);
        assert_int_equal(got.max_tokens, complete.max_tokens);
        assert_true(got.temperature == complete.temperature && got.top_p == complete.top_p);
        assert_true(got.min_p == complete.min_p && got.repeat_penalty == complete.repeat_penalty);
        assert_int_equal(got.top_k, complete.top_k);
        assert_true(got.seed == complete.seed);
        assert_int_equal(got.priority, complete.priority);
        assert_true(same_text(got.system, complete.system) && same_text(got.prompt, complete.prompt));
        assert_int_equal(got.n_stop, 2);
        assert_true(same_text(got.stop[0], complete.stop[0]) && same_text(got.stop[1], complete.stop[1]));
    }
    return status;
}

static dsr1_status get_done(const struct wire_frame *frame)
{
    struct wire_done got;
    dsr1_status status = wire_get_done(frame, &got);
    if (status == DSR1_OK) {
        assert_int_equal(got.finish, done.finish);
        assert_int_equal(got.usage.prompt_tokens, 1);
        assert_int_equal(got.usage.cached_tokens, 2);
        assert_int_equal(got.usage.completion_tokens, 3);
        assert_true(got.usage.queue_ms == 4.5 && got.usage.prefill_ms == 5.5 && got.usage.decode_ms == 6.5);
        assert_true(same_text(got.text, done.text));
    }
    return status;
}

static dsr1_status get_error(const struct wire_frame *frame)
{
    struct wire_error got;
    dsr1_status status = wire_get_error(frame, &got);
    if (status == DSR1_OK) {
        assert_int_equal(got.status, error.status);
        assert_true(same_text(got.message, error.message));
    }
    return status;
}

static dsr1_status get_text(const struct wire_frame *frame)
{
    struct wire_text got;
    dsr1_status status = wire_get_text_event(frame, &got);
    if (status == DSR1_OK)
        assert_true(same_text(got, text));
    return status;
}

static dsr1_status get_tokens(const struct wire_frame *frame)
{
    struct wire_text got;
    dsr1_status status = wire_get_tokens(frame, &got);
    if (status == DSR1_OK)
        assert_true(same_text(got, text));
    return status;
}

static dsr1_status get_tokens_result(const struct wire_frame *frame)
{
    uint64_t got;
    dsr1_status status = wire_get_tokens_result(frame, &got);
    if (status == DSR1_OK)
        assert_true(got == (uint64_t) 1 << 40);
    return status;
}

static dsr1_status get_stats(const struct wire_frame *frame)
{
    struct wire_stats got;
    dsr1_status status = wire_get_stats_result(frame, &got);
    const dsr1_engine_stats *a = &got.engine, *b = &stats.engine;
    if (status == DSR1_OK) {
        assert_int_equal(a->n_threads, b->n_threads);
        assert_int_equal(a->context_size, b->context_size);
        assert_int_equal(a->max_batch, b->max_batch);
        assert_int_equal(a->n_running, b->n_running);
        assert_int_equal(a->n_queued, b->n_queued);
        assert_true(a->kv_used == b->kv_used && a->kv_size == b->kv_size);
        assert_true(a->n_requests == b->n_requests && a->n_finished == b->n_finished);
        assert_true(a->n_cancelled == b->n_cancelled && a->n_failed == b->n_failed);
        assert_true(a->prompt_tokens == b->prompt_tokens && a->cached_tokens == b->cached_tokens);
        assert_true(a->completion_tokens == b->completion_tokens);
        assert_true(a->n_steps == b->n_steps && a->n_step_rows == b->n_step_rows);
        assert_true(a->prefill_s == b->prefill_s && a->decode_s == b->decode_s);
        assert_true(got.rss == stats.rss && got.n_clients == stats.n_clients);
    }
    return status;
}

static const struct message {
    unsigned type;
    uint64_t request;
    bool (*put)(struct buffer *out);
    dsr1_status (*get)(const struct wire_frame *frame);
} messages[] = {
    {WIRE_HELLO, 0, put_hello, get_hello},
    {WIRE_COMPLETE, 5, put_complete, get_complete},
    {WIRE_DONE, 5, put_done, get_done},
    {WIRE_ERROR, 5, put_error, get_error},
    {WIRE_TEXT, 5, put_text, get_text},
    {WIRE_TOKENS, 5, put_tokens, get_tokens},
    {WIRE_TOKENS_RESULT, 5, put_tokens_result, get_tokens_result},
    {WIRE_STATS_RESULT, 5, put_stats, get_stats},
};

enum { N_MESSAGES = sizeof messages / sizeof *messages };

static void every_message_comes_back_as_it_was_sent(void **state)
{
    (void) state;
    for (size_t i = 0; i < N_MESSAGES; i++) {
        struct buffer out = {0};
        struct wire_reader reader = {0};
        assert_true(messages[i].put(&out));
        struct wire_frame frame = read_back(&reader, &out);
        assert_int_equal(frame.type, messages[i].type);
        assert_int_equal(frame.request, messages[i].request);
        assert_int_equal(messages[i].get(&frame), DSR1_OK);
        wire_reader_free(&reader);
        buffer_free(&out);
    }
}

/* Each shortened payload is copied to memory of its own size, so that a sanitizer sees a read behind it. */
static void every_truncation_of_every_message_is_refused(void **state)
{
    (void) state;
    for (size_t i = 0; i < N_MESSAGES; i++) {
        struct buffer out = {0};
        assert_true(messages[i].put(&out));
        size_t whole = out.size - WIRE_FRAME_HEADER;
        for (size_t size = 0; size < whole; size++) {
            char *copy = malloc(size + 1);
            memcpy(copy, out.data + WIRE_FRAME_HEADER, size);
            copy = realloc(copy, size ? size : 1);
            struct wire_frame frame = {messages[i].type, 5, copy, size};
            assert_int_equal(messages[i].get(&frame), DSR1_ERR_FORMAT);
            free(copy);
        }
        buffer_free(&out);
    }
}

static void a_byte_too_many_is_refused(void **state)
{
    (void) state;
    for (size_t i = 0; i < N_MESSAGES; i++) {
        struct buffer out = {0};
        assert_true(messages[i].put(&out));
        buffer_append(&out, "", 1);
        struct wire_frame frame = {messages[i].type, 5, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
        assert_int_equal(messages[i].get(&frame), DSR1_ERR_FORMAT);
        buffer_free(&out);
    }
}

static void a_text_longer_than_its_frame_is_refused(void **state)
{
    (void) state;
    struct wire_text got;
    static const char sizes[][4] = {{10, 0, 0, 0}, {(char) 255, (char) 255, (char) 255, (char) 255},
                                    {0, 0, 0, (char) 128}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char payload[13] = {0};
        memcpy(payload, sizes[i], 4);
        struct wire_frame frame = {WIRE_TEXT, 1, payload, sizeof payload};
        assert_int_equal(wire_get_text_event(&frame, &got), DSR1_ERR_FORMAT);
    }
}

static void wild_values_are_refused(void **state)
{
    (void) state;
    struct wire_hello h;
    struct wire_complete c;
    struct wire_done d;
    static const struct {
        size_t at;
        unsigned char value;
    } in_complete[] = {{0, 2}, {1, 255}, {42, 7}};  /* raw, stream, has_system */
    struct buffer out = {0};
    assert_true(put_complete(&out));
    for (size_t i = 0; i < 3; i++) {
        char *at = out.data + WIRE_FRAME_HEADER + in_complete[i].at, before = *at;
        struct wire_frame frame = {WIRE_COMPLETE, 5, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
        assert_int_equal(wire_get_complete(&frame, &c), DSR1_OK);
        *at = (char) in_complete[i].value;
        assert_int_equal(wire_get_complete(&frame, &c), DSR1_ERR_FORMAT);
        *at = before;
    }
    buffer_drop(&out, out.size);
    assert_true(put_done(&out));
    out.data[WIRE_FRAME_HEADER] = DSR1_FINISH_ERROR + 1;
    struct wire_frame frame = {WIRE_DONE, 5, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
    assert_int_equal(wire_get_done(&frame, &d), DSR1_ERR_FORMAT);
    buffer_drop(&out, out.size);
    assert_true(put_hello(&out));
    out.data[WIRE_FRAME_HEADER] ^= 1;
    frame = (struct wire_frame){WIRE_HELLO, 0, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
    assert_int_equal(wire_get_hello(&frame, &h), DSR1_ERR_FORMAT);
    buffer_free(&out);
}

static void too_many_stop_strings_are_refused(void **state)
{
    (void) state;
    struct wire_complete got, many = complete;
    struct buffer out = {0};
    many.n_stop = WIRE_STOP_MAX;
    for (int i = 0; i < WIRE_STOP_MAX; i++)
        many.stop[i] = text;
    assert_true(wire_put_complete(&out, 1, &many));
    struct wire_frame frame = {WIRE_COMPLETE, 1, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
    assert_int_equal(wire_get_complete(&frame, &got), DSR1_OK);
    assert_int_equal(got.n_stop, WIRE_STOP_MAX);
    /* One more, with its text behind: the count lies in front of the texts. */
    wire_put_text(&out, text);
    char *count = out.data + out.size - (WIRE_STOP_MAX + 1) * (4 + text.size) - 4;
    assert_int_equal(*count, WIRE_STOP_MAX);
    *count = WIRE_STOP_MAX + 1;
    frame = (struct wire_frame){WIRE_COMPLETE, 1, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
    assert_int_equal(wire_get_complete(&frame, &got), DSR1_ERR_FORMAT);
    buffer_free(&out);
}

/* Whatever else changes, the first eight bytes of HELLO tell the version. */
static void another_protocol_is_told_from_a_broken_greeting(void **state)
{
    (void) state;
    struct wire_hello got, other = hello;
    struct buffer out = {0};
    other.protocol = WIRE_PROTOCOL + 7;
    assert_true(wire_put_hello(&out, &other));
    for (size_t size = 8; size <= out.size - WIRE_FRAME_HEADER; size++) {
        struct wire_frame frame = {WIRE_HELLO, 0, out.data + WIRE_FRAME_HEADER, size};
        assert_int_equal(wire_get_hello(&frame, &got), DSR1_ERR_UNSUPPORTED);
        assert_int_equal(got.protocol, WIRE_PROTOCOL + 7);
    }
    buffer_free(&out);
}

static void an_unknown_status_is_still_a_failure(void **state)
{
    (void) state;
    const int32_t wild[] = {0, 1, 77, -10, INT32_MIN};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        struct wire_error got;
        struct buffer payload = {0};
        wire_put_i32(&payload, wild[i]);
        wire_put_text(&payload, text);
        struct wire_frame frame = {WIRE_ERROR, 1, payload.data, payload.size};
        assert_int_equal(wire_get_error(&frame, &got), DSR1_OK);
        assert_int_equal(got.status, DSR1_ERR_INTERNAL);
        buffer_free(&payload);
    }
}

/* ------------------------------------------------------------------ */
/* Frames                                                              */
/* ------------------------------------------------------------------ */

static void put_header(struct buffer *out, uint32_t size, uint16_t type, uint16_t reserved)
{
    wire_put_u32(out, size);
    wire_put_u16(out, type);
    wire_put_u16(out, reserved);
    wire_put_u64(out, 1);
}

static int next_of(const struct buffer *bytes)
{
    struct wire_reader reader = {0};
    struct wire_frame frame;
    memcpy(wire_reader_room(&reader, bytes->size), bytes->data, bytes->size);
    wire_reader_received(&reader, bytes->size);
    int got = wire_reader_next(&reader, &frame);
    assert_int_equal(wire_reader_next(&reader, &frame), got);
    wire_reader_free(&reader);
    return got;
}

/* Refused at the header: nothing of the size that it claims is waited for or allocated. */
static void oversize_frames_are_refused_at_their_header(void **state)
{
    (void) state;
    const struct {
        uint32_t size;
        uint16_t reserved;
        int got;
    } cases[] = {{WIRE_FRAME_MAX, 0, 0}, {WIRE_FRAME_MAX + 1, 0, DSR1_ERR_FORMAT}, {UINT32_MAX, 0, DSR1_ERR_FORMAT},
                 {1, 1, DSR1_ERR_FORMAT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer bytes = {0};
        put_header(&bytes, cases[i].size, WIRE_PING, cases[i].reserved);
        assert_int_equal(next_of(&bytes), cases[i].got);
        buffer_free(&bytes);
    }
}

static void a_payload_too_long_is_taken_back(void **state)
{
    (void) state;
    struct buffer out = {0};
    char *long_text = calloc(1, WIRE_FRAME_MAX);
    assert_true(wire_put_bare(&out, WIRE_PING, 1));
    size_t before = out.size;
    assert_false(wire_put_text_event(&out, 1, (struct wire_text){long_text, WIRE_FRAME_MAX - 3}));
    assert_int_equal(out.size, before);
    assert_false(out.failed);
    assert_true(wire_put_text_event(&out, 1, (struct wire_text){long_text, WIRE_FRAME_MAX - 4}));
    free(long_text);
    buffer_free(&out);
}

static void frames_come_whole_from_pieces_of_any_size(void **state)
{
    (void) state;
    struct buffer out = {0};
    for (size_t i = 0; i < N_MESSAGES; i++)
        assert_true(messages[i].put(&out));
    assert_true(wire_put_bare(&out, WIRE_PING, 3));
    for (size_t piece = 1; piece < 40; piece++) {
        struct wire_reader reader = {0};
        struct wire_frame frame;
        size_t n = 0;
        for (size_t sent = 0; sent < out.size; sent += piece) {
            size_t now = out.size - sent < piece ? out.size - sent : piece;
            memcpy(wire_reader_room(&reader, now), out.data + sent, now);
            wire_reader_received(&reader, now);
            while (wire_reader_next(&reader, &frame) == 1) {
                if (n < N_MESSAGES)
                    assert_int_equal(messages[n].get(&frame), DSR1_OK);
                n++;
            }
        }
        assert_int_equal(n, N_MESSAGES + 1);
        wire_reader_free(&reader);
    }
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_as_it_was_sent),
        cmocka_unit_test(every_truncation_of_every_message_is_refused),
        cmocka_unit_test(a_byte_too_many_is_refused),
        cmocka_unit_test(a_text_longer_than_its_frame_is_refused),
        cmocka_unit_test(wild_values_are_refused),
        cmocka_unit_test(too_many_stop_strings_are_refused),
        cmocka_unit_test(another_protocol_is_told_from_a_broken_greeting),
        cmocka_unit_test(an_unknown_status_is_still_a_failure),
        cmocka_unit_test(oversize_frames_are_refused_at_their_header),
        cmocka_unit_test(a_payload_too_long_is_taken_back),
        cmocka_unit_test(frames_come_whole_from_pieces_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
