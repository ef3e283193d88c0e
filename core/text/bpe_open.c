/*
 * bpe_open.c - from the merges of a file to a table of symbol pairs
 *
 * A merge is two texts, LEFT and RIGHT; its place in the list is its rank. Texts
 * become numbers once, here, so that merging compares pairs of numbers. Nearly
 * every text is a token and has its id. Where a file merges into something that
 * is no token, that text gets a number from vocab->n on.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/bpe_merges.h"

#include "base/error.h"
#include "text/utf8.h"

#include <stdlib.h>

/* Texts that are symbols but no tokens; needed only while the table is built. */
struct strays {
    struct gguf_string *texts;
    struct name_index index;
    size_t n;
    char *joined;               /* room for LEFT and RIGHT of every merge, side by side */
    size_t used;
};

static void map_bytes(struct bpe *bpe)
{
    uint16_t next = 256;
    for (int c = 0; c < BPE_CHARS; c++)
        bpe->byte_of[c] = -1;
    for (int byte = 0; byte < 256; byte++) {
        bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        bpe->char_of[byte] = printable ? (uint16_t) byte : next++;
        bpe->byte_of[bpe->char_of[byte]] = (int16_t) byte;
    }
}

/* `text` must stay where it is when it is new. */
static uint32_t symbol_of(const struct bpe *bpe, struct strays *strays, struct gguf_string text, bool *is_new)
{
    int32_t id = vocab_find(bpe->vocab, text.bytes, text.size);
    *is_new = false;
    if (id >= 0)
        return (uint32_t) id;
    size_t slot = name_index_first(&strays->index, name_hash(text.bytes, text.size));
    for (; strays->index.slots[slot]; slot = name_index_next(&strays->index, slot)) {
        uint32_t position = strays->index.slots[slot] - 1;
        const struct gguf_string *other = &strays->texts[position];
        if (other->size == text.size && memcmp(other->bytes, text.bytes, text.size) == 0)
            return (uint32_t) bpe->vocab->n + position;
    }
    strays->texts[strays->n++] = text;
    strays->index.slots[slot] = (uint32_t) strays->n;
    *is_new = true;
    return (uint32_t) bpe->vocab->n + (uint32_t) strays->n - 1;
}

static void map_symbols(struct bpe *bpe, struct strays *strays)
{
    for (int byte = 0; byte < 256; byte++) {
        bool is_new;
        char *text = strays->joined + strays->used;
        size_t size = utf8_encode(bpe->char_of[byte], (uint8_t *) text);
        bpe->symbol_of[byte] = symbol_of(bpe, strays, (struct gguf_string){text, size}, &is_new);
        if (is_new)
            strays->used += size;
    }
}

/* "LEFT RIGHT", cut at the first blank behind the first character, which may be a blank itself. */
static bool cut_merge(struct gguf_string merge, struct gguf_string *left, struct gguf_string *right)
{
    size_t first = merge.size ? utf8_length((uint8_t) merge.bytes[0]) : 0;
    if (first == 0)
        first = 1;
    const char *blank = merge.size > first ? memchr(merge.bytes + first, ' ', merge.size - first) : NULL;
    if (!blank)
        return false;
    *left = (struct gguf_string){merge.bytes, (size_t) (blank - merge.bytes)};
    *right = (struct gguf_string){blank + 1, merge.size - left->size - 1};
    return true;
}

static void add_merge(struct bpe *bpe, struct strays *strays, struct gguf_string left, struct gguf_string right,
                      uint32_t rank)
{
    bool is_new;
    uint32_t a = symbol_of(bpe, strays, left, &is_new), b = symbol_of(bpe, strays, right, &is_new);
    if (bpe_find(bpe, a, b))
        return;                 /* a merge listed twice has its first rank */
    char *joined = strays->joined + strays->used;
    memcpy(joined, left.bytes, left.size);
    memcpy(joined + left.size, right.bytes, right.size);
    uint32_t merged = symbol_of(bpe, strays, (struct gguf_string){joined, left.size + right.size}, &is_new);
    if (is_new)
        strays->used += left.size + right.size;
    size_t slot = bpe_slot(bpe, a, b);
    while (bpe->slots[slot].merged != MERGE_NONE)
        slot = (slot + 1) & bpe->mask;
    bpe->slots[slot] = (struct bpe_merge){a, b, rank, merged};
}

static dsr1_status table_open(struct bpe *bpe, size_t n, dsr1_error *err)
{
    size_t n_slots = 4;
    int bits = 2;
    for (; n_slots < n + n / 2 + 1; n_slots *= 2)
        bits++;
    bpe->slots = memory_array(n_slots, sizeof *bpe->slots);
    if (!bpe->slots)
        return error_nomem(err, "the merges");
    for (size_t i = 0; i < n_slots; i++)
        bpe->slots[i].merged = MERGE_NONE;
    bpe->mask = n_slots - 1;
    bpe->shift = 64 - bits;
    bpe->factor = name_seed();
    return DSR1_OK;
}

/* Each merge brings at most three strays, and its joined text is shorter than the merge. */
static dsr1_status strays_open(struct strays *strays, const struct gguf_array *merges, dsr1_error *err)
{
    size_t room = 256 * 2;
    for (size_t i = 0; i < merges->n; i++)
        room += merges->strings[i].size;
    strays->texts = memory_array(256 + 3 * merges->n, sizeof *strays->texts);
    strays->joined = memory_array(room, 1);
    if (!strays->texts || !strays->joined || !name_index_open(&strays->index, 256 + 3 * merges->n))
        return error_nomem(err, "the merges");
    return DSR1_OK;
}

dsr1_status bpe_open(struct bpe *bpe, const struct vocab *vocab, const struct gguf *gguf, bool whole_words,
                     dsr1_error *err)
{
    struct strays strays = {0};
    struct gguf_array merges;
    *bpe = (struct bpe){.vocab = vocab, .whole_words = whole_words};
    dsr1_status status = gguf_get_array(gguf, "tokenizer.ggml.merges", &merges, err);
    if (status < 0)
        return status;
    if (merges.n && merges.type != GGUF_STRING)
        return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.merges: not strings");
    if (merges.n > (size_t) 1 << 28)
        return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.merges: %zu are too many", merges.n);
    status = table_open(bpe, merges.n, err);
    if (status == DSR1_OK)
        status = strays_open(&strays, &merges, err);
    if (status == DSR1_OK) {
        map_bytes(bpe);
        map_symbols(bpe, &strays);
    }
    for (size_t i = 0; i < merges.n && status == DSR1_OK; i++) {
        struct gguf_string left, right;
        if (cut_merge(merges.strings[i], &left, &right))
            add_merge(bpe, &strays, left, right, (uint32_t) i);
        else
            status = error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.merges: number %zu is not two texts", i);
    }
    free(strays.texts);
    free(strays.joined);
    name_index_close(&strays.index);
    if (status < 0)
        bpe_close(bpe);
    return status;
}

void bpe_close(struct bpe *bpe)
{
    free(bpe->slots);
    *bpe = (struct bpe){0};
}
