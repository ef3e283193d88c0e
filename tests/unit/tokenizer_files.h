/*
 * tokenizer_files.h - open the vocabularies that tokenizer tests share
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TESTS_TOKENIZER_FILES_H
#define TESTS_TOKENIZER_FILES_H

#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct tokenizer_file {
    struct gguf *gguf;
    struct tokenizer *tokenizer;
};

static inline char *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
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

static inline struct tokenizer_file open_tokenizer(const char *path)
{
    struct tokenizer_file file = {NULL, NULL};
    dsr1_error err = {0};
    if (gguf_open(path, &file.gguf, &err) < 0 || tokenizer_open(file.gguf, &file.tokenizer, &err) < 0)
        fail_msg("%s: %s", path, err.message);
    return file;
}

/*
 * Unpacks tests/golden/tokenizer/ggml-vocab-NAME.gguf.xz, or the parts it is
 * stored in, and opens it. The unpacked file has no name when this returns.
 */
static inline struct tokenizer_file open_vocabulary(const char *name)
{
    char command[300], path[] = "/tmp/dsr1-vocab-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command, "xz -dc tests/golden/tokenizer/ggml-vocab-%s.gguf*.xz >%s", name, path);
    assert_int_equal(system(command), 0);
    struct tokenizer_file file = open_tokenizer(path);
    unlink(path);
    return file;
}

static inline void close_tokenizer(struct tokenizer_file *file)
{
    tokenizer_close(file->tokenizer);
    gguf_close(file->gguf);
}

#endif
