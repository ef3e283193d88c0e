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

static const struct wire_hello hello = {WIRE_PROTOCOL, WIRE_PEER_BACKEND, 4711, 16384, 10, {"0.1.0", 5}, {"m.gguf", 6}, true};

/* A zero byte and text that is not ASCII pass through. */
static const struct wire_complete complete = {
    .terms = {-1, 2500.5, {"sql", 3}},
    .prompt = {.kind = WIRE_PROMPT_CHAT,
               .think = WIRE_THINK_OFF,
               .n_turns = 2,
               .turns = {{{"system", 6}, {"\xc3\xa4\0z", 4}}, {{"user", 4}, {"once", 4}}},
               .opening = {"{", 1}},
    .stream = true,
    .max_tokens = -1,
    .temperature = 0.7f,
    .top_k = 40,
    .top_p = 0.9f,
    .min_p = 0.05f,
    .repeat_penalty = 1.1f,
    .seed = UINT64_MAX - 3,
    .heal = true,
    .want_logprobs = true,
    .n_top = 5,
    .constraint = DSR1_CONSTRAINT_CHOICES,
    .n_constraint = 2,
    .constraint_texts = {{"yes", 3}, {"no", 2}},
    .open_end = true,
    .n_stop = 2,
    .stop = {{"\n\n", 2}, {"", 0}}};

static const struct wire_score score = {.terms = {3, 0, {"", 0}},
                                        .prompt = {.n_turns = 1, .turns = {{{"", 0}, {"once", 4}}}},
                                        .n_continuations = 2,
                                        .continuations = {{" upon", 5}, {" more", 5}}};
static const struct wire_embed embed = {{0, 10, {"", 0}}, DSR1_POOLING_MEAN, {"some text", 9}};
static const struct wire_tokens tokens = {true, true, {"some text", 9}};
static const struct wire_phase a_phase = {DSR1_PHASE_PREFILL};
static const struct wire_piece a_piece = {{"text", 4}, {"thought", 7}, 0, {"", 0}};
static const struct wire_done done = {DSR1_FINISH_STOP, {1, 2, 3, 4.5, 5.5, 6.5}, (uint64_t) 7 << 40, {{"text", 4}, {"", 0}, 0, {"", 0}}};
static const struct wire_score_result scores = {{1, 2, 3, 4.5, 5.5, 6.5}, (uint64_t) 7 << 40, 2, {-1.5, -2.5}, {3, 4}};
static const struct wire_embed_result embedding = {{1, 2, 3, 4.5, 5.5, 6.5}, (uint64_t) 7 << 40, 3, {0.5f, -0.25f, 0.125f}};
static const struct wire_model model = {.path = {"m.gguf", 6}, .name = {"M", 1}, .architecture = {"llama", 5},
                                        .file_type = {"Q8_0", 4}, .template_name = {"chatml", 6}, .digest = {"ab", 2},
                                        .id = (uint64_t) 6 << 40, .n_parameters = 7, .size = 8, .n_layers = 9, .n_embd = 10, .n_vocab = 11,
                                        .n_experts = 12, .n_experts_used = 13, .n_context_train = 14,
                                        .context_size = 15, .has_fim = true, .opens_reasoning = true};
static const struct wire_adapter adapter = {{"llama", 5}, 16, 210, 32.5f, (uint64_t) 9 << 33};
static const struct wire_requests requests = {2, {{4711, (uint64_t) 7 << 33, {DSR1_PHASE_DECODE, 300, 256, 17}}, {12, 1, {.prompt_tokens = 9}}}};
static const struct wire_error error = {DSR1_ERR_BUSY, {"full", 4}};
static const struct wire_text text = {"some text", 9};
static const struct wire_stats stats = {
    {.n_threads = 1, .context_size = 2, .max_batch = 3, .n_running = 4, .n_queued = 5, .kv_used = 6,
     .kv_size = (size_t) 7 << 33, .n_requests = 8, .n_finished = 9, .n_cancelled = 10, .n_failed = 11,
     .prompt_tokens = 12, .cached_tokens = 13, .completion_tokens = 14, .n_steps = 15, .n_step_rows = 16,
     .n_preempted = 21, .n_forced = 22, .n_drafted = 23, .n_accepted = 24, .prefill_s = 17.25, .decode_s = 18.5},
    19, 20};
static const int32_t some_ids[] = {5, -1, INT32_MAX};

/*
 * Each message is put, got, and put again: the bytes must be the same. Fields
 * that take turns being different in the messages above would show an exchange.
 */
#define MESSAGE(NAME, STRUCT, VALUE)                                        \
    static bool put_##NAME(struct buffer *out)                              \
    {                                                                       \
        return wire_put_##NAME(out, 5, &(VALUE));                           \
    }                                                                       \
    static dsr1_status get_##NAME(const struct wire_frame *frame)           \
    {                                                                       \
        static struct STRUCT got;                                           \
        struct buffer again = {0};                                          \
        dsr1_status status = wire_get_##NAME(frame, &got);                  \
        if (status == DSR1_OK) {                                            \
            assert_true(wire_put_##NAME(&again, 5, &got));                  \
            assert_same(frame, &again);                                     \
        }                                                                   \
        buffer_free(&again);                                                \
        return status;                                                      \
    }

static void assert_same(const struct wire_frame *frame, const struct buffer *again)
{
    assert_int_equal(again->size, frame->size + WIRE_FRAME_HEADER);
    assert_memory_equal(again->data + WIRE_FRAME_HEADER, frame->payload, frame->size);
}

MESSAGE(complete, wire_complete, complete)
MESSAGE(score, wire_score, score)
MESSAGE(embed, wire_embed, embed)
MESSAGE(tokens, wire_tokens, tokens)
MESSAGE(done, wire_done, done)
MESSAGE(error, wire_error, error)
MESSAGE(text_event, wire_piece, a_piece)
MESSAGE(phase, wire_phase, a_phase)
MESSAGE(score_result, wire_score_result, scores)
MESSAGE(embed_result, wire_embed_result, embedding)
MESSAGE(model_result, wire_model, model)
MESSAGE(stats_result, wire_stats, stats)
MESSAGE(adapter_result, wire_adapter, adapter)
MESSAGE(requests_result, wire_requests, requests)

static bool put_hello(struct buffer *out)
{
    return wire_put_hello(out, &hello);
}

static dsr1_status get_hello(const struct wire_frame *frame)
{
    struct wire_hello got;
    struct buffer again = {0};
    dsr1_status status = wire_get_hello(frame, &got);
    if (status == DSR1_OK) {
        assert_true(wire_put_hello(&again, &got));
        assert_same(frame, &again);
    }
    buffer_free(&again);
    return status;
}

static bool put_adapter(struct buffer *out)
{
    return wire_put_adapter(out, 5, text);
}

static dsr1_status get_adapter(const struct wire_frame *frame)
{
    struct wire_text got;
    dsr1_status status = wire_get_adapter(frame, &got);
    if (status == DSR1_OK)
        assert_memory_equal(got.data, text.data, text.size);
    return status;
}

static bool put_reload(struct buffer *out)
{
    return wire_put_reload(out, 5, text);
}

static dsr1_status get_reload(const struct wire_frame *frame)
{
    struct wire_text got;
    dsr1_status status = wire_get_reload(frame, &got);
    if (status == DSR1_OK)
        assert_true(same_text(got, text));
    return status;
}

static bool put_text_result(struct buffer *out)
{
    return wire_put_text_result(out, 5, text);
}

static dsr1_status get_text_result(const struct wire_frame *frame)
{
    struct wire_text got;
    dsr1_status status = wire_get_text_result(frame, &got);
    if (status == DSR1_OK)
        assert_true(same_text(got, text));
    return status;
}

static void assert_ids(const struct wire_ids *got)
{
    assert_int_equal(got->n, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(wire_id(got, i), some_ids[i]);
}

static bool put_detokenize(struct buffer *out)
{
    return wire_put_detokenize(out, 5, some_ids, 3);
}

static dsr1_status get_detokenize(const struct wire_frame *frame)
{
    struct wire_ids got;
    dsr1_status status = wire_get_detokenize(frame, &got);
    if (status == DSR1_OK)
        assert_ids(&got);
    return status;
}

static bool put_tokens_result(struct buffer *out)
{
    return wire_put_tokens_result(out, 5, 3, some_ids);
}

static dsr1_status get_tokens_result(const struct wire_frame *frame)
{
    struct wire_ids got;
    uint64_t n;
    dsr1_status status = wire_get_tokens_result(frame, &n, &got);
    if (status == DSR1_OK) {
        assert_int_equal(n, 3);
        assert_ids(&got);
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
    {WIRE_SCORE, 5, put_score, get_score},
    {WIRE_EMBED, 5, put_embed, get_embed},
    {WIRE_TOKENS, 5, put_tokens, get_tokens},
    {WIRE_DETOKENIZE, 5, put_detokenize, get_detokenize},
    {WIRE_RELOAD, 5, put_reload, get_reload},
    {WIRE_ADAPTER, 5, put_adapter, get_adapter},
    {WIRE_DONE, 5, put_done, get_done},
    {WIRE_ERROR, 5, put_error, get_error},
    {WIRE_TEXT, 5, put_text_event, get_text_event},
    {WIRE_PHASE, 5, put_phase, get_phase},
    {WIRE_TOKENS_RESULT, 5, put_tokens_result, get_tokens_result},
    {WIRE_TEXT_RESULT, 5, put_text_result, get_text_result},
    {WIRE_SCORE_RESULT, 5, put_score_result, get_score_result},
    {WIRE_EMBED_RESULT, 5, put_embed_result, get_embed_result},
    {WIRE_MODEL_RESULT, 5, put_model_result, get_model_result},
    {WIRE_STATS_RESULT, 5, put_stats_result, get_stats_result},
    {WIRE_ADAPTER_RESULT, 5, put_adapter_result, get_adapter_result},
    {WIRE_REQUESTS_RESULT, 5, put_requests_result, get_requests_result},
};

enum { N_MESSAGES = sizeof messages / sizeof *messages };

static void the_terms_of_a_request_can_be_read_alone(void **state)
{
    (void) state;
    struct wire_terms terms;
    for (size_t i = 0; i < N_MESSAGES; i++) {
        struct buffer out = {0};
        struct wire_reader reader = {0};
        struct wire_frame frame;
        const struct wire_terms *want = messages[i].type == WIRE_COMPLETE ? &complete.terms
                                        : messages[i].type == WIRE_SCORE  ? &score.terms
                                        : messages[i].type == WIRE_EMBED  ? &embed.terms : NULL;
        assert_true(messages[i].put(&out));
        memcpy(wire_reader_room(&reader, out.size), out.data, out.size);
        wire_reader_received(&reader, out.size);
        assert_int_equal(wire_reader_next(&reader, &frame), 1);
        assert_int_equal(wire_get_terms(&frame, &terms), want ? DSR1_OK : DSR1_ERR_FORMAT);
        if (want) {
            assert_int_equal(terms.priority, want->priority);
            assert_int_equal(terms.adapter.size, want->adapter.size);
            assert_memory_equal(terms.adapter.data, want->adapter.data, want->adapter.size);
            frame.size = 15;
            assert_int_equal(wire_get_terms(&frame, &terms), DSR1_ERR_FORMAT);
        }
        wire_reader_free(&reader);
        buffer_free(&out);
    }
}

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
    struct wire_piece got;
    static const char sizes[][4] = {{10, 0, 0, 0}, {(char) 255, (char) 255, (char) 255, (char) 255},
                                    {0, 0, 0, (char) 128}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char payload[13] = {0};
        memcpy(payload, sizes[i], 4);
        struct wire_frame frame = {WIRE_TEXT, 1, payload, sizeof payload};
        assert_int_equal(wire_get_text_event(&frame, &got), DSR1_ERR_FORMAT);
    }
}

static void assert_wild(bool (*put)(struct buffer *out), dsr1_status (*get)(const struct wire_frame *frame), size_t at,
                        unsigned char value)
{
    struct buffer out = {0};
    assert_true(put(&out));
    struct wire_frame frame = {0, 5, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
    assert_int_equal(get(&frame), DSR1_OK);
    out.data[WIRE_FRAME_HEADER + at] = (char) value;
    assert_int_equal(get(&frame), DSR1_ERR_FORMAT);
    buffer_free(&out);
}

static void wild_values_are_refused(void **state)
{
    (void) state;
    assert_wild(put_complete, get_complete, 19, WIRE_PROMPT_FIM + 1);       /* kind of prompt */
    assert_wild(put_complete, get_complete, 19, WIRE_PROMPT_RAW);           /* which has one turn, not two */
    assert_wild(put_complete, get_complete, 20, WIRE_THINK_ON + 1);
    assert_wild(put_embed, get_embed, 16, DSR1_POOLING_LAST + 1);
    assert_wild(put_tokens, get_tokens, 0, 2);                              /* a truth */
    assert_wild(put_done, get_done, 0, DSR1_FINISH_TIMEOUT + 1);
    assert_wild(put_text_event, get_text_event, 8 + 4 + 7, 1);              /* one token, of which there is nothing */
    assert_wild(put_score_result, get_score_result, 12 + 24 + 8, 3);            /* three scores where two lie */
    assert_wild(put_hello, get_hello, 0, 'x');
}

static void tokens_of_a_piece_come_back_one_by_one(void **state)
{
    (void) state;
    struct wire_token sent[2] = {{7, -0.5f, {"a", 1}, 2, {{7, -0.5f}, {8, -1.5f}}}, {9, -2.5f, {"", 0}, 0, {{0, 0}}}};
    struct buffer bytes = {0}, out = {0};
    struct wire_piece got, with = a_piece;
    struct wire_token token;
    size_t at = 0;
    for (int i = 0; i < 2; i++)
        wire_put_token(&bytes, &sent[i]);
    with.n_tokens = 2;
    with.tokens = (struct wire_text){bytes.data, bytes.size};
    assert_true(wire_put_text_event(&out, 5, &with));
    struct wire_frame frame = {WIRE_TEXT, 5, out.data + WIRE_FRAME_HEADER, out.size - WIRE_FRAME_HEADER};
    assert_int_equal(wire_get_text_event(&frame, &got), DSR1_OK);
    assert_int_equal(got.n_tokens, 2);
    for (int i = 0; i < 2; i++) {
        assert_true(wire_next_token(&got, &at, &token));
        assert_int_equal(token.id, sent[i].id);
        assert_true(token.logprob == sent[i].logprob && same_text(token.bytes, sent[i].bytes));
        assert_int_equal(token.n_top, sent[i].n_top);
        assert_memory_equal(token.top, sent[i].top, (size_t) token.n_top * sizeof *token.top);
    }
    assert_false(wire_next_token(&got, &at, &token));
    buffer_free(&bytes);
    buffer_free(&out);
}

static void too_many_stop_strings_are_refused(void **state)
{
    (void) state;
    static struct wire_complete got, many;
    struct buffer out = {0};
    many = complete;
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
    buffer_drop(&out, out.size);
    many.n_stop = WIRE_STOP_MAX + 1;
    assert_false(wire_put_complete(&out, 1, &many));
    assert_int_equal(out.size, 0);
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
    assert_false(wire_put_text_result(&out, 1, (struct wire_text){long_text, WIRE_FRAME_MAX - 3}));
    assert_int_equal(out.size, before);
    assert_false(out.failed);
    assert_true(wire_put_text_result(&out, 1, (struct wire_text){long_text, WIRE_FRAME_MAX - 4}));
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
        cmocka_unit_test(the_terms_of_a_request_can_be_read_alone),
        cmocka_unit_test(every_truncation_of_every_message_is_refused),
        cmocka_unit_test(a_byte_too_many_is_refused),
        cmocka_unit_test(a_text_longer_than_its_frame_is_refused),
        cmocka_unit_test(wild_values_are_refused),
        cmocka_unit_test(tokens_of_a_piece_come_back_one_by_one),
        cmocka_unit_test(too_many_stop_strings_are_refused),
        cmocka_unit_test(another_protocol_is_told_from_a_broken_greeting),
        cmocka_unit_test(an_unknown_status_is_still_a_failure),
        cmocka_unit_test(oversize_frames_are_refused_at_their_header),
        cmocka_unit_test(a_payload_too_long_is_taken_back),
        cmocka_unit_test(frames_come_whole_from_pieces_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
