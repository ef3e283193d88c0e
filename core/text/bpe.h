/*
 * bpe.h - byte-level byte-pair encoding of one word
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include "text/id_list.h"
#include "text/merge.h"
#include "text/vocab.h"

enum { BPE_CHARS = 256 + 68 };  /* the characters that stand for bytes are below this */

/* Two symbols that merge into one. */
struct bpe_merge {
    uint32_t left, right;
    uint32_t rank;
    uint32_t merged;            /* MERGE_NONE: an empty slot */
};

struct bpe {
    const struct vocab *vocab;
    uint16_t char_of[256];      /* the character that stands for a byte in token texts */
    int16_t byte_of[BPE_CHARS]; /* and back; -1 for none */
    uint32_t symbol_of[256];    /* the symbol a byte begins as: a token, or from vocab->n on one that is none */
    struct bpe_merge *slots;    /* hashed by (left, right) */
    size_t mask;
    int shift;
    uint64_t factor;
    bool whole_words;
};

/* Reads tokenizer.ggml.merges. vocab must outlive it. */
dsr1_status bpe_open(struct bpe *bpe, const struct vocab *vocab, const struct gguf *gguf, bool whole_words,
                     dsr1_error *err);
void bpe_close(struct bpe *bpe);

/* Adds the ids of a word of less than 2^31 bytes; false when memory is short. merger is scratch. */
bool bpe_word(const struct bpe *bpe, const uint8_t *word, size_t size, struct merger *merger, struct id_list *out);

/* The bytes that a token of mapped characters stands for: writes at most capacity, returns all. */
size_t bpe_bytes(const struct bpe *bpe, struct gguf_string text, char *bytes, size_t capacity);

#endif
