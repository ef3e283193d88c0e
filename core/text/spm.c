/*
 * spm.c - SentencePiece-style tokenisation of one fragment of text
 *
 * Blanks become U+2581, the text its characters, and the adjacent pair whose
 * text is the token of highest score merges first (Kudo and Richardson 2018).
 * Characters that are no token fall back to one token per byte.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/spm.h"

#include "base/error.h"
#include "base/float16.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char blank[] = "\xe2\x96\x81";

/* Floats in descending order are these in ascending order; 0 and -0 are one. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits = f32_bits(score + 0.0f);
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
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
    if (!spm->ranks)
        return error_nomem(err, "scores");
    for (size_t i = 0; i < scores.n; i++) {
        float score = gguf_array_float(&scores, i);
        if (isnan(score)) {
            spm_close(spm);
            return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.scores: number %zu is not a number", i);
        }
        spm->ranks[i] = rank_of_score(score);
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

/* The reference takes the first byte's word for the length of a character, and so must we for ill-formed text. */
static size_t claimed_length(uint8_t lead)
{
    return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
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

bool spm_fragment(const struct spm *spm, const uint8_t *text, size_t size, bool first, struct merger *merger,
                  struct buffer *escaped, struct id_list *out)
{
    if (size == 0)
        return true;
    if (!escape(text, size, first && spm->vocab->add_space_prefix, escaped))
        return false;
    const uint8_t *bytes = (const uint8_t *) escaped->data;
    size_t n = 0;
    for (size_t at = 0; at < escaped->size; n++)
        at += claimed_length(bytes[at]);
    if (escaped->size >= INT32_MAX || !merger_reserve(merger, n))
        return false;
    merger->n = n;
    for (size_t at = 0, i = 0; at < escaped->size; i++) {
        size_t length = claimed_length(bytes[at]);
        if (length > escaped->size - at)
            length = escaped->size - at;
        merger->symbols[i] = (struct merge_symbol){.start = (uint32_t) at, .size = (uint32_t) length};
        at += length;
    }
    const struct pair_context pair = {spm, bytes};
    merger_run(merger, rank_pair, &pair);
    for (uint32_t i = 0; i != MERGE_NONE; i = merger->symbols[i].next)
        emit(spm, bytes, &merger->symbols[i], out);
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
