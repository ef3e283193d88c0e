/*
 * spm.c - SentencePiece-style tokenisation of one fragment of text
 *
 * Blanks become U+2581, the text its characters, and the adjacent pair whose
 * text is the token of highest score merges first (Kudo and Richardson 2018).
 * Characters that are no token fall back to one token per byte.
 *
 * Where no token holds two characters side by side, nothing ever merges across
 * them. The text is cut there, so that the pairs to choose from are those of a
 * word or so, not of a book.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/spm.h"

#include "base/error.h"
#include "base/float16.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char blank[] = "\xe2\x96\x81";

/* Floats in descending order are these in ascending order; 0 and -0 are one. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits = f32_bits(score + 0.0f);
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

/* The reference takes the first byte's word for the length of a character, and so must we for ill-formed text. */
static size_t character_size(const uint8_t *text, size_t size)
{
    size_t claimed = text[0] < 0xc0 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    return claimed < size ? claimed : size;
}

/* The bit of two neighbouring characters. Others may share it: then a place is not cut that could be. */
static uint32_t seam(const uint8_t *left, size_t left_size, const uint8_t *right, size_t right_size)
{
    uint32_t a = 0, b = 0;
    memcpy(&a, left, left_size);
    memcpy(&b, right, right_size);
    uint64_t both = (uint64_t) a << 32 | b;
    return (uint32_t) ((both * 0x9e3779b97f4a7c15u) >> (64 - SPM_SEAM_BITS));
}

static void add_seams(struct spm *spm, struct gguf_string token)
{
    const uint8_t *text = (const uint8_t *) token.bytes;
    size_t at = 0, next = token.size ? character_size(text, token.size) : 0;
    while (next < token.size) {
        size_t size = character_size(text + next, token.size - next);
        uint32_t bit = seam(text + at, next - at, text + next, size);
        spm->seams[bit / 64] |= UINT64_C(1) << bit % 64;
        at = next;
        next += size;
    }
}

static bool is_cut(const struct spm *spm, const uint8_t *left, size_t left_size, const uint8_t *right,
                   size_t right_size)
{
    uint32_t bit = seam(left, left_size, right, right_size);
    return !(spm->seams[bit / 64] >> bit % 64 & 1);
}

dsr1_status spm_open(struct spm *spm, const struct vocab *vocab, const struct gguf *gguf, dsr1_error *err)
{
    struct gguf_array scores;
    *spm = (struct spm){.vocab = vocab};
    dsr1_status status = gguf_get_array(gguf, "tokenizer.ggml.scores", &scores, err);
    if (status < 0)
        return status;
    if (scores.n != (size_t) vocab->n || scores.type != GGUF_F32)
        return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.scores: not one f32 for each of %d tokens",
                         (int) vocab->n);
    spm->ranks = memory_array(scores.n, sizeof *spm->ranks);
    spm->seams = memory_array((1u << SPM_SEAM_BITS) / 64, sizeof *spm->seams);
    if (!spm->ranks || !spm->seams) {
        spm_close(spm);
        return error_nomem(err, "scores");
    }
    for (size_t i = 0; i < scores.n; i++) {
        float score = gguf_array_float(&scores, i);
        if (isnan(score)) {
            spm_close(spm);
            return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.scores: number %zu is not a number", i);
        }
        spm->ranks[i] = rank_of_score(score);
        add_seams(spm, vocab->texts[i]);
    }
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned) byte);
        spm->byte_ids[byte] = vocab_find(vocab, text, 6);
    }
    return DSR1_OK;
}

void spm_close(struct spm *spm)
{
    free(spm->ranks);
    free(spm->seams);
    *spm = (struct spm){0};
}

static bool escape(const uint8_t *text, size_t size, bool prefix, struct buffer *escaped)
{
    escaped->size = 0;
    if (prefix)
        buffer_append(escaped, blank, 3);
    while (size) {
        const uint8_t *space = memchr(text, ' ', size);
        size_t n = space ? (size_t) (space - text) : size;
        buffer_append(escaped, text, n);
        if (space) {
            buffer_append(escaped, blank, 3);
            n++;
        }
        text += n;
        size -= n;
    }
    return !escaped->failed;
}

struct pair_context {
    const struct spm *spm;
    const uint8_t *text;
};

static void rank_pair(const void *context, struct merge_symbol *left, const struct merge_symbol *right)
{
    const struct pair_context *pair = context;
    int32_t id = vocab_find(pair->spm->vocab, pair->text + left->start, (size_t) left->size + right->size);
    left->rank = id >= 0 ? pair->spm->ranks[id] : MERGE_NONE;
    left->merged = id >= 0 ? (uint32_t) id : MERGE_NONE;
}

static void emit(const struct spm *spm, const uint8_t *text, const struct merge_symbol *symbol, struct id_list *out)
{
    int32_t id = vocab_find(spm->vocab, text + symbol->start, symbol->size);
    if (id >= 0) {
        id_list_add(out, id);
        return;
    }
    for (size_t i = 0; i < symbol->size; i++) {
        id = spm->byte_ids[text[symbol->start + i]];
        if (id < 0)
            id = spm->vocab->ids[ID_UNKNOWN];
        if (id >= 0)
            id_list_add(out, id);
    }
}

/* Merges the characters from *at to the next cut, and moves *at there. */
static bool piece(const struct spm *spm, const uint8_t *bytes, size_t end, size_t *at, struct merger *merger,
                  struct id_list *out)
{
    size_t n = 0;
    for (size_t size, last = 0; *at < end; *at += size, last = size) {
        size = character_size(bytes + *at, end - *at);
        if (n > 0 && is_cut(spm, bytes + *at - last, last, bytes + *at, size))
            break;
        if (n == merger->capacity && !merger_reserve(merger, n ? 2 * n : 64))
            return false;
        merger->symbols[n++] = (struct merge_symbol){.start = (uint32_t) *at, .size = (uint32_t) size};
    }
    const struct pair_context pair = {spm, bytes};
    merger->n = n;
    merger_run(merger, rank_pair, &pair);
    for (uint32_t i = 0; i != MERGE_NONE; i = merger->symbols[i].next)
        emit(spm, bytes, &merger->symbols[i], out);
    return true;
}

bool spm_fragment(const struct spm *spm, const uint8_t *text, size_t size, bool first, struct merger *merger,
                  struct buffer *escaped, struct id_list *out)
{
    if (size == 0)
        return true;
    if (!escape(text, size, first && spm->vocab->add_space_prefix, escaped) || escaped->size >= INT32_MAX)
        return false;
    const uint8_t *bytes = (const uint8_t *) escaped->data;
    for (size_t at = 0; at < escaped->size && !out->failed;)
        if (!piece(spm, bytes, escaped->size, &at, merger, out))
            return false;
    return !out->failed;
}

/* "<0x0A>"; hexadecimal in either case, as files have both. */
static size_t byte_of(struct gguf_string text, char *bytes, size_t capacity)
{
    unsigned byte;
    char copy[8] = "";
    if (text.size != 6)
        return 0;
    memcpy(copy, text.bytes, 6);
    if (sscanf(copy, "<0x%2x>", &byte) != 1)
        return 0;
    if (capacity)
        bytes[0] = (char) byte;
    return 1;
}

size_t spm_bytes(struct gguf_string text, bool is_byte, char *bytes, size_t capacity)
{
    size_t done = 0;
    if (is_byte)
        return byte_of(text, bytes, capacity);
    for (size_t at = 0; at < text.size; done++) {
        bool is_blank = text.size - at >= 3 && memcmp(text.bytes + at, blank, 3) == 0;
        if (done < capacity)
            bytes[done] = is_blank ? ' ' : text.bytes[at];
        at += is_blank ? 3 : 1;
    }
    return done;
}
