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

static void read_requests(const struct wire_frame *frame)
{
    struct wire_hello hello;
    struct wire_complete complete;
    struct wire_text text;
    struct buffer again = {0};
    if (wire_get_hello(frame, &hello) == DSR1_OK)
        same(frame, &again, wire_put_hello(&again, &hello));
    if (wire_get_complete(frame, &complete) == DSR1_OK) {
        /* A signalling NaN may come back quiet; then the bytes differ and rightly so. */
        bool numbers = complete.temperature == complete.temperature && complete.top_p == complete.top_p &&
                       complete.min_p == complete.min_p && complete.repeat_penalty == complete.repeat_penalty;
        bool put = wire_put_complete(&again, frame->request, &complete);
        if (numbers)
            same(frame, &again, put);
        buffer_free(&again);
    }
    if (wire_get_tokens(frame, &text) == DSR1_OK)
        same(frame, &again, wire_put_tokens(&again, frame->request, text));
}

static void read_events(const struct wire_frame *frame)
{
    struct wire_done done;
    struct wire_error error;
    struct wire_text text;
    struct wire_stats stats;
    struct buffer again = {0};
    uint64_t n;
    if (wire_get_done(frame, &done) == DSR1_OK) {
        wire_put_done(&again, frame->request, &done);
        buffer_free(&again);
    }
    if (wire_get_error(frame, &error) == DSR1_OK && error.status >= 0)
        abort();
    if (wire_get_text_event(frame, &text) == DSR1_OK)
        same(frame, &again, wire_put_text_event(&again, frame->request, text));
    if (wire_get_tokens_result(frame, &n) == DSR1_OK)
        same(frame, &again, wire_put_tokens_result(&again, frame->request, n));
    if (wire_get_stats_result(frame, &stats) == DSR1_OK) {
        wire_put_stats_result(&again, frame->request, &stats);
        buffer_free(&again);
    }
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
