/*
 * fuzz_constrain.h - any text as a constraint: an error, or answers that keep what constraint.h promises
 *
 * The vocabulary has a token for every byte but some, and some of several bytes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TESTS_FUZZ_FUZZ_CONSTRAIN_H
#define TESTS_FUZZ_FUZZ_CONSTRAIN_H

#include "unit/constrain_answers.h"
#include "unit/gguf_bytes.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_ANSWERS = 2, FUZZ_SLACK = 12 };

static struct tokenizer *fuzz_tokenizer;
static struct token_table *fuzz_table;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const words[] = {"<|end|>", "<think>", "\",\"", "\":", "{\"", "ab", "abc", "true", "a\"", "]}"};
    static struct buffer file;
    static struct gguf *gguf;
    gguf_bytes_begin(&file);
    gguf_bytes_tokenizer(&file, "deepseek-v3", words, sizeof words / sizeof *words, 1);
    gguf_bytes_int(&file, "tokenizer.ggml.eos_token_id", 256);
    if (gguf_open_memory(file.data, file.size, &gguf, NULL) != DSR1_OK ||
        tokenizer_open(gguf, &fuzz_tokenizer, NULL) != DSR1_OK ||
        token_table_open(fuzz_tokenizer, &fuzz_table, NULL) != DSR1_OK)
        abort();
    return 0;
}

static inline void fuzz_answers(struct constraint *c, size_t seed)
{
    struct answers a;
    answers_open(&a, fuzz_tokenizer, fuzz_table, seed);
    a.seconds = 0.5;
    for (int i = 0; i < FUZZ_ANSWERS && !a.wrong; i++) {
        a.forced = i % 2;
        a.by_byte = i > 0;
        int shortest = constraint_shortest(c);
        struct answer answer = answer_make(&a, c, shortest < 200 ? shortest + FUZZ_SLACK : 200);
        buffer_free(&answer.text);
    }
    if (a.wrong && strcmp(a.wrong, "there is no mask") != 0) {
        fprintf(stderr, "%s\n", a.wrong);
        abort();
    }
    answers_close(&a);
}

static inline int fuzz_constrain(dsr1_constraint_kind kind, const uint8_t *data, size_t size)
{
    struct constraint *c;
    dsr1_error err = {0};
    char *text = malloc(size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = 0;
    const char *texts = text;
    dsr1_constraint from = {kind, &texts, 1, false};
    dsr1_status status = constraint_open(fuzz_table, &from, &c, &err);
    if (status == DSR1_OK) {
        fuzz_answers(c, size);
        constraint_close(c);
    } else if (c || !err.message[0] || status == DSR1_ERR_INTERNAL || status == DSR1_ERR_NOMEM) {
        fprintf(stderr, "status %d, \"%s\"\n", status, err.message);
        abort();
    }
    free(text);
    return 0;
}

#endif
