/*
 * tokenizer.c - text to token ids and back
 *
 * Encoding goes from the whole to its parts: special tokens are cut out of the
 * text, a pre-tokeniser cuts what lies between them into words, and a word's
 * bytes merge into tokens. Words repeat: the ids of one met before are copied
 * from where they stand in the output, which is the whole of the cache.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/tokenizer.h"

#include "base/error.h"
#include "text/bpe.h"
#include "text/char_class.h"
#include "text/pretokenize.h"
#include "text/special.h"
#include "text/spm.h"
#include "text/utf8.h"

#include <stdlib.h>

enum { TEXT_MAX = 1 << 30, CACHE_WORD_MAX = 64, CACHE_TEXT_MIN = 512, CACHE_SLOTS_MAX = 1 << 13 };

struct tokenizer {
    struct vocab vocab;
    struct bpe bpe;
    struct pretokenizer pre;
    struct spm spm;
    struct special_set user, all;
};

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

static dsr1_status open_model(struct tokenizer *t, const struct gguf *gguf, dsr1_error *err)
{
    struct gguf_string model = {"", 0}, pre = {"", 0};
    dsr1_status status = gguf_get_string(gguf, "tokenizer.ggml.model", &model, err);
    if (status == DSR1_OK)
        status = gguf_get_string(gguf, "tokenizer.ggml.pre", &pre, err);
    if (status < 0)
        return status;
    t->vocab.is_bpe = model.size == 4 && memcmp(model.bytes, "gpt2", 4) == 0;
    bool is_spm = model.size == 5 && memcmp(model.bytes, "llama", 5) == 0;
    if (!t->vocab.is_bpe && !is_spm)
        return error_set(err, DSR1_ERR_UNSUPPORTED, "key tokenizer.ggml.model: no tokenizer of the kind \"%.*s\"",
                         (int) (model.size < 60 ? model.size : 60), model.bytes);
    if (is_spm) {
        t->vocab.add_bos = true;
        return DSR1_OK;
    }
    status = pretokenizer_open(&t->pre, pre, err);
    t->vocab.add_bos = t->pre.add_bos;
    return status;
}

dsr1_status tokenizer_open(const struct gguf *gguf, struct tokenizer **result, dsr1_error *err)
{
    *result = NULL;
    struct tokenizer *t = memory_array(1, sizeof *t);
    if (!t)
        return error_nomem(err, "a tokenizer");
    dsr1_status status = open_model(t, gguf, err);
    if (status == DSR1_OK)
        status = vocab_open(&t->vocab, gguf, err);
    if (status == DSR1_OK)
        status = t->vocab.is_bpe ? bpe_open(&t->bpe, &t->vocab, gguf, t->pre.whole_words, err)
                                 : spm_open(&t->spm, &t->vocab, gguf, err);
    if (status == DSR1_OK)
        status = special_open(&t->user, &t->vocab, false, err);
    if (status == DSR1_OK)
        status = special_open(&t->all, &t->vocab, true, err);
    if (status < 0) {
        tokenizer_close(t);
        return status;
    }
    *result = t;
    return DSR1_OK;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    special_close(&t->user);
    special_close(&t->all);
    bpe_close(&t->bpe);
    spm_close(&t->spm);
    pretokenizer_close(&t->pre);
    vocab_close(&t->vocab);
    free(t);
}

/* ------------------------------------------------------------------ */
/* Encoding                                                            */
/* ------------------------------------------------------------------ */

/* Where in the caller's text a word stood, and its ids in the output. */
struct cached_word {
    const uint8_t *bytes;       /* NULL: empty */
    uint32_t size, at, n;
};

/* One call's state: a tokenizer is shared between threads, this is not. */
struct encoder {
    const struct tokenizer *t;
    const uint8_t *text;
    size_t done;                /* of the text */
    bool after_special;         /* also at the beginning */
    struct id_list out;
    struct merger merger;
    struct buffer classes, canonical, escaped;
    pcre2_match_data *match;
    const uint8_t *word;        /* next one of the fragment that is being cut */
    bool ascii;                 /* that fragment is */
    struct cached_word *cache;
    size_t cache_mask;
    dsr1_status status;
};

static bool fail(struct encoder *e, dsr1_status status)
{
    if (e->status == DSR1_OK)
        e->status = status;
    return false;
}

/* Bytes of the next n characters of well-formed text. */
static size_t chars_size(const struct encoder *e, size_t n)
{
    if (e->ascii)
        return n;
    const uint8_t *at = e->word;
    while (n--)
        at += utf8_length(*at);
    return (size_t) (at - e->word);
}

static bool encode_word(struct encoder *e, const uint8_t *word, size_t size)
{
    if (!bpe_word(&e->t->bpe, word, size, &e->merger, &e->out))
        return fail(e, DSR1_ERR_NOMEM);
    return true;
}

static bool on_word(void *context, size_t n)
{
    struct encoder *e = context;
    const uint8_t *word = e->word;
    size_t size = chars_size(e, n);
    e->word += size;
    if (!e->cache || size > CACHE_WORD_MAX || size == 1)
        return encode_word(e, word, size);
    struct cached_word *cached = &e->cache[name_hash(word, size) & e->cache_mask];
    if (cached->bytes && cached->size == size && memcmp(cached->bytes, word, size) == 0) {
        id_list_repeat(&e->out, cached->at, cached->n);
        return !e->out.failed || fail(e, DSR1_ERR_NOMEM);
    }
    size_t at = e->out.n;
    if (!encode_word(e, word, size))
        return false;
    *cached = (struct cached_word){word, (uint32_t) size, (uint32_t) at, (uint32_t) (e->out.n - at)};
    return true;
}

static bool encode_bpe(struct encoder *e, const uint8_t *text, size_t size)
{
    e->classes.size = 0;
    uint8_t *classes = (uint8_t *) buffer_reserve(&e->classes, size);
    if (!classes || (!e->match && !(e->match = pcre2_match_data_create(1, NULL))))
        return fail(e, DSR1_ERR_NOMEM);
    struct cached_word *cache = e->cache;
    size_t n = char_classify(text, size, classes);
    if (n == SIZE_MAX) {
        /* Words of this fragment do not stand in the caller's text, which the cache refers to. */
        e->cache = NULL;
        e->canonical.size = 0;
        uint8_t *canonical = (uint8_t *) buffer_reserve(&e->canonical, 3 * size);
        classes = canonical ? (uint8_t *) buffer_reserve(&e->classes, 3 * size) : NULL;
        if (!classes) {
            e->cache = cache;
            return fail(e, DSR1_ERR_NOMEM);
        }
        size = char_normalize(text, size, canonical);
        n = char_classify(canonical, size, classes);
        text = canonical;
    }
    e->word = text;
    e->ascii = n == size;
    dsr1_status status = pretokenizer_cut(&e->t->pre, classes, n, e->match, on_word, e);
    e->cache = cache;
    return status == DSR1_OK || fail(e, status);
}

static bool encode_fragment(struct encoder *e, size_t end)
{
    size_t size = end - e->done;
    const uint8_t *text = e->text + e->done;
    bool ok = true;
    e->done = end;
    if (size == 0)
        return true;
    if (e->t->vocab.is_bpe)
        ok = encode_bpe(e, text, size);
    else if (!spm_fragment(&e->t->spm, text, size, e->after_special, &e->merger, &e->escaped, &e->out))
        ok = fail(e, DSR1_ERR_NOMEM);
    e->after_special = false;
    return ok;
}

static bool on_special(void *context, size_t at, size_t size, int32_t id)
{
    struct encoder *e = context;
    if (!encode_fragment(e, at))
        return false;
    id_list_add(&e->out, id);
    e->done = at + size;
    e->after_special = true;
    return true;
}

/* A short text is over before a cache pays; without one all is slower, but right. */
static void cache_open(struct encoder *e, size_t size)
{
    size_t n = 64;
    if (!e->t->vocab.is_bpe || size < CACHE_TEXT_MIN)
        return;
    while (n < size / 8 && n < CACHE_SLOTS_MAX)
        n *= 2;
    e->cache = memory_array(n, sizeof *e->cache);
    e->cache_mask = n - 1;
}

static void encoder_close(struct encoder *e)
{
    free(e->out.ids);
    free(e->cache);
    merger_free(&e->merger);
    buffer_free(&e->classes);
    buffer_free(&e->canonical);
    buffer_free(&e->escaped);
    pcre2_match_data_free(e->match);
}

static void encode_all(struct encoder *e, size_t size, const size_t *data, size_t n_data, int flags)
{
    const struct vocab *vocab = &e->t->vocab;
    const struct special_set *set = flags & DSR1_PARSE_SPECIAL ? &e->t->all : &e->t->user;
    if (flags & DSR1_ADD_BOS && vocab->add_bos && vocab->ids[ID_BOS] >= 0)
        id_list_add(&e->out, vocab->ids[ID_BOS]);
    dsr1_status status = special_cut(set, e->text, size, data, n_data, on_special, e);
    if (status < 0)
        fail(e, status);
    if (e->status == DSR1_OK)
        encode_fragment(e, size);
    if (flags & DSR1_ADD_BOS && vocab->add_eos && vocab->ids[ID_EOS] >= 0)
        id_list_add(&e->out, vocab->ids[ID_EOS]);
    if (e->out.failed)
        fail(e, DSR1_ERR_NOMEM);
}

ptrdiff_t tokenizer_encode_data(const struct tokenizer *t, const char *text, size_t size, const size_t *data,
                                size_t n_data, int flags, int32_t *tokens, size_t capacity)
{
    struct encoder e = {.t = t, .text = (const uint8_t *) text, .after_special = true};
    if (size >= TEXT_MAX)
        return DSR1_ERR_LIMIT;
    cache_open(&e, size);
    encode_all(&e, size, data, n_data, flags);
    ptrdiff_t result = e.status < 0 ? (ptrdiff_t) e.status : (ptrdiff_t) e.out.n;
    size_t n = e.out.n < capacity ? e.out.n : capacity;
    if (result > 0 && n)
        memcpy(tokens, e.out.ids, n * sizeof *tokens);
    encoder_close(&e);
    return result;
}

ptrdiff_t tokenizer_encode(const struct tokenizer *t, const char *text, size_t size, int flags, int32_t *tokens,
                           size_t capacity)
{
    return tokenizer_encode_data(t, text, size, NULL, 0, flags, tokens, capacity);
}

/* ------------------------------------------------------------------ */
/* Decoding                                                            */
/* ------------------------------------------------------------------ */

static size_t copy_text(struct gguf_string text, char *bytes, size_t capacity)
{
    if (text.size && capacity)
        memcpy(bytes, text.bytes, text.size < capacity ? text.size : capacity);
    return text.size;
}

/* The bytes of a token whose text is given, less what the caller dropped of it. */
static size_t text_bytes(const struct tokenizer *t, enum token_kind kind, struct gguf_string text, char *bytes,
                         size_t capacity)
{
    if (kind == TOKEN_CONTROL || kind == TOKEN_UNKNOWN || kind == TOKEN_USER)
        return copy_text(text, bytes, capacity);
    return t->vocab.is_bpe ? bpe_bytes(&t->bpe, text, bytes, capacity)
                           : spm_bytes(text, kind == TOKEN_BYTE, bytes, capacity);
}

/* Nothing is shown of padding, and of control tokens only on request. */
static bool is_shown(const struct tokenizer *t, int32_t token, bool special)
{
    if (token < 0 || token >= t->vocab.n || t->vocab.texts[token].size == 0)
        return false;
    uint8_t kind = t->vocab.tokens[token].kind;
    return kind != TOKEN_UNUSED && (special || (kind != TOKEN_CONTROL && kind != TOKEN_UNKNOWN));
}

size_t tokenizer_token_bytes(const struct tokenizer *t, int32_t token, bool special, char *bytes, size_t capacity)
{
    if (!is_shown(t, token, special))
        return 0;
    return text_bytes(t, t->vocab.tokens[token].kind, t->vocab.texts[token], bytes, capacity);
}

/* Encoding put a blank in front of the text: the first text that is shown loses it. */
static struct gguf_string without_blank(struct gguf_string text)
{
    size_t n = text.size >= 3 && memcmp(text.bytes, "\xe2\x96\x81", 3) == 0 ? 3 : text.bytes[0] == ' ' ? 1 : 0;
    return (struct gguf_string){text.bytes + n, text.size - n};
}

size_t tokenizer_decode(const struct tokenizer *t, const int32_t *tokens, size_t n, bool special, char *bytes,
                        size_t capacity)
{
    bool first = !t->vocab.is_bpe && t->vocab.add_space_prefix;
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_shown(t, tokens[i], special))
            continue;
        uint8_t kind = t->vocab.tokens[tokens[i]].kind;
        struct gguf_string text = t->vocab.texts[tokens[i]];
        if (first && kind != TOKEN_CONTROL && kind != TOKEN_UNKNOWN) {
            text = without_blank(text);
            first = false;
        }
        size_t room = done < capacity ? capacity - done : 0;
        done += text_bytes(t, kind, text, room ? bytes + done : NULL, room);
    }
    return done;
}

/* ------------------------------------------------------------------ */
/* Questions                                                           */
/* ------------------------------------------------------------------ */

int tokenizer_n_vocab(const struct tokenizer *t)
{
    return t->vocab.n;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->vocab.ids[ID_BOS];
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->vocab.ids[ID_EOS];
}

int32_t tokenizer_fim_prefix(const struct tokenizer *t)
{
    return t->vocab.ids[ID_FIM_PREFIX];
}

int32_t tokenizer_fim_suffix(const struct tokenizer *t)
{
    return t->vocab.ids[ID_FIM_SUFFIX];
}

int32_t tokenizer_fim_middle(const struct tokenizer *t)
{
    return t->vocab.ids[ID_FIM_MIDDLE];
}

bool tokenizer_fim_suffix_first(const struct tokenizer *t)
{
    return t->vocab.suffix_first;
}

bool tokenizer_adds_bos(const struct tokenizer *t)
{
    return t->vocab.add_bos && t->vocab.ids[ID_BOS] >= 0;
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t token)
{
    return token >= 0 && token < t->vocab.n && t->vocab.tokens[token].ends;
}

bool tokenizer_is_unused(const struct tokenizer *t, int32_t token)
{
    return token >= 0 && token < t->vocab.n && t->vocab.tokens[token].padding;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *text)
{
    int32_t id = vocab_find(&t->vocab, text, strlen(text));
    if (id < 0)
        return -1;
    uint8_t kind = t->vocab.tokens[id].kind;
    return kind == TOKEN_CONTROL || kind == TOKEN_USER ? id : -1;
}

struct gguf_string tokenizer_token_text(const struct tokenizer *t, int32_t token)
{
    return token >= 0 && token < t->vocab.n ? t->vocab.texts[token] : (struct gguf_string){"", 0};
}
