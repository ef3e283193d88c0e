/*
 * api_adapter.c - dsr1.h: adapters
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "api/handle.h"
#include "model/lora.h"

/* The handle is the adapter itself. */
dsr1_status dsr1_adapter_open(const dsr1_model *model, const char *path, dsr1_adapter **adapter, dsr1_error *err)
{
    struct lora *lora;
    dsr1_status status = lora_open_file(&model->model, path, &lora, err);
    *adapter = (dsr1_adapter *) lora;
    return status;
}

void dsr1_adapter_close(dsr1_adapter *adapter)
{
    lora_close((struct lora *) adapter);
}

void dsr1_adapter_get_info(const dsr1_adapter *adapter, dsr1_adapter_info *info)
{
    const struct lora *lora = (const struct lora *) adapter;
    *info = (dsr1_adapter_info){.rank = lora->max_rank, .n_matrices = lora->n_pairs, .size = lora->size,
                                .alpha = lora->alpha};
}
