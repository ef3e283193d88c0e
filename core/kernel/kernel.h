/*
 * kernel.h - the arithmetic of a step, one table of functions per CPU
 *
 * Every function here gives a row the same bits whatever stands beside it: how
 * many columns are multiplied at once, which thread does it and how the work is
 * cut never enters a sum. Where a comment says "canonical", the scalar kernel
 * defines the order of operations and its siblings reproduce it bit for bit.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include "base/cpu.h"
#include "base/size.h"
#include "base/tensor_type.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------ */
/* Activations                                                         */
/* ------------------------------------------------------------------ */

/* What a matrix is multiplied with. */
enum act_form {
    ACT_FLOATS,     /* F32, F16, BF16: plain f32 rows */
    ACT_BLOCKS,     /* formats with blocks of 32: 8 bits, one scale per 32 values */
    ACT_GROUPS,     /* superblocks of 256: 8 bits, one scale per 128 */
    ACT_FORMS
};

static inline enum act_form weight_act_form(enum tensor_type type)
{
    switch (type) {
    case TENSOR_F32:
    case TENSOR_F16:
    case TENSOR_BF16: return ACT_FLOATS;
    case TENSOR_Q2_K:
    case TENSOR_Q3_K:
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
    case TENSOR_Q6_K:
    case TENSOR_IQ4_XS: return ACT_GROUPS;
    default: return ACT_BLOCKS;
    }
}

/*
 * A quantised row of n values, whole blocks or groups, is one record:
 *
 *     ACT_BLOCKS  int8_t q[n];  float d[n / 32];   int16_t sum[n / 16];  float dsum[n / 32];
 *     ACT_GROUPS  int8_t q[n];  float d[n / 128];  int16_t sum[n / 16];  int16_t block_sum[n / 32];
 *
 * where the arrays of the second begin at the places of the first. x[i] ~ d * q[i], and sum[j] = sum of q over 16
 * values, which turns the zero points and minimums of weight formats into one product per block; dsum is d times the
 * sum of its block, block_sum that sum. d = max |x| / 127 over the block or group, q = x / d rounded to nearest, halves
 * to even. Where d would be less than the smallest normal float, d = 0, q = 0. With an infinity or a NaN, d = NaN,
 * q = 0, so that every product with it shows a NaN. Canonical.
 *
 * The scales of a superblock's blocks are integers: with a group's scale in common, four blocks are added up before
 * anything is rounded (llama.cpp takes one scale for 256 values there).
 *
 * One row is quantised once and shared by every matrix of a form it is multiplied with.
 */
enum { ACT_BLOCK = 32, ACT_GROUP = 128 };

static inline size_t act_q8_size(size_t n)
{
    return (n + n / 32 * 2 * sizeof(float) + n / 16 * sizeof(int16_t) + 63) & ~(size_t) 63;
}
static inline const float *act_q8_d(const void *row, size_t n)
{
    return (const float *) ((const char *) row + n);
}
static inline const int16_t *act_q8_sum(const void *row, size_t n)
{
    return (const int16_t *) ((const char *) row + n + n / 32 * sizeof(float));
}
static inline const float *act_q8_dsum(const void *row, size_t n)
{
    return (const float *) ((const char *) row + n + n / 32 * sizeof(float) + n / 16 * sizeof(int16_t));
}
static inline const int16_t *act_q8_block_sum(const void *row, size_t n)
{
    return (const int16_t *) act_q8_dsum(row, n);
}

/* ------------------------------------------------------------------ */
/* Weights                                                             */
/* ------------------------------------------------------------------ */

/*
 * A panel is 16 consecutive rows of a matrix, interleaved so that one vector
 * holds the same column of all 16: products need no horizontal sums, and the
 * sum over columns runs in the same order for every number of right-hand sides.
 * Rows beyond the matrix are zero. Layouts: kernel/panel.h.
 */
enum { PANEL_ROWS = 16 };

/* Bytes of one panel of n_in columns, a multiple of 64. */
size_t panel_size(enum tensor_type type, int n_in);

/*
 * A weight matrix, or n_mats of them (experts) one after the other. `data` is
 * the mapped file. `panels` is the packed copy or NULL, in which case panels are
 * packed on the fly into scratch: same bits, more work.
 */
struct weight {
    enum tensor_type type;
    int n_in;               /* columns: length of an input row */
    int n_out;              /* rows: length of an output row */
    int n_mats;
    bool side_by_side;      /* panel i of all matrices before panel i + 1 of any: for short rows that are summed */
    size_t row_size;        /* bytes of one row in the file */
    const uint8_t *data;
    const uint8_t *panels;
};

static inline int weight_panels(const struct weight *w)
{
    return (w->n_out + PANEL_ROWS - 1) / PANEL_ROWS;
}

/* Where panel i of a matrix lies, counted in panels. */
static inline size_t weight_panel_index(const struct weight *w, int mat, int i)
{
    size_t m = (size_t) mat, p = (size_t) i;
    return w->side_by_side ? p * (size_t) w->n_mats + m : m * (size_t) weight_panels(w) + p;
}

/* Where that panel lies; NULL where the weight is not packed. */
static inline const uint8_t *weight_panel(const struct weight *w, int mat, int i)
{
    return w->panels ? w->panels + weight_panel_index(w, mat, i) * panel_size(w->type, w->n_in) : NULL;
}

/*
 * Packs up to 16 rows of file format at src (n_rows of them exist) into one panel
 * at dst (64-aligned). n_in is a multiple of the format's block.
 */
void panel_pack(enum tensor_type type, const uint8_t *src, size_t row_size, int n_rows, int n_in, void *dst);

/* One row of file format to floats, exactly as the format defines it (quant-formats, 1 ulp at most). */
void dequantize_row(enum tensor_type type, const void *src, int n, float *dst);

/* ------------------------------------------------------------------ */
/* Attention                                                           */
/* ------------------------------------------------------------------ */

/*
 * How keys and values are kept. With BF16, queries and weights are rounded as well, so that CPUs with products of
 * bf16 attend twice as fast; the others compute the same sums of floats, and their other types lose less.
 */
enum kv_type { KV_F16, KV_F32, KV_Q8_0, KV_BF16, KV_TYPES };

/* Rows of BF16 are whole blocks, with zeros behind their values. */
enum { KV_BF16_BLOCK = 32 };

static inline int kv_bf16_columns(int n)
{
    return (int) size_align((size_t) n, KV_BF16_BLOCK);
}

/* Bytes of n cached values. Q8_0: blocks {f16 d, int8 q[32]}; n is a multiple of 32. */
static inline size_t kv_row_size(enum kv_type type, size_t n)
{
    return type == KV_F32    ? 4 * n
           : type == KV_F16  ? 2 * n
           : type == KV_Q8_0 ? n / 32 * 34
                             : 2 * size_align(n, KV_BF16_BLOCK);
}

/* Bytes of a query of n values in the form that load_query gives it. */
static inline size_t kv_query_size(size_t n)
{
    return size_align(n, KV_BF16_BLOCK) * sizeof(float);
}

/*
 * The state of one query's softmax while it walks over the cache in pieces
 * (online softmax, Milakov and Gimelshein 2018). Start: max = -INFINITY (or the
 * attention sink's logit, with sum 1), sum = 0, acc = 0. End: acc / sum.
 */
struct attend_state {
    float max;
    float sum;
};

/*
 * One piece of cache against n_q queries that read the same key/value head.
 *
 *   q[i]      n_k values as load_query of the same level left them
 *   k, v      position p's row at k + p * k_stride (n_k values), v + p * v_stride (n_v values), in kv_type
 *   from, to  query i sees positions from[i] <= p < to[i] of this piece; an empty range changes nothing
 *   state[i], acc[i]   n_v floats; updated
 *
 * A piece holds at most ATTEND_PIECE positions. The result for a query depends
 * on its own range alone, not on its neighbours.
 */
enum { ATTEND_PIECE = 64 };

struct attend_piece {
    enum kv_type type;
    int n_k, n_v;
    const uint8_t *k, *v;
    size_t k_stride, v_stride;
    int n_q;
    const void *const *q;
    const int *from, *to;
    struct attend_state *state;
    float *const *acc;
};

/* ------------------------------------------------------------------ */
/* The table                                                           */
/* ------------------------------------------------------------------ */

struct panel_layout;

/*
 * y[c][0 .. n_rows-1] = sum over p < n_panels of panels[p] . x[p * x_stride + c] for n_cols right-hand sides,
 * n_rows <= 16, panel after panel; with `add` the sum begins with what y holds, so that more panels may follow in
 * another call. x[..] is a record or floats (weight_act_form). n_behind more panels follow in the list, which will be
 * read next, and behind them `next` and what lies `stride` bytes further on each. `fetch`: whether panels are fetched
 * ahead, and into which level of the cache.
 */
struct panel_product {
    const void *const *panels, *next;
    size_t stride;
    int n_panels, n_behind, n_in, n_rows;
    const void *const *x;
    int x_stride, n_cols;
    float *const *y;
    bool add;
    enum cpu_fetch fetch;
};

struct kernels {
    enum cpu_level level;

    void (*panel_product[TENSOR_TYPES])(const struct panel_product *product);   /* Canonical. */

    /* A record of n floats, of one of the forms that have any. Canonical. */
    void (*quantize[ACT_FORMS])(const float *x, int n, void *row);

    /* y = x / sqrt(mean(x^2) + eps) * w; the squares are summed in double. y may be x. w may be NULL (ones). */
    void (*rms_norm)(const float *x, const float *w, int n, float eps, float *y);

    /* y = silu(gate) * up; y may be gate. */
    void (*swiglu)(const float *gate, const float *up, int n, float *y);

    /* y = a * x; y may be x. */
    void (*scale)(float a, const float *x, int n, float *y);

    /* x += a * y */
    void (*add_scaled)(float *x, float a, const float *y, int n);

    /*
     * Rotates n_rot leading values in pairs by cos_sin[2i], cos_sin[2i+1], i < n_rot/2.
     * neox: pairs (i, i + n_rot/2); else (2i, 2i + 1).
     */
    void (*rope)(float *x, int n_rot, bool neox, const float *cos_sin);

    /* n floats into the cache's format. */
    void (*kv_store)(enum kv_type type, const float *x, int n, void *row);

    /* scale * q, n floats, in the form in which attend of this level reads queries; kv_query_size bytes. */
    void (*load_query)(enum kv_type type, float scale, const float *q, int n, void *out);

    void (*attend)(const struct attend_piece *piece);

    /* x[i] = exp(x[i] - max x), returns the sum; for router and sampler. The sum has 16 lanes in double. */
    double (*softmax_exp)(float *x, int n);

    /* gpt-oss' activation, see kernel/ops.h. */
    void (*swiglu_oai)(const float *gate, const float *up, int n, float *y);

    /* The inside of panel_pack: see kernel/panel.h. */
    void (*interleave)(const struct panel_layout *layout, const uint8_t *src, size_t row_size, int n_chunks,
                       uint8_t *panel);
};

/* The table of a level that this CPU has; NULL otherwise. */
const struct kernels *kernels_for(enum cpu_level level);

/* The table of cpu_level(). */
const struct kernels *kernels_default(void);

/* ------------------------------------------------------------------ */
/* Matrix products                                                     */
/* ------------------------------------------------------------------ */

/* Bytes of scratch that matmul_panels needs per thread for this weight: 0 when it is packed. */
size_t matmul_scratch_size(const struct weight *w);

/*
 * y[c][r] = W_mat . x[c] for the rows of panels first .. last-1 of matrix mat.
 * Any split of the panels and columns over threads and calls gives the same bits.
 * y[c] points to a row of n_out floats. `next` is where reading will go on behind the panels, to be fetched; NULL:
 * straight on.
 */
void matmul_panels(const struct kernels *k, const struct weight *w, int mat, int first, int last,
                   const void *const x[], int n_cols, float *const y[], const void *next, void *scratch);

/*
 * y[c][r] += sum over m < n_mats of W_mats[m] . x[m * n_cols + c], matrix after matrix: the bits are those of n_mats
 * calls, one for each matrix.
 */
void matmul_add_panels(const struct kernels *k, const struct weight *w, const int mats[], int n_mats, int first,
                       int last, const void *const x[], int n_cols, float *const y[], const void *next, void *scratch);

#endif
