/*
 * step.h - one batch through the model
 *
 * A step takes rows (a token at a position of a sequence each), appends their
 * keys and values to the cache and leaves logits for the rows that want them.
 * Rows of one sequence stand together, in order of position; whether they are
 * one decoded token or a piece of a prompt makes no difference here.
 *
 * Every thread of the pool runs the same code (SPMD). A phase is divided into
 * items that threads take from a counter; worker_sync() ends it. Who computes
 * an item never changes its bits.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef MODEL_STEP_H
#define MODEL_STEP_H

#include "base/arena.h"
#include "base/thread_pool.h"
#include "model/act.h"
#include "model/lora.h"
#include "model/model.h"

#include <stdatomic.h>

struct step_row {
    int32_t token;
    int position;
    struct kv_seq *seq;     /* holds a page for the position already */
    int logits;             /* row of step->logits to fill, or -1 */
    float *hidden;          /* n_embd floats for the state behind the last norm, or NULL */
    const struct lora *lora;    /* adapter, or NULL */
    uint16_t *experts;      /* n_layers x n_used ids to fill with what routers chose, or NULL */
    const float *before;    /* step_run_nextn: the residual stream of the row before this one, or NULL */
    const int *also;        /* n_also more pages that get its keys and values, at the same place in the page */
    int n_also;
};

/*
 * A piece of a row of logits: what softmax and choice need of it. The row's
 * total is summed in order of its pieces, whoever computed them.
 */
enum { LOGITS_PIECE = 4096 };

struct logits_piece {
    int best;               /* the lowest id among the largest */
    float max;
    double sum;             /* of exp(logit - max) */
};

/* Rows of one sequence that attend together. */
struct tile {
    int first, n;           /* rows */
};

/* The rows that chose one expert; the shared expert is one more group, of all rows. */
struct expert_group {
    const struct ffn_weights *ffn;
    struct act *hidden;     /* where the results go: of pairs for experts, of rows else */
    int mat;
    int first, n;           /* pairs: hidden rows first .. first + n - 1 */
};

struct moe_buffers {
    float *scores;          /* rows x E: router output */
    int *chosen;            /* rows x K: expert ids in descending order of score */
    float *chosen_weight;   /* rows x K */
    int n_groups, n_shared;     /* all of them; and of these, 0 or 1 */
    struct expert_group *groups;    /* the shared expert's first: a thread computes with it while another reads */
    int *pair_row;          /* pair -> row */
    float *pair_weight;     /* what hidden rows are multiplied with before they are quantised */
    const void **pair_input[ACT_FORMS];     /* pair -> the row's activations */
    struct act hidden;      /* pairs x n_ff_expert */
    struct act hidden_shared;   /* rows x n_ff_shared */
};

/* Rows, or pairs of a row and an expert, that have one adapter: order[first .. first + n - 1]. */
struct lora_chunk {
    const struct lora *lora;
    int mat;                /* expert */
    int first, n;
};

struct lora_buffers {
    int rank;               /* the largest of the step's adapters; 0: none */
    int n_chunks, n_pair_chunks;
    struct lora_chunk *chunks, *pair_chunks;
    int *order, *pair_order;
    float *u;               /* LORA_USES x rows x rank: A x */
    float *pair_u;          /* 2 x pairs x rank */
};

struct step {
    const struct model *model;
    const struct kernels *kernels;
    struct thread_pool *pool;
    struct kv_cache *cache;
    int max_rows, max_logits;
    int n_used;             /* experts per token: the K of sizes below */

    int n_rows;
    struct step_row *rows;  /* filled by the caller before step_run */
    bool alone;             /* computed by the calling thread without the others: the same bits */
    int n_tiles;
    struct tile *tiles;
    int tile_rows;          /* at most so many rows share a tile */
    int tile_heads;         /* and so many heads of a group */

    bool keeps;             /* x shall hold every row's last state afterwards, for step_run_nextn */
    float *x;               /* rows x d: the residual stream */
    float *y;               /* rows x y_stride: what a layer adds to it */
    size_t y_stride;        /* d and a little more, like all strides: step.c */
    float *cos_sin;         /* rows x n_rot */
    struct act h;           /* rows x d: normed */
    float *q, *k, *v;       /* projections, rows x their strides */
    size_t q_stride, k_stride, v_stride;
    struct act q_lora;      /* MLA: rows x n_q_lora */
    struct act latent;      /* MLA expanded: rows x n_kv_lora */
    struct act q_nope;      /* MLA: rows*H x n_nope */
    float *q_absorbed;      /* MLA: rows x H x (n_kv_lora + n_rot), a row every absorbed_stride */
    size_t absorbed_stride;
    struct act attended;    /* rows*H x n_v: MLA's attended latents */
    struct act heads;       /* rows x H*n_v_head: input of the output projection */
    struct act hidden;      /* rows x n_ff: dense layers */
    struct moe_buffers moe;
    struct lora_buffers lora;
    struct act nextn_in;    /* rows x 2d */
    struct act logits_in;   /* max_logits x d */
    float *logits;          /* max_logits x n_vocab */
    int n_choices;          /* the first so many logits of a row count: set by the caller, at first all */
    int n_pieces;           /* of a row */
    struct logits_piece *pieces;    /* max_logits x n_pieces */
    float *exps;            /* threads x LOGITS_PIECE */
    float **pointers;       /* scratch for output row pointers, see worker_outputs */

    struct item_share *shares;   /* MOST_SHARES */
    struct worker *workers;
    void **blocks;          /* everything allocated, for step_close */
    size_t *block_sizes;
    int n_blocks;
};

/* Threads write to these all the time, each to its own: they must not meet in a line, nor in a pair of them. */
enum { FALSE_SHARING = 128, MOST_SHARES = 8 };

/* How many items are taken of a share of this phase, and of two others. */
struct item_share {
    _Alignas(FALSE_SHARING) atomic_int taken[3];
};

struct worker {
    _Alignas(FALSE_SHARING) struct step *step;
    int thread, n_threads;
    int phase;
    int layer;
    struct arena scratch;   /* reset by worker_sync */
};

/* n_used: experts per token, 0: as the file says; model_shape_may_use() says what is possible. */
dsr1_status step_open(const struct model *model, struct kv_cache *cache, struct thread_pool *pool,
                      const struct kernels *kernels, int max_rows, int max_logits, int n_used, struct step *step,
                      dsr1_error *err);
void step_close(struct step *step);

/* Runs step->rows[0 .. n_rows-1]. Cannot fail. */
void step_run(struct step *step);

/* Of row `row` of the logits: the largest, the lowest id among equals; and log(sum(exp(logits))). */
int step_best(const struct step *step, int row);
double step_log_total(const struct step *step, int row);

/*
 * Runs the multi-token-prediction block on rows[0 .. n_rows-1], where the model has one: of a token and the state
 * that predicted it, logits of the token behind. `before` points into x, as a step that keeps it left it; x is lost.
 * The block has a layer of the cache for itself, in which a row writes its position.
 */
void step_run_nextn(struct step *step);

/* ---- inside a step ---- */

/*
 * The next run of items out of n_items of this phase; false when all are taken. Each thread goes through a share of its
 * own first, in order, so that what is fetched behind a run is what it reads next; then it helps the others. Runs get
 * shorter towards a share's end, so that threads are done at the same time: `most` items at first, half of what is left
 * then. A run may lie before the last one.
 */
bool worker_take(struct worker *w, int n_items, int most, int *first, int *last);

/* The same for items that read weights: while few rows wait for them, longer runs, which memory is read faster in. */
bool worker_take_run(struct worker *w, int n_items, int most, int *first, int *last);

/* Ends a phase: all threads wait for each other, and items are counted anew. */
void worker_sync(struct worker *w);

/* The same; the last to come runs `serial`, if any, before anyone goes on. */
void worker_sync_then(struct worker *w, void (*serial)(struct worker *w));

/*
 * Ends a phase, does one of rows, and ends it: with a sync before and behind, the latter with `then`. A single row is
 * left to the last to come while the others wait, which takes one sync: in a decoded token they are what is long.
 * The argument is the same for all threads.
 */
typedef void (*row_phase)(struct worker *w, const void *argument, int first, int last);
void worker_sync_rows(struct worker *w, int most, row_phase rows, const void *argument, void (*then)(struct worker *w));

/* y[c] = W_mat . x[c]; y_stride floats between output rows. */
struct product {
    const struct weight *w;
    int mat;
    const void *const *x;
    int n_cols;
    float *y;
    size_t y_stride;
};

/* One phase: all products, divided by panels. Does not sync. */
void worker_products(struct worker *w, const struct product *products, int n);

/* A row_phase: x += scale * y (+ bias) where y is given, then h = norm(x). */
struct add_norm {
    const float *y, *bias, *norm;
};
void add_norm_rows(struct worker *w, const void *add_norm, int first, int last);

/* A row_phase: act_quantize for rows of a struct act. */
void quantize_rows(struct worker *w, const void *act, int first, int last);

/* Row pointers for matmul_panels: y + c * stride, from the worker's scratch. */
float **worker_outputs(struct worker *w, float *y, size_t stride, int n);

/* A row's keys and values of a layer are in the cache: puts them where else they are wanted. */
void step_copy_row(const struct step *step, int layer, int r);

/* The layers: they read step->h and leave what they add in step->y. Their last phase is ended by who comes next. */
void attention_gqa(struct worker *w, int layer);
void attention_mla(struct worker *w, int layer);
void ffn_dense(struct worker *w, int layer);

/* Norms the rows itself, since it chooses their experts in the same phase. */
void ffn_moe(struct worker *w, int layer, const struct add_norm *norm);

/* Phases of attention that all kinds share: softmax(q k) v for every row and head. Does not sync. */
void attention_attend(struct worker *w, int layer, const float *q, size_t q_stride, struct act *out, bool per_head);

/* One phase: hidden = act(gate x) * (up x) for rows of groups. Does not sync. */
void ffn_gate_up(struct worker *w, const struct expert_group *groups, int n_groups);

/* ---- Adapters (lora_step.c) ---- */

/* y[r] += scale B_mat A_mat x[r] for the rows whose adapter has this pair. */
struct lora_use {
    enum lora_slot slot;
    int mat;
    const float *x;         /* of row 0 */
    size_t x_stride;
    float *y;
    size_t y_stride;
};

enum { LORA_USES = 3 };     /* at once, at most */

/* Gathers the step's rows by adapter. Before the threads start. */
void lora_plan(struct step *s);

/* And the pairs of a layer's routed experts, once they are grouped. One thread. */
void lora_plan_pairs(struct step *s);

/* Ends a phase and does two more, of which the last stays open; nothing where no adapter has such pairs. */
void lora_add(struct worker *w, const struct lora_use *uses, int n);

/* The same for a matrix per head: rows of in at (row * H + h), as mla.c has them. */
void lora_add_heads(struct worker *w, enum lora_slot slot, const struct act *in, float *out, size_t head_stride,
                    size_t row_stride);

/* A of gate and up, for a dense layer or for routed and shared experts: before ffn_gate_up. Ends in a sync. */
void lora_before_hidden(struct worker *w, bool routed);

/* B of gate or up for hidden values of panels from .. to - 1 and rows (pairs) first .. first + n - 1 of a group. */
void lora_hidden(struct worker *w, const struct expert_group *g, bool up, int from, int to, int first, int n,
                 float *const *y);

/* A of down, for routed and shared experts, ending in a sync; then B for output rows of some panels, added to y. */
void lora_before_combine(struct worker *w);
void lora_combine(struct worker *w, int from, int to);

/* Fills chosen and weight, n_used of each, for a row from its scores (DeepSeek-V3, section 2.1.2). */
void router_choose(const struct kernels *kernels, const struct model_shape *shape, int n_used, const float *bias,
                   float *scores, int *chosen, float *weight);

#endif
