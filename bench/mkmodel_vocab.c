/*
 * mkmodel_vocab.c - a byte-level BPE tokenizer of any size
 *
 * 256 bytes, then words that grow letter by letter (each the merge of a shorter
 * word and a letter), then three control tokens: the vocabulary of a language
 * without exceptions. Or the tokenizer of another file.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "mkmodel.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_BYTES = 256,
    N_LETTERS = 26,
    N_CONTROL = 3,
    TOKEN_SIZE = 16,        /* bytes of the longest token: a blank and some letters */
    NORMAL = 1,
    CONTROL = 3
};

struct vocab {
    int n;
    char (*tokens)[TOKEN_SIZE];
    char (*merges)[TOKEN_SIZE + 2];
    int n_merges;
    int32_t *types;
    struct gguf_string *strings;    /* scratch for writing */
};

/* The printable characters that stand for bytes: GPT-2's table. */
static int byte_character(int byte, int *next)
{
    bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return printable ? byte : 256 + (*next)++;
}

static void add_bytes(struct vocab *v)
{
    int next = 0;
    for (int byte = 0; byte < N_BYTES; byte++) {
        int c = byte_character(byte, &next);
        if (c < 128)
            snprintf(v->tokens[v->n], TOKEN_SIZE, "%c", c);
        else
            snprintf(v->tokens[v->n], TOKEN_SIZE, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
        v->types[v->n++] = NORMAL;
    }
}

/* Words in order of length: a blank and every letter are the roots, each word has 26 children. */
static void add_words(struct vocab *v, int n)
{
    static const char *const blank = "\xc4\xa0";
    int parent = -1 - N_LETTERS;
    int first = v->n;
    for (; v->n < first + n; parent++)
        for (int letter = 0; letter < N_LETTERS && v->n < first + n; letter++) {
            char word[TOKEN_SIZE] = {0};
            if (parent < -N_LETTERS)
                strcpy(word, blank);
            else if (parent < 0)
                word[0] = (char) ('a' + N_LETTERS + parent);
            else
                memcpy(word, v->tokens[first + parent], sizeof word);
            snprintf(v->merges[v->n_merges++], sizeof *v->merges, "%.12s %c", word, 'a' + letter);
            snprintf(v->tokens[v->n], TOKEN_SIZE, "%.12s%c", word, 'a' + letter);
            v->types[v->n++] = NORMAL;
        }
}

static void add_control(struct vocab *v)
{
    static const char *const names[N_CONTROL] = {"<|begin|>", "<|finish|>", "<|pad|>"};
    for (int i = 0; i < N_CONTROL; i++) {
        snprintf(v->tokens[v->n], TOKEN_SIZE, "%s", names[i]);
        v->types[v->n++] = CONTROL;
    }
}

static void write_list(struct vocab *v, struct gguf_writer *writer, const char *key, const char *items, size_t stride,
                       size_t n)
{
    for (size_t i = 0; i < n; i++)
        v->strings[i] = (struct gguf_string){items + i * stride, strlen(items + i * stride)};
    gguf_write_strings(writer, key, v->strings, n);
}

static void write_vocab(const struct mkmodel_shape *s, const struct mkmodel_wishes *wishes, struct vocab *v,
                        struct gguf_writer *writer)
{
    gguf_write_text(writer, "tokenizer.ggml.model", "gpt2");
    if (!mkmodel_keys_taken(s, wishes, "tokenizer.ggml.pre"))
        gguf_write_text(writer, "tokenizer.ggml.pre", s->pre);
    write_list(v, writer, "tokenizer.ggml.tokens", *v->tokens, sizeof *v->tokens, (size_t) v->n);
    gguf_write_array(writer, "tokenizer.ggml.token_type", GGUF_I32, v->types, (size_t) v->n);
    write_list(v, writer, "tokenizer.ggml.merges", *v->merges, sizeof *v->merges, (size_t) v->n_merges);
    gguf_write_int(writer, "tokenizer.ggml.bos_token_id", GGUF_U32, v->n - 3);
    gguf_write_int(writer, "tokenizer.ggml.eos_token_id", GGUF_U32, v->n - 2);
    gguf_write_int(writer, "tokenizer.ggml.padding_token_id", GGUF_U32, v->n - 1);
    if (!mkmodel_keys_taken(s, wishes, "tokenizer.ggml.add_bos_token"))
        gguf_write_bool(writer, "tokenizer.ggml.add_bos_token", true);
}

static bool is_other_key(struct gguf_string key, void *user)
{
    (void) user;
    return key.size < 10 || memcmp(key.bytes, "tokenizer.", 10) != 0;
}

static dsr1_status copy_vocab(struct mkmodel_shape *s, const char *path, struct gguf_writer *writer, dsr1_error *err)
{
    struct gguf *from;
    struct gguf_array tokens;
    dsr1_status status = gguf_open(path, &from, err);
    if (status < 0)
        return status;
    status = gguf_get_array(from, "tokenizer.ggml.tokens", &tokens, err);
    if (status == DSR1_OK && (tokens.n == 0 || tokens.n > 1 << 22))
        status = error_set(err, DSR1_ERR_ARGUMENT, "%s has no tokenizer", path);
    if (status == DSR1_OK) {
        s->vocab = (int) tokens.n;
        gguf_write_copy_all(writer, from, is_other_key, NULL);
    }
    gguf_close(from);
    return status;
}

dsr1_status mkmodel_vocab_write(struct mkmodel_shape *s, const struct mkmodel_wishes *wishes,
                                struct gguf_writer *writer, dsr1_error *err)
{
    if (wishes->tokenizer)
        return copy_vocab(s, wishes->tokenizer, writer, err);
    int n_words = s->vocab - N_BYTES - N_CONTROL;
    if (n_words < 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "a vocabulary holds 256 bytes and 3 control tokens at least");
    struct vocab v = {.tokens = memory_array((size_t) s->vocab, sizeof *v.tokens),
                      .merges = memory_array((size_t) n_words + 1, sizeof *v.merges),
                      .types = memory_array((size_t) s->vocab, sizeof *v.types),
                      .strings = memory_array((size_t) s->vocab, sizeof *v.strings)};
    bool complete = v.tokens && v.merges && v.types && v.strings;
    if (complete) {
        add_bytes(&v);
        add_words(&v, n_words);
        add_control(&v);
        write_vocab(s, wishes, &v, writer);
    }
    free(v.tokens);
    free(v.merges);
    free(v.types);
    free(v.strings);
    return complete ? DSR1_OK : error_nomem(err, "a vocabulary");
}
