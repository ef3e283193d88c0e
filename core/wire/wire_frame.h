/*
 * wire_frame.h - frames between a client and the engine: length, type, request
 *
 * A stream is a row of frames, each a header of 16 bytes and a payload, all
 * integers little-endian:
 *
 *     u32 size       bytes of payload, at most WIRE_FRAME_MAX
 *     u16 type       wire_message.h names them
 *     u16 reserved   zero
 *     u64 request    chosen by the client, unique on its connection; 0 where no request is meant
 *
 * Bytes only: sockets belong to the caller. The header's layout, and that of
 * the first eight bytes of HELLO, never change; all else may change with
 * WIRE_PROTOCOL.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "base/buffer.h"
#include "dsr1.h"

enum {
    WIRE_FRAME_HEADER = 16,
    WIRE_FRAME_MAX = 16 << 20
};

struct wire_frame {
    unsigned type;
    uint64_t request;
    const char *payload;    /* inside the reader, until its next call */
    size_t size;
};

/*
 * Writing: begin, append the payload to the same buffer, end. End writes the
 * size into the header; it returns false, and takes the frame back, when the
 * payload is too long or memory was short.
 */
size_t wire_frame_begin(struct buffer *out, unsigned type, uint64_t request);
bool wire_frame_end(struct buffer *out, size_t begin);

/* Reading: bytes as they come, whole frames as they are ready. Starts as {0}. */
struct wire_reader {
    struct buffer in;
    size_t taken;           /* bytes of in that were handed out */
};

/* Room for at least size more bytes, to be received into and then counted; NULL when memory is short. */
char *wire_reader_room(struct wire_reader *reader, size_t size);
void wire_reader_received(struct wire_reader *reader, size_t size);

/*
 * The next frame: 1 when there is one, 0 when more bytes are needed,
 * DSR1_ERR_FORMAT when the stream is not one of ours (it stays so).
 */
int wire_reader_next(struct wire_reader *reader, struct wire_frame *frame);

void wire_reader_free(struct wire_reader *reader);

#endif
