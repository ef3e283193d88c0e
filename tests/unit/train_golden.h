/*
 * train_golden.h - the tiny models of tests/golden, for tests of training
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_GOLDEN_H
#define TRAIN_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_FOLDER "tests/golden/models/"

enum { GOLDEN_PROMPT = 24 };

static inline void golden_path(const char *name, const char *suffix, char path[300])
{
    snprintf(path, 300, GOLDEN_FOLDER "%s%s", name, suffix);
}

static inline void *golden_read(const char *name, const char *suffix, size_t *size)
{
    char path[300];
    golden_path(name, suffix, path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t) ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

/* The 24 tokens of the prompt. */
static inline void golden_prompt(const char *name, int32_t ids[GOLDEN_PROMPT])
{
    size_t size;
    char *text = golden_read(name, ".txt", &size);
    char *at = strstr(text, "\nprompt ");
    assert_non_null(at);
    at += 8;
    for (int i = 0; i < GOLDEN_PROMPT; i++)
        ids[i] = (int32_t) strtol(at, &at, 10);
    free(text);
}

#endif
