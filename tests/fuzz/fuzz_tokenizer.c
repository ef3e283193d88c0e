/*
 * fuzz_tokenizer.c - any vocabulary with any text: ids that exist, and the text comes back from them
 *
 * The input is a kind, switches, tokens and merges, all but the first two ended by
 * a byte 0xFE, and lists of them by an empty one; what is left is the text.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/tokenizer.h"

#include "fuzz/fuzz_input.h"
#include "text/char_class.h"
#include "text/special.h"
#include "unit/gguf_bytes.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS_MAX = 300, ENDING = 0xfe, IDS_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const pres[] = {
    "gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-coder", "deepseek-llm", "deepseek-v3",
};
enum { PRES = sizeof pres / sizeof *pres };

/* Switches */
enum { BYTE_TOKENS = 1, ADD_BOS = 2, ADD_EOS = 4, NO_SPACE_PREFIX = 8, KINDS = 16, MERGE_ALL = 32 };

struct recipe {
    bool is_bpe;
    const char *pre;
    int switches;
    struct gguf_string tokens[TOKENS_MAX], merges[TOKENS_MAX];
    size_t n_tokens, n_merges;
};

static size_t read_list(struct fuzz_input *in, struct gguf_string *list)
{
    size_t n = 0;
    while (n < TOKENS_MAX) {
        struct gguf_string *item = &list[n];
        item->bytes = (const char *) fuzz_input_until(in, ENDING, &item->size);
        if (item->size == 0)
            break;
        n++;
    }
    return n;
}

static void read_recipe(struct fuzz_input *in, struct recipe *r)
{
    uint8_t kind = fuzz_input_byte(in);
    r->is_bpe = kind % (PRES + 1) < PRES;
    r->pre = pres[kind % (PRES + 1) % PRES];
    r->switches = fuzz_input_byte(in);
    r->n_tokens = read_list(in, r->tokens);
    r->n_merges = r->is_bpe ? read_list(in, r->merges) : 0;
}

static size_t n_base(const struct recipe *r)
{
    return !(r->switches & BYTE_TOKENS) ? 0 : r->is_bpe ? 256 : 257;
}

static void put_tokens(struct buffer *file, const struct recipe *r)
{
    gguf_bytes_array(file, "tokenizer.ggml.tokens", GGUF_STRING, n_base(r) + r->n_tokens);
    for (int byte = 0; byte < 256 && n_base(r); byte++) {
        char text[8];
        size_t size = 6;
        if (r->is_bpe)
            size = gguf_bytes_mapped(byte, text);
        else
            snprintf(text, sizeof text, "<0x%02X>", (unsigned) byte);
        gguf_bytes_string(file, text, size);
    }
    if (n_base(r) == 257)
        gguf_bytes_string(file, "\xe2\x96\x81", 3);
    for (size_t i = 0; i < r->n_tokens; i++)
        gguf_bytes_string(file, r->tokens[i].bytes, r->tokens[i].size);
}

/* A token's last byte decides about its kind, its first about its score. */
static void put_properties(struct buffer *file, const struct recipe *r)
{
    size_t n = n_base(r) + r->n_tokens;
    gguf_bytes_array(file, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (size_t i = 0; i < n_base(r); i++)
        gguf_bytes_u32(file, r->is_bpe || i == 256 ? 1 : 6);
    for (size_t i = 0; i < r->n_tokens; i++)
        gguf_bytes_u32(file, r->switches & KINDS ? (uint8_t) r->tokens[i].bytes[r->tokens[i].size - 1] % 8 : 1);
    gguf_bytes_array(file, "tokenizer.ggml.scores", GGUF_F32, n);
    for (size_t i = 0; i < n; i++) {
        float score = i < n_base(r) ? -1000 : -(float) (uint8_t) r->tokens[i - n_base(r)].bytes[0];
        buffer_append(file, &score, sizeof score);
    }
}

/* Every token of two bytes or more as a merge of its first character and the rest: words that do grow. */
static void put_own_merges(struct buffer *file, const struct recipe *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_tokens; i++)
        n += r->tokens[i].size >= 2;
    gguf_bytes_array(file, "tokenizer.ggml.merges", GGUF_STRING, n);
    for (size_t i = 0; i < r->n_tokens; i++) {
        struct gguf_string t = r->tokens[i];
        if (t.size < 2)
            continue;
        size_t first = (uint8_t) t.bytes[0] >= 0xc0 ? 2 : 1;
        gguf_bytes_u64(file, t.size + 1);
        buffer_append(file, t.bytes, first);
        buffer_append(file, " ", 1);
        buffer_append(file, t.bytes + first, t.size - first);
    }
}

static void put_merges(struct buffer *file, const struct recipe *r)
{
    if (r->switches & MERGE_ALL) {
        put_own_merges(file, r);
        return;
    }
    gguf_bytes_array(file, "tokenizer.ggml.merges", GGUF_STRING, r->n_merges);
    for (size_t i = 0; i < r->n_merges; i++)
        gguf_bytes_string(file, r->merges[i].bytes, r->merges[i].size);
}

static void put_file(struct buffer *file, const struct recipe *r)
{
    gguf_bytes_begin(file);
    gguf_bytes_text(file, "tokenizer.ggml.model", r->is_bpe ? "gpt2" : "llama", r->is_bpe ? 4 : 5);
    gguf_bytes_text(file, "tokenizer.ggml.pre", r->pre, strlen(r->pre));
    gguf_bytes_bool(file, "tokenizer.ggml.add_bos_token", r->switches & ADD_BOS);
    gguf_bytes_bool(file, "tokenizer.ggml.add_eos_token", r->switches & ADD_EOS);
    gguf_bytes_bool(file, "tokenizer.ggml.add_space_prefix", !(r->switches & NO_SPACE_PREFIX));
    put_tokens(file, r);
    put_properties(file, r);
    put_merges(file, r);
}

/* ------------------------------------------------------------------ */
/* What must hold                                                      */
/* ------------------------------------------------------------------ */

static size_t encode(const struct tokenizer *t, const uint8_t *text, size_t size, int flags, int32_t *ids)
{
    ptrdiff_t n = tokenizer_encode(t, (const char *) text, size, flags, ids, IDS_MAX);
    if (n < 0 || n > IDS_MAX || tokenizer_encode(t, (const char *) text, size, flags, NULL, 0) != n)
        abort();
    for (ptrdiff_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= tokenizer_n_vocab(t))
            abort();
    return (size_t) n;
}

/* Into room of exactly its size, and token by token: both are as long. */
static char *decode(const struct tokenizer *t, const int32_t *ids, size_t n, size_t *size)
{
    size_t sum = 0;
    *size = tokenizer_decode(t, ids, n, true, NULL, 0);
    char *bytes = malloc(*size + 1);
    if (!bytes || tokenizer_decode(t, ids, n, true, bytes, *size) != *size)
        abort();
    for (size_t i = 0; i < n; i++)
        sum += tokenizer_token_bytes(t, ids[i], true, NULL, 0);
    if (sum < *size || sum > *size + 3)
        abort();
    return bytes;
}

/* With all bytes in the vocabulary, and no token that is shown otherwise than it is written, nothing is lost. */
static bool is_lossless(const struct recipe *r, const uint8_t *text, size_t size)
{
    bool lossless = false;
    uint8_t *classes = malloc(size + 1);
    if (!classes)
        return false;
    if (n_base(r) && !(r->switches & KINDS) && char_classify(text, size, classes) != SIZE_MAX)
        lossless = r->is_bpe || size == 0 || !memmem(text, size, "\xe2\x96\x81", 3);
    free(classes);
    return lossless;
}

static void check_text(const struct recipe *r, const struct tokenizer *t, const uint8_t *text, size_t size)
{
    static int32_t ids[IDS_MAX];
    size_t n_back, n = encode(t, text, size, 0, ids);
    char *back = decode(t, ids, n, &n_back);
    if (is_lossless(r, text, size) && (n_back != size || (size && memcmp(back, text, size) != 0)))
        abort();
    free(back);
    n = encode(t, text, size, DSR1_PARSE_SPECIAL | DSR1_ADD_BOS, ids);
    free(decode(t, ids, n, &n_back));
}

/* Text that is all data has no special tokens but the ones that are cut out of any text. */
static void check_data(const struct tokenizer *t, const uint8_t *text, size_t size)
{
    static int32_t ids[IDS_MAX], plain[IDS_MAX];
    const size_t whole[] = {0, size}, half[] = {size / 4, size / 2};
    size_t n = encode(t, text, size, 0, plain);
    ptrdiff_t m = tokenizer_encode_data(t, (const char *) text, size, whole, 1, DSR1_PARSE_SPECIAL, ids, IDS_MAX);
    if (m != (ptrdiff_t) n || (n && memcmp(ids, plain, n * sizeof *ids) != 0))
        abort();
    if (tokenizer_encode_data(t, (const char *) text, size, half, 1, DSR1_PARSE_SPECIAL, NULL, 0) < 0)
        abort();
}

/* ------------------------------------------------------------------ */
/* Special tokens, found the slow way                                  */
/* ------------------------------------------------------------------ */

struct finds {
    const int32_t *owner;       /* of each byte by the slow way: id, -1 for none */
    size_t n, size;
};

static bool on_found(void *context, size_t at, size_t size, int32_t id)
{
    struct finds *f = context;
    if (at + size > f->size)
        abort();
    for (size_t i = at; i < at + size; i++)
        if (f->owner[i] != id)
            abort();
    f->n += size;
    return true;
}

static bool is_free(const int32_t *owner, size_t size)
{
    while (size && owner[size - 1] < 0)
        size--;
    return size == 0;
}

/* The next item behind `last`: longest first, then by id; NULL when there is none. */
static const struct special *next_item(const struct special_set *set, const struct special *last)
{
    const struct special *best = NULL;
    for (const struct special *item = set->items; item < set->items + set->first[256]; item++) {
        bool behind = !last || item->size < last->size || (item->size == last->size && item->id > last->id);
        if (behind && (!best || item->size > best->size || (item->size == best->size && item->id < best->id)))
            best = item;
    }
    return best;
}

/* Token after token over the whole text, each from the left; `data` is a piece of it. Returns the bytes of tokens. */
static size_t cut_slowly(const struct special_set *set, const uint8_t *text, size_t size, const size_t data[2],
                         int32_t *owner)
{
    size_t n_owned = 0;
    for (size_t i = 0; i < size; i++)
        owner[i] = -1;
    for (const struct special *item = NULL; (item = next_item(set, item));)
        for (size_t at = 0; at + item->size <= size; at++)
            if ((item->always || data[1] == 0 || at >= data[0] + data[1] || at + item->size <= data[0]) &&
                is_free(owner + at, item->size) && memcmp(text + at, item->bytes, item->size) == 0)
                for (size_t i = at; i < at + item->size; i++, n_owned++)
                    owner[i] = item->id;
    return n_owned;
}

static void check_specials(const struct gguf *gguf, bool is_bpe, const uint8_t *text, size_t size)
{
    struct vocab vocab = {.is_bpe = is_bpe};
    struct special_set set = {NULL, {0}};
    int32_t owner[48];
    if (size > 48)
        size = 48;
    if (vocab_open(&vocab, gguf, NULL) == DSR1_OK && special_open(&set, &vocab, true, NULL) == DSR1_OK &&
        set.first[256] <= 16) {
        for (size_t step = 0; step < 2; step++) {
            const size_t data[2] = {size / 3, step * (size / 4)};
            size_t n = cut_slowly(&set, text, size, data, owner);
            struct finds finds = {owner, 0, size};
            if (special_cut(&set, text, size, data, 1, on_found, &finds) != DSR1_OK || finds.n != n)
                abort();
        }
    }
    special_close(&set);
    vocab_close(&vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct recipe recipe;
    static struct buffer file;
    struct fuzz_input in = {data, size};
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    dsr1_error err = {0};
    if (size > 1 << 14)
        return 0;
    read_recipe(&in, &recipe);
    put_file(&file, &recipe);
    if (file.failed || gguf_open_memory(file.data, file.size, &gguf, &err) != DSR1_OK)
        abort();
    dsr1_status status = tokenizer_open(gguf, &tokenizer, &err);
    if (status == DSR1_OK) {
        check_text(&recipe, tokenizer, in.at, in.left);
        check_data(tokenizer, in.at, in.left);
        check_specials(gguf, recipe.is_bpe, in.at, in.left);
    } else if (status != DSR1_ERR_FORMAT || !strstr(err.message, "key tokenizer.ggml.")) {
        abort();
    }
    tokenizer_close(tokenizer);
    gguf_close(gguf);
    return 0;
}
