/*
 * gptq.h - a matrix rounded so that its products keep their values
 *
 * GPTQ (Frantar et al., arXiv:2210.17323): columns are rounded one after the other, and what rounding does to the
 * product is taken back by the columns that are still to come, as the second moments of the rows that the matrix will
 * multiply say. For formats on even grids (encode.h); a block's grid is fitted when its first column is reached.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_GPTQ_H
#define TRAIN_GPTQ_H

#include "base/tensor_type.h"
#include "train/gram.h"

#include <stdint.h>

struct gptq {
    int m;
    double *u;                  /* m x m, upper: U^T U = (X^T X + damp)^-1 */
};

/* Factors g, with damp as gram_factor's ridge. Errors as there, and DSR1_ERR_NOMEM. */
dsr1_status gptq_open(struct gram *g, double damp, struct gptq *q, dsr1_error *err);
void gptq_close(struct gptq *q);        /* accepts a zeroed one */

/*
 * w (k x m, destroyed; m whole blocks) to k rows of bytes in the format `type`, which encode_has_grid. How many threads
 * there are leaves no trace.
 */
void gptq_round(const struct gptq *q, struct thread_pool *pool, enum tensor_type type, double *w, int k,
                uint8_t *bytes);

#endif
