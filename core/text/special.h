/*
 * special.h - find the tokens that are cut out of text before it is merged
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_SPECIAL_H
#define TEXT_SPECIAL_H

#include "text/vocab.h"

/* Texts in order of bytes, shorter before longer, and where each first byte begins. */
struct special_set {
    struct special {
        const uint8_t *bytes;
        size_t size;
        int32_t id;
        bool always;            /* user-defined: also in text that is data */
        const struct special *shorter;  /* the longest other one that this begins with, or NULL */
    } *items;
    uint32_t first[257];
};

enum { SPECIAL_SIZE_MAX = 512 };    /* bytes of a token's text */

/* User-defined tokens, and with `control` also control and unknown ones. DSR1_ERR_FORMAT for one that is too long. */
dsr1_status special_open(struct special_set *set, const struct vocab *vocab, bool control, dsr1_error *err);
void special_close(struct special_set *set);

/* Called for each token found, in order; false stops. */
typedef bool (*special_fn)(void *context, size_t at, size_t size, int32_t id);

/*
 * Finds the tokens in text: the longest anywhere first, then the next longest in
 * what is left, and so on; equally long ones by id; each from the left. `data`
 * are n_data pairs (offset, size), in order, of pieces in which only user-defined
 * tokens count. DSR1_ERR_NOMEM; DSR1_ERR_CANCELLED when found returned false.
 */
dsr1_status special_cut(const struct special_set *set, const uint8_t *text, size_t size, const size_t *data,
                        size_t n_data, special_fn found, void *context);

#endif
