/*
 * pack_parts.h - what the files about packing share
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_PACK_PARTS_H
#define MODEL_PACK_PARTS_H

#include "model/pack.h"

/* Bytes of one weight's panels. */
size_t packed_size(const struct weight *w);

/* Packs panel `index`, counted through all matrices of w, into a 64-aligned buffer. */
void pack_panel(const struct weight *w, int64_t index, void *panel);

/*
 * The head of a pack file. Panels follow at PACK_START, so that they begin on a huge page.
 */
enum { PACK_START = 2 << 20, PACK_VERSION = 2 };

struct pack_head {
    char magic[8];              /* "dsr1pack" */
    uint32_t version;           /* of the layouts in kernel/panel.h */
    uint32_t rows;              /* PANEL_ROWS; also shows the byte order */
    uint64_t key[2];            /* whose weights: pack_name() */
    uint64_t size;              /* bytes of panels */
    uint64_t sum[2];            /* their checksum */
    uint64_t own_sum;           /* checksum of the fields above */
};

/* A checksum of words, good against accidents: not against an enemy. */
struct pack_sum {
    uint64_t a, b;
};
void pack_sum_add(struct pack_sum *sum, const void *bytes, size_t size);

struct pack_sum pack_key(const struct weights *weights);

/* The first bytes of a file of file_size: are they the head of a pack of weights of this key and size? Reads no more. */
dsr1_status pack_head_read(const void *bytes, size_t n, uint64_t file_size, struct pack_sum key, uint64_t size,
                           struct pack_head *head, dsr1_error *err);

#endif
