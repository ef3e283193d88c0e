/*
 * fuzz_gguf.c - any file: read in full or refused with a reason, through all that opening a model does
 *
 * The first byte says how many units of zeros follow the rest as weights, so that
 * a few kilobytes can be a whole model. Without them the file ends where its memory
 * ends, and a read behind it is seen.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "gguf/gguf.h"
#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 64 << 10, ZEROS_UNIT = 4 << 10 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Packing copies weights with all cores: no parser, and slow. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return setenv("DSR1_PACK", "off", 1);
}

/* A failure is one of these two, says why, and has a reason in bytes that can be shown. */
static void check_refusal(dsr1_status status, const dsr1_error *err)
{
    if (status != DSR1_ERR_FORMAT && status != DSR1_ERR_UNSUPPORTED)
        abort();
    if (err->status != status || err->message[0] == 0)
        abort();
}

static void check_status(dsr1_status status, const dsr1_error *err)
{
    if (status != DSR1_OK)
        check_refusal(status, err);
}

static uint64_t read_array(const struct gguf *gguf, const char *key)
{
    struct gguf_array array;
    uint64_t sum = 0;
    if (gguf_get_array(gguf, key, &array, NULL) != DSR1_OK)
        return 0;
    for (size_t i = 0; i < array.n; i++) {
        if (array.type == GGUF_STRING)
            sum += array.strings[i].size ? (uint64_t) array.strings[i].bytes[array.strings[i].size - 1] : 0;
        else if (array.type == GGUF_F32 || array.type == GGUF_F64)
            sum += gguf_array_float(&array, i) > 0;
        else
            sum += (uint64_t) gguf_array_int(&array, i);
    }
    return sum;
}

/* Exactly one way to read a key succeeds, or none; a key with a zero inside cannot be asked for. */
static uint64_t read_key(const struct gguf *gguf, size_t index)
{
    struct gguf_string name = gguf_key_at(gguf, index), text = {"", 0};
    int64_t integer = 0;
    float real = 0;
    bool truth = false;
    char key[300];
    if (name.size >= sizeof key || memchr(name.bytes, 0, name.size))
        return 0;
    memcpy(key, name.bytes, name.size);
    key[name.size] = 0;
    struct gguf_array array;
    int n_ways = (gguf_get_int(gguf, key, &integer, NULL) == DSR1_OK) +
                 (gguf_get_float(gguf, key, &real, NULL) == DSR1_OK) +
                 (gguf_get_bool(gguf, key, &truth, NULL) == DSR1_OK) +
                 (gguf_get_string(gguf, key, &text, NULL) == DSR1_OK) +
                 (gguf_get_array(gguf, key, &array, NULL) == DSR1_OK);
    if (!gguf_has(gguf, key) || n_ways > 1)
        abort();
    if (n_ways == 0 && gguf_key_type_at(gguf, index) != GGUF_U64)
        abort();
    return (uint64_t) integer + truth + (text.size ? (uint64_t) text.bytes[text.size - 1] : 0) + read_array(gguf, key);
}

static uint64_t read_tensor(const struct gguf *gguf, const uint8_t *file, size_t size, size_t index)
{
    const struct gguf_tensor *t = gguf_tensor_at(gguf, index);
    if (gguf_find_tensor(gguf, t->name) != t)
        abort();
    if (t->data < file || t->size > size || (size_t) (t->data - file) > size - t->size)
        abort();
    return t->size ? (uint64_t) t->data[0] + t->data[t->size - 1] : 0;
}

/* The order of dsr1_model_open. */
static void open_model(struct gguf *gguf)
{
    struct model model;
    struct tokenizer *tokenizer = NULL;
    struct chat_template template = {.family = CHAT_UNKNOWN};
    dsr1_error err = {0};
    dsr1_status status = model_open(gguf, &model, &err);
    if (status == DSR1_OK)
        status = tokenizer_open(gguf, &tokenizer, &err);
    if (status == DSR1_OK)
        status = chat_template_open(gguf, tokenizer, &template, &err);
    check_status(status, &err);
    chat_template_close(&template);
    tokenizer_close(tokenizer);
    model_close(&model);
}

/* Where the model's keys are broken, its text rules are read all the same. */
static void open_text(const struct gguf *gguf)
{
    struct tokenizer *tokenizer;
    struct chat_template template;
    dsr1_error err = {0};
    dsr1_status status = tokenizer_open(gguf, &tokenizer, &err);
    if (status == DSR1_OK && (status = chat_template_open(gguf, tokenizer, &template, &err)) == DSR1_OK)
        chat_template_close(&template);
    check_status(status, &err);
    tokenizer_close(tokenizer);
}

static void read_file(const uint8_t *file, size_t size)
{
    struct gguf *gguf;
    dsr1_error err = {0};
    static volatile uint64_t seen;      /* so that nothing is read in vain */
    uint64_t sum = 0;
    dsr1_status status = gguf_open_memory(file, size, &gguf, &err);
    check_status(status, &err);
    if (status != DSR1_OK)
        return;
    for (size_t i = 0; i < gguf_n_keys(gguf); i++)
        sum += read_key(gguf, i);
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++)
        sum += read_tensor(gguf, file, size, i);
    seen = sum;
    (void) seen;
    open_text(gguf);
    open_model(gguf);
}

static void read_with_zeros(const uint8_t *data, size_t size, size_t zeros)
{
    static _Alignas(64) uint8_t file[FILE_MAX + 256 * ZEROS_UNIT];
    static size_t used;
    if (size > FILE_MAX)
        return;
    memcpy(file, data, size);
    if (used > size)
        memset(file + size, 0, used - size);
    used = size;
    read_file(file, size + zeros);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t zeros = (size_t) data[0] * ZEROS_UNIT;
    data++;
    size--;
    if (zeros) {
        read_with_zeros(data, size, zeros);
        return 0;
    }
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    read_file(copy, size);
    free(copy);
    return 0;
}
