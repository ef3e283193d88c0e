/*
 * fuzz_pack.c - any bytes as the head of a pack file: refused with a reason, or a head that fits the weights asked for
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/pack_parts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pack_head head, wish = {.key = {1, 2}, .size = 64};
    dsr1_error err = {0};
    /* The weights that the head itself names, so that its other checks are reached. */
    if (size >= sizeof wish)
        memcpy(&wish, data, sizeof wish);
    uint64_t file_size = PACK_START + wish.size;
    struct pack_sum key = {wish.key[0], wish.key[1]};
    dsr1_status status = pack_head_read(data, size, file_size, key, wish.size, &head, &err);
    if (status != DSR1_OK && (status != DSR1_ERR_FORMAT || err.status != status || err.message[0] == 0))
        abort();
    if (status == DSR1_OK && (head.version != PACK_VERSION || head.rows != PANEL_ROWS || head.size != wish.size))
        abort();
    return 0;
}
