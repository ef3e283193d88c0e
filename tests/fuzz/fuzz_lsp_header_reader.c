/*
 * fuzz_lsp_header_reader.c - any bytes in any pieces: bodies lie inside of what came in
 *
 * The first byte says how large the pieces are.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "header_reader.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header_reader reader;
    size_t piece = size > 0 ? data[0] % 64 + 1 : 1, bodies = 0;
    bool over = false;
    header_reader_open(&reader, 5000);
    for (size_t used = 1; used < size && !over;) {
        size_t now = size - used < piece ? size - used : piece;
        char *room = header_reader_room(&reader, now);
        if (!room)
            break;
        memcpy(room, data + used, now);
        header_reader_filled(&reader, now);
        used += now;
        const char *body;
        size_t body_size;
        enum header_event event;
        while (!over && (event = header_reader_next(&reader, &body, &body_size)) != HEADER_MORE) {
            over = event == HEADER_FATAL;
            if (event == HEADER_MESSAGE) {
                bodies += body_size;
                if (body_size > 5000 || bodies > used)
                    abort();
                volatile char last = body_size ? body[body_size - 1] : 0;
                (void) last;
            }
        }
    }
    header_reader_close(&reader);
    return 0;
}
