/*
 * gram.c - least squares towards known weights, from many rows
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/gram.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 96 };            /* columns of x that a thread takes at a time */

/* LAPACK, which OpenBLAS brings along; columns first, so that our rows are its columns. */
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_length);
extern void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a, const int *lda, double *b,
                    const int *ldb, int *info, size_t uplo_length);

struct product {
    struct gram *g;
    const real *x, *y;
    int n, width;               /* of y */
    double *sum;
    double weight;
    bool half;                  /* y is x: only columns from the diagonal on */
};

dsr1_status gram_open(int m, int k, struct gram *g, dsr1_error *err)
{
    size_t um = (size_t) m, uk = (size_t) k;
    *g = (struct gram){.m = m, .k = k, .xx = memory_array(um * um, sizeof *g->xx),
                       .xy = memory_array(um * uk, sizeof *g->xy), .factor = memory_array(um * um, sizeof *g->factor),
                       .part = memory_array(um * (um > uk ? um : uk), sizeof *g->part)};
    if (g->xx && g->xy && g->factor && g->part)
        return DSR1_OK;
    gram_close(g);
    return error_nomem(err, "least squares");
}

void gram_close(struct gram *g)
{
    free(g->xx);
    free(g->xy);
    free(g->factor);
    free(g->part);
    *g = (struct gram){0};
}

static void add_blocks(void *context, int thread, int n_threads)
{
    const struct product *p = context;
    int m = p->g->m;
    for (int first = thread * BLOCK; first < m; first += n_threads * BLOCK) {
        int rows = m - first < BLOCK ? m - first : BLOCK, skip = p->half ? first : 0, width = p->width - skip;
        real *part = p->g->part + (size_t) first * (size_t) p->width;
        real_gemm_tn(rows, width, p->n, 1, p->x + first, m, p->y + skip, p->width, 0, part + skip, p->width);
        for (int r = 0; r < rows; r++)
            for (int c = skip; c < p->width; c++)
                p->sum[(size_t) (first + r) * (size_t) p->width + (size_t) c] +=
                    p->weight * (double) part[(size_t) r * (size_t) p->width + (size_t) c];
    }
}

void gram_add_xx(struct gram *g, struct thread_pool *pool, const real *x, int n, double weight)
{
    struct product p = {.g = g, .x = x, .y = x, .n = n, .width = g->m, .sum = g->xx, .weight = weight, .half = true};
    thread_pool_run(pool, add_blocks, &p);
}

void gram_add_xy(struct gram *g, struct thread_pool *pool, const real *x, const real *y, int n, double weight)
{
    struct product p = {.g = g, .x = x, .y = y, .n = n, .width = g->k, .sum = g->xy, .weight = weight};
    thread_pool_run(pool, add_blocks, &p);
}

void gram_clear_xy(struct gram *g)
{
    memset(g->xy, 0, (size_t) g->m * (size_t) g->k * sizeof *g->xy);
}

dsr1_status gram_factor(struct gram *g, double ridge, dsr1_error *err)
{
    size_t m = (size_t) g->m;
    double trace = 0;
    int info = 0;
    for (size_t i = 0; i < m; i++)
        trace += g->xx[i * m + i];
    memcpy(g->factor, g->xx, m * m * sizeof *g->factor);
    for (size_t i = 0; i < m; i++)
        g->factor[i * m + i] += ridge * trace / (double) g->m;
    dpotrf_("L", &g->m, g->factor, &g->m, &info, 1);
    return info == 0 ? DSR1_OK : error_set(err, DSR1_ERR_ARGUMENT, "too few different rows to fit %d weights", g->m);
}

/* From the upper half alone. */
static double entry(const struct gram *g, int i, int j)
{
    return i <= j ? g->xx[(size_t) i * (size_t) g->m + (size_t) j] : g->xx[(size_t) j * (size_t) g->m + (size_t) i];
}

/* right (k x m) = (xy - xx prior^T)^T */
static dsr1_status right_side(const struct gram *g, const real *prior, double *right, dsr1_error *err)
{
    size_t m = (size_t) g->m, k = (size_t) g->k;
    for (size_t c = 0; c < k; c++)
        for (size_t i = 0; i < m; i++)
            right[c * m + i] = g->xy[i * k + c];
    if (!prior)
        return DSR1_OK;
    double *full = memory_array(m * m, sizeof *full), *w = memory_array(k * m, sizeof *w);
    if (full && w) {
        for (int i = 0; i < g->m; i++)
            for (int j = 0; j < g->m; j++)
                full[(size_t) i * m + (size_t) j] = entry(g, i, j);
        for (size_t i = 0; i < k * m; i++)
            w[i] = (double) prior[i];
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, g->k, g->m, g->m, -1, w, g->m, full, g->m, 1, right,
                    g->m);
    }
    dsr1_status status = full && w ? DSR1_OK : error_nomem(err, "least squares");
    free(full);
    free(w);
    return status;
}

dsr1_status gram_solve(struct gram *g, const real *prior, real *w, dsr1_error *err)
{
    size_t n = (size_t) g->m * (size_t) g->k;
    double *right = memory_array(n, sizeof *right);
    dsr1_status status = right ? right_side(g, prior, right, err) : error_nomem(err, "least squares");
    int info = 0;
    if (status == DSR1_OK)
        dpotrs_("L", &g->m, &g->k, g->factor, &g->m, right, &g->m, &info, 1);
    for (size_t i = 0; i < n && status == DSR1_OK; i++)
        w[i] = (real) right[i] + (prior ? prior[i] : 0);
    free(right);
    return status;
}
