/*
 * real.h - the number type of training, and its matrix products
 *
 * Training computes in float. The same sources compile with TRAIN_F64 into a
 * library of doubles, in which finite differences show a wrong gradient to
 * eight digits instead of three: tests/unit/test_train_f64_*.c link that one.
 *
 * Matrices lie in rows; products go to OpenBLAS, which runs on the thread that
 * calls it (net_open sets its own threads to one: we split work by sequences).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_REAL_H
#define TRAIN_REAL_H

#include <cblas.h>

#ifdef TRAIN_F64
typedef double real;
#define REAL_GEMM cblas_dgemm
#else
typedef float real;
#define REAL_GEMM cblas_sgemm
#endif

/* c (m x n) = alpha a b^T + beta c, with a (m x k) and b (n x k); ld* are distances between rows. */
static inline void real_gemm_nt(int m, int n, int k, real alpha, const real *a, int lda, const real *b, int ldb,
                                real beta, real *c, int ldc)
{
    if (m > 0 && n > 0)
        REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* c (m x n) = alpha a b + beta c, with a (m x k) and b (k x n). */
static inline void real_gemm_nn(int m, int n, int k, real alpha, const real *a, int lda, const real *b, int ldb,
                                real beta, real *c, int ldc)
{
    if (m > 0 && n > 0)
        REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* c (m x n) = alpha a^T b + beta c, with a (k x m) and b (k x n). */
static inline void real_gemm_tn(int m, int n, int k, real alpha, const real *a, int lda, const real *b, int ldb,
                                real beta, real *c, int ldc)
{
    if (m > 0 && n > 0)
        REAL_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

#endif
