/*
 * fuzz_lora.c - any file as an adapter of a tiny model: taken in full, or refused with a reason
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/lora.h"

#include <stdlib.h>

enum { FILE_MAX = 64 << 10 };

static struct model model;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct gguf *gguf;
    setenv("DSR1_PACK", "off", 1);
    if (gguf_open("tests/golden/models/deepseek-f32.gguf", &gguf, NULL) != DSR1_OK ||
        model_open(gguf, &model, NULL) != DSR1_OK)
        abort();
    return 0;
}

static void check_refusal(dsr1_status status, const dsr1_error *err)
{
    if (status != DSR1_ERR_FORMAT && status != DSR1_ERR_UNSUPPORTED)
        abort();
    if (err->status != status || err->message[0] == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *file;
    struct lora *lora;
    dsr1_error err = {0};
    if (size > FILE_MAX)
        return 0;
    dsr1_status status = gguf_open_memory(data, size, &file, &err);
    if (status != DSR1_OK) {
        check_refusal(status, &err);
        return 0;
    }
    status = lora_open_gguf(&model, file, &lora, &err);
    if (status != DSR1_OK)
        check_refusal(status, &err);
    else if (lora->max_rank > LORA_MAX_RANK || (lora->n_pairs > 0 && lora->size == 0))
        abort();
    lora_close(lora);
    gguf_close(file);
    return 0;
}
