/*
 * gptq.c - a matrix rounded so that its products keep their values
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/gptq.h"

#include "base/error.h"
#include "base/memory.h"
#include "kernel/encode.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 32, ROWS = 64 };

/* LAPACK, which OpenBLAS brings along; columns first, so that our rows are its columns. */
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_length);
extern void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_length);

struct task {
    const struct gptq *q;
    enum tensor_type type;
    double *w;
    int k;
    uint8_t *bytes;
};

/* LAPACK's lower half is the upper one in our rows: the factor of the inverse is U as we want it. */
dsr1_status gptq_open(struct gram *g, double damp, struct gptq *q, dsr1_error *err)
{
    size_t m = (size_t) g->m;
    int info = 0;
    *q = (struct gptq){.m = g->m};
    dsr1_status status = gram_factor(g, damp, err);
    if (status != DSR1_OK)
        return status;
    q->u = memory_array(m * m, sizeof *q->u);
    if (!q->u)
        return error_nomem(err, "second moments");
    memcpy(q->u, g->factor, m * m * sizeof *q->u);
    dpotri_("L", &q->m, q->u, &q->m, &info, 1);
    if (info == 0)
        dpotrf_("L", &q->m, q->u, &q->m, &info, 1);
    if (info == 0)
        return DSR1_OK;
    gptq_close(q);
    return error_set(err, DSR1_ERR_ARGUMENT, "too few different rows to round %d columns by", g->m);
}

void gptq_close(struct gptq *q)
{
    free(q->u);
    *q = (struct gptq){0};
}

/* The block of one row that begins at column `at`; errors (BLOCK) are what later blocks take back. */
static void round_block(const struct task *t, double *row, int at, double *errors, uint8_t *bytes)
{
    const struct gptq *q = t->q;
    size_t m = (size_t) q->m;
    float x[BLOCK];
    int codes[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        x[i] = (float) row[at + i];
    struct encode_grid grid = encode_fit_grid(t->type, x);
    for (int i = 0; i < BLOCK; i++) {
        const double *u = q->u + (size_t) (at + i) * m + (size_t) at;
        codes[i] = encode_nearest(&grid, (float) row[at + i]);
        double value = (double) grid.low + (double) grid.step * codes[i];
        errors[i] = (row[at + i] - value) / u[i];
        for (int j = i + 1; j < BLOCK; j++)
            row[at + j] -= errors[i] * u[j];
    }
    encode_on_grid(t->type, &grid, codes, bytes);
}

static void round_rows(const struct task *t, int first, int n)
{
    size_t m = (size_t) t->q->m, size = tensor_type_size(t->type), row_size = tensor_type_row(t->type, m);
    double errors[ROWS * BLOCK];
    double *w = t->w + (size_t) first * m;
    uint8_t *bytes = t->bytes + (size_t) first * row_size;
    for (int at = 0; at < t->q->m; at += BLOCK) {
        int next = at + BLOCK, rest = t->q->m - next;
        for (int r = 0; r < n; r++)
            round_block(t, w + (size_t) r * m, at, errors + r * BLOCK,
                        bytes + (size_t) r * row_size + (size_t) (at / BLOCK) * size);
        if (rest > 0)
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, rest, BLOCK, -1, errors, BLOCK,
                        t->q->u + (size_t) at * m + (size_t) next, t->q->m, 1, w + next, t->q->m);
    }
}

static void round_share(void *context, int thread, int n_threads)
{
    const struct task *t = context;
    for (int first = thread * ROWS; first < t->k; first += n_threads * ROWS)
        round_rows(t, first, t->k - first < ROWS ? t->k - first : ROWS);
}

void gptq_round(const struct gptq *q, struct thread_pool *pool, enum tensor_type type, double *w, int k,
                uint8_t *bytes)
{
    struct task task = {.q = q, .type = type, .w = w, .k = k, .bytes = bytes};
    thread_pool_run(pool, round_share, &task);
}
