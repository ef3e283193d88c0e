/*
 * bpe.c - byte-level byte-pair encoding of one word
 *
 * A word begins as its bytes. The adjacent pair of lowest rank merges, leftmost
 * first among equals, until no pair is in the table (Sennrich et al. 2016). Words
 * of text are short and are searched through again for every merge; long ones, a
 * run of a hundred thousand letters perhaps, take the heap of merge.h.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/bpe_merges.h"

#include "text/utf8.h"

enum { SHORT_WORD = 40 };       /* bytes; measured: the heap is faster from about 60 on */

/* A symbol that is no token leaves as the tokens of its bytes, where those exist. */
static void emit(const struct bpe *bpe, uint32_t symbol, const uint8_t *bytes, size_t size, struct id_list *out)
{
    uint32_t n = (uint32_t) bpe->vocab->n;
    if (symbol < n) {
        id_list_add(out, (int32_t) symbol);
        return;
    }
    for (size_t i = 0; i < size; i++)
        if (bpe->symbol_of[bytes[i]] < n)
            id_list_add(out, (int32_t) bpe->symbol_of[bytes[i]]);
}

struct short_word {
    int n;
    uint32_t symbol[SHORT_WORD];
    uint32_t rank[SHORT_WORD];      /* of the pair (i, i + 1) */
    uint32_t merged[SHORT_WORD];
    uint8_t size[SHORT_WORD];
};

static inline void rank_short(const struct bpe *bpe, struct short_word *w, int i)
{
    const struct bpe_merge *merge = bpe_find(bpe, w->symbol[i], w->symbol[i + 1]);
    w->rank[i] = merge ? merge->rank : MERGE_NONE;
    w->merged[i] = merge ? merge->merged : MERGE_NONE;
}

static void merge_at(const struct bpe *bpe, struct short_word *w, int i)
{
    int moved = w->n - i - 2;
    w->symbol[i] = w->merged[i];
    w->size[i] = (uint8_t) (w->size[i] + w->size[i + 1]);
    memmove(&w->symbol[i + 1], &w->symbol[i + 2], (size_t) moved * sizeof *w->symbol);
    memmove(&w->rank[i + 1], &w->rank[i + 2], (size_t) moved * sizeof *w->rank);
    memmove(&w->merged[i + 1], &w->merged[i + 2], (size_t) moved * sizeof *w->merged);
    memmove(&w->size[i + 1], &w->size[i + 2], (size_t) moved);
    w->n--;
    if (i + 1 < w->n)
        rank_short(bpe, w, i);
    if (i > 0)
        rank_short(bpe, w, i - 1);
}

static void merge_short(const struct bpe *bpe, const uint8_t *word, size_t size, struct id_list *out)
{
    struct short_word w;
    w.n = (int) size;
    for (int i = 0; i < w.n; i++) {
        w.symbol[i] = bpe->symbol_of[word[i]];
        w.size[i] = 1;
    }
    for (int i = 0; i + 1 < w.n; i++)
        rank_short(bpe, &w, i);
    for (;;) {
        int best = 0;
        uint32_t rank = MERGE_NONE;
        for (int i = 0; i + 1 < w.n; i++)
            if (w.rank[i] < rank) {
                rank = w.rank[i];
                best = i;
            }
        if (rank == MERGE_NONE)
            break;
        merge_at(bpe, &w, best);
    }
    for (int i = 0; i < w.n; i++) {
        emit(bpe, w.symbol[i], word, w.size[i], out);
        word += w.size[i];
    }
}

static void rank_long(const void *context, struct merge_symbol *left, const struct merge_symbol *right)
{
    const struct bpe_merge *merge = bpe_find(context, left->id, right->id);
    left->rank = merge ? merge->rank : MERGE_NONE;
    left->merged = merge ? merge->merged : MERGE_NONE;
}

static bool merge_long(const struct bpe *bpe, const uint8_t *word, size_t size, struct merger *merger,
                       struct id_list *out)
{
    if (!merger_reserve(merger, size))
        return false;
    merger->n = size;
    for (size_t i = 0; i < size; i++)
        merger->symbols[i] = (struct merge_symbol){.id = bpe->symbol_of[word[i]], .start = (uint32_t) i, .size = 1};
    merger_run(merger, rank_long, bpe);
    for (uint32_t i = 0; i != MERGE_NONE; i = merger->symbols[i].next) {
        const struct merge_symbol *symbol = &merger->symbols[i];
        emit(bpe, symbol->id, word + symbol->start, symbol->size, out);
    }
    return true;
}

/* The token that is the whole word, or -1. */
static int32_t find_word(const struct bpe *bpe, const uint8_t *word, size_t size)
{
    uint8_t text[512];
    size_t n = 0;
    if (size > sizeof text / 2 || size > bpe->vocab->longest)
        return -1;
    for (size_t i = 0; i < size; i++)
        n += utf8_encode(bpe->char_of[word[i]], text + n);
    return vocab_find(bpe->vocab, text, n);
}

bool bpe_word(const struct bpe *bpe, const uint8_t *word, size_t size, struct merger *merger, struct id_list *out)
{
    if (size == 0)
        return true;
    int32_t whole = bpe->whole_words ? find_word(bpe, word, size) : -1;
    if (whole >= 0)
        id_list_add(out, whole);
    else if (size <= SHORT_WORD)
        merge_short(bpe, word, size, out);
    else if (!merge_long(bpe, word, size, merger, out))
        return false;
    return !out->failed;
}

size_t bpe_bytes(const struct bpe *bpe, struct gguf_string text, char *bytes, size_t capacity)
{
    const uint8_t *at = (const uint8_t *) text.bytes;
    size_t done = 0;
    for (size_t left = text.size; left;) {
        uint32_t code = 0;
        size_t n = utf8_decode(at, left, &code);
        int byte = n && code < BPE_CHARS ? bpe->byte_of[code] : -1;
        size_t n_out = byte >= 0 || n == 0 ? 1 : n;
        for (size_t i = 0; i < n_out; i++, done++)
            if (done < capacity)
                bytes[done] = (char) (byte >= 0 ? byte : at[i]);
        at += n ? n : 1;
        left -= n ? n : 1;
    }
    return done;
}
