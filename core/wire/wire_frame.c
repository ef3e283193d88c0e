/*
 * wire_frame.c - frames between a client and the engine: length, type, request
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "wire/wire_frame.h"

#include "wire/wire_field.h"

/* An idle connection keeps no more than this of what one long frame needed. */
enum { KEEP_CAPACITY = 64 << 10 };

static void write_u32(char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char) (value >> 8 * i);
}

size_t wire_frame_begin(struct buffer *out, unsigned type, uint64_t request)
{
    size_t begin = out->size;
    wire_put_u32(out, 0);
    wire_put_u16(out, (uint16_t) type);
    wire_put_u16(out, 0);
    wire_put_u64(out, request);
    return begin;
}

bool wire_frame_end(struct buffer *out, size_t begin)
{
    size_t size = out->size - begin - WIRE_FRAME_HEADER;
    if (out->failed || out->size - begin < WIRE_FRAME_HEADER || size > WIRE_FRAME_MAX) {
        out->size = begin;
        return false;
    }
    write_u32(out->data + begin, (uint32_t) size);
    return true;
}

char *wire_reader_room(struct wire_reader *reader, size_t size)
{
    buffer_drop(&reader->in, reader->taken);
    reader->taken = 0;
    if (reader->in.size == 0 && reader->in.capacity > KEEP_CAPACITY)
        buffer_free(&reader->in);
    return buffer_reserve(&reader->in, size);
}

void wire_reader_received(struct wire_reader *reader, size_t size)
{
    reader->in.size += size;
}

int wire_reader_next(struct wire_reader *reader, struct wire_frame *frame)
{
    size_t left = reader->in.size - reader->taken;
    if (left < WIRE_FRAME_HEADER)
        return 0;
    const char *header = reader->in.data + reader->taken;
    struct wire_cursor cursor = wire_cursor(header, WIRE_FRAME_HEADER);
    uint32_t size = wire_get_u32(&cursor);
    unsigned type = wire_get_u16(&cursor);
    unsigned reserved = wire_get_u16(&cursor);
    uint64_t request = wire_get_u64(&cursor);
    if (size > WIRE_FRAME_MAX || reserved != 0)
        return DSR1_ERR_FORMAT;
    if (left - WIRE_FRAME_HEADER < size)
        return 0;
    *frame = (struct wire_frame){type, request, header + WIRE_FRAME_HEADER, size};
    reader->taken += WIRE_FRAME_HEADER + (size_t) size;
    return 1;
}

void wire_reader_free(struct wire_reader *reader)
{
    buffer_free(&reader->in);
    reader->taken = 0;
}
