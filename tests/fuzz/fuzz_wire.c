/*
 * fuzz_wire.c - any bytes in any pieces: frames lie inside of what came in, texts inside of their frame
 *
 * The first byte says how large the pieces are. Every payload is read as every
 * message; what is accepted is written again and must give the same bytes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "wire/wire_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct wire_frame *frame, struct buffer *again, bool put)
{
    if (!put || again->size != frame->size + WIRE_FRAME_HEADER ||
        memcmp(again->data + WIRE_FRAME_HEADER, frame->payload, frame->size) != 0)
        abort();
    buffer_free(again);
}

/* A signalling NaN may come back quiet; then the bytes differ and rightly so. */
static void nearly_same(const struct wire_frame *frame, struct buffer *again, bool put)
{
    if (!put || again->size != frame->size + WIRE_FRAME_HEADER)
        abort();
    buffer_free(again);
}

static void read_requests(const struct wire_frame *frame)
{
    static struct wire_complete complete;
    static struct wire_score score;
    struct wire_embed embed;
    struct wire_hello hello;
    struct wire_tokens tokens;
    struct wire_text text;
    struct wire_terms terms;
    struct wire_ids ids;
    struct buffer again = {0};
    if (wire_get_hello(frame, &hello) == DSR1_OK)
        same(frame, &again, wire_put_hello(&again, &hello));
    if (wire_get_complete(frame, &complete) == DSR1_OK)
        nearly_same(frame, &again, wire_put_complete(&again, frame->request, &complete));
    if (wire_get_score(frame, &score) == DSR1_OK)
        nearly_same(frame, &again, wire_put_score(&again, frame->request, &score));
    if (wire_get_embed(frame, &embed) == DSR1_OK)
        nearly_same(frame, &again, wire_put_embed(&again, frame->request, &embed));
    if (wire_get_tokens(frame, &tokens) == DSR1_OK)
        same(frame, &again, wire_put_tokens(&again, frame->request, &tokens));
    if (wire_get_reload(frame, &text) == DSR1_OK)
        same(frame, &again, wire_put_reload(&again, frame->request, text));
    if (wire_get_adapter(frame, &text) == DSR1_OK)
        same(frame, &again, wire_put_adapter(&again, frame->request, text));
    if (wire_get_terms(frame, &terms) == DSR1_OK && terms.adapter.size > frame->size)
        abort();
    if (wire_get_detokenize(frame, &ids) == DSR1_OK)
        for (uint32_t i = 0; i < ids.n; i++)
            if (wire_id(&ids, i) == INT32_MIN && i == UINT32_MAX)
                abort();
}

static void read_pieces(const struct wire_frame *frame, const struct wire_piece *piece)
{
    struct wire_token token;
    size_t at = 0;
    uint32_t n = 0;
    while (n < piece->n_tokens && wire_next_token(piece, &at, &token))
        n++;
    if (n != piece->n_tokens || at != piece->tokens.size || at > frame->size)
        abort();
}

static void read_events(const struct wire_frame *frame)
{
    static struct wire_score_result scores;
    static struct wire_embed_result embedding;
    static struct wire_requests requests;
    struct wire_done done;
    struct wire_piece piece;
    struct wire_error error;
    struct wire_text text;
    struct wire_model model;
    struct wire_stats stats;
    struct wire_phase phase;
    struct wire_adapter adapter;
    struct wire_ids ids;
    struct buffer again = {0};
    uint64_t n;
    if (wire_get_done(frame, &done) == DSR1_OK) {
        read_pieces(frame, &done.piece);
        nearly_same(frame, &again, wire_put_done(&again, frame->request, &done));
    }
    if (wire_get_text_event(frame, &piece) == DSR1_OK) {
        read_pieces(frame, &piece);
        same(frame, &again, wire_put_text_event(&again, frame->request, &piece));
    }
    if (wire_get_phase(frame, &phase) == DSR1_OK)
        same(frame, &again, wire_put_phase(&again, frame->request, &phase));
    if (wire_get_error(frame, &error) == DSR1_OK && error.status >= 0)
        abort();
    if (wire_get_text_result(frame, &text) == DSR1_OK)
        same(frame, &again, wire_put_text_result(&again, frame->request, text));
    if (wire_get_tokens_result(frame, &n, &ids) == DSR1_OK && ids.n > n)
        abort();
    if (wire_get_score_result(frame, &scores) == DSR1_OK)
        nearly_same(frame, &again, wire_put_score_result(&again, frame->request, &scores));
    if (wire_get_embed_result(frame, &embedding) == DSR1_OK)
        nearly_same(frame, &again, wire_put_embed_result(&again, frame->request, &embedding));
    if (wire_get_model_result(frame, &model) == DSR1_OK)
        same(frame, &again, wire_put_model_result(&again, frame->request, &model));
    if (wire_get_stats_result(frame, &stats) == DSR1_OK)
        nearly_same(frame, &again, wire_put_stats_result(&again, frame->request, &stats));
    if (wire_get_adapter_result(frame, &adapter) == DSR1_OK)
        nearly_same(frame, &again, wire_put_adapter_result(&again, frame->request, &adapter));
    if (wire_get_requests_result(frame, &requests) == DSR1_OK)
        same(frame, &again, wire_put_requests_result(&again, frame->request, &requests));
}

/* In memory of its own size, so that a read behind its end is seen. */
static void read_frame(const struct wire_frame *frame)
{
    char *copy = malloc(frame->size ? frame->size : 1);
    if (!copy)
        return;
    memcpy(copy, frame->payload, frame->size);
    struct wire_frame own = *frame;
    own.payload = copy;
    read_requests(&own);
    read_events(&own);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader reader = {0};
    size_t piece = size > 0 ? data[0] % 64 + 1 : 1, taken = 0;
    int got = 0;
    for (size_t used = 1; used < size && got >= 0;) {
        size_t now = size - used < piece ? size - used : piece;
        char *room = wire_reader_room(&reader, now);
        struct wire_frame frame;
        if (!room)
            break;
        memcpy(room, data + used, now);
        wire_reader_received(&reader, now);
        used += now;
        while ((got = wire_reader_next(&reader, &frame)) > 0) {
            taken += WIRE_FRAME_HEADER + frame.size;
            if (taken > used - 1)
                abort();
            read_frame(&frame);
        }
    }
    wire_reader_free(&reader);
    return 0;
}
