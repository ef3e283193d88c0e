/*
 * step.c - the batch's memory, and how threads divide a phase
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "model/step.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_BLOCKS = 96,
    TILE_QUERIES = 64,      /* queries of one attention item: enough to pay for unpacking a page */
    PRODUCT_PANELS = 16,    /* panels per take at most: 256 rows */
    FEW_ROWS = 33,          /* as long as memory is the bound */
    LONG_RUN = 64           /* where another thread took what is fetched ahead it is lost: 16 KiB each time */
};

/* ------------------------------------------------------------------ */
/* Memory                                                              */
/* ------------------------------------------------------------------ */

/* n * size zeroed bytes that live as long as the step; NULL sets *failed. */
static void *take(struct step *s, size_t n, size_t size, bool *failed)
{
    size_t bytes;
    if (*failed || !size_mul(n, size, &bytes) || s->n_blocks == MAX_BLOCKS) {
        *failed = true;
        return NULL;
    }
    bytes = size_align(bytes + 64, 64);
    void *block = memory_map(bytes);
    if (!block) {
        *failed = true;
        return NULL;
    }
    s->blocks[s->n_blocks] = block;
    s->block_sizes[s->n_blocks++] = bytes;
    return block;
}

/* Where in struct layer the matrices stand that read an act. */
#define READER(member) offsetof(struct layer, member)
struct readers {
    size_t at[12];          /* 0, where no matrix is, ends them */
};

static void add_form(struct act *a, const struct weight *w)
{
    if (w->n_mats > 0)
        a->wants[weight_act_form(w->type)] = true;
}

static void take_rows(struct step *s, struct act *a, int rows, int n, bool *failed)
{
    size_t count = (size_t) rows;
    a->n = n;
    a->record = act_q8_size((size_t) n);
    a->wants[ACT_FLOATS] = true;
    for (enum act_form form = ACT_FLOATS; form < ACT_FORMS; form++) {
        if (!a->wants[form])
            continue;
        size_t stride = form == ACT_FLOATS ? (size_t) n * sizeof(float) : a->record;
        a->bytes[form] = take(s, count, stride, failed);
        a->rows[form] = take(s, count, sizeof *a->rows[form], failed);
        for (size_t i = 0; i < count && !*failed; i++)
            a->rows[form][i] = a->bytes[form] + i * stride;
    }
    a->f = (float *) a->bytes[ACT_FLOATS];
}

static void take_act(struct step *s, struct act *a, int rows, int n, const struct readers readers, bool *failed)
{
    const struct weights *weights = &s->model->weights;
    for (int l = 0; l < weights->n_layers; l++)
        for (int i = 0; readers.at[i] > 0; i++)
            add_form(a, (const struct weight *) ((const char *) &weights->layers[l] + readers.at[i]));
    take_rows(s, a, rows, n, failed);
}

/*
 * Floats from row to row of what products write: an odd number of lines of 64 bytes. A tile writes a line of each of 16
 * rows, and with a power of two between them all those lines would want the same place in every cache.
 */
static size_t row_stride(int n)
{
    enum { LINE = 16 };
    return ((size_t) (n + LINE - 1) / LINE | 1) * LINE;
}

static void take_attention(struct step *s, int rows, bool *failed)
{
    const struct model_shape *m = &s->model->shape;
    bool mla = m->attention != ATTENTION_GQA;
    int n_k_head = mla ? m->n_nope + m->rope.n_rot : m->n_k;
    int n_v_head = mla ? m->n_v_head : m->n_v;
    size_t count = (size_t) rows;
    s->q_stride = row_stride(m->n_heads * n_k_head);
    s->k_stride = row_stride(mla ? m->n_kv_lora + m->rope.n_rot : m->n_kv_heads * m->n_k);
    s->v_stride = row_stride(m->attention == ATTENTION_MLA ? 0
                             : mla                         ? m->n_heads * (m->n_nope + m->n_v_head)
                                                           : m->n_kv_heads * m->n_v);
    s->q = take(s, count * s->q_stride, sizeof(float), failed);
    s->k = take(s, count * s->k_stride, sizeof(float), failed);
    s->v = take(s, count * s->v_stride, sizeof(float), failed);
    take_act(s, &s->heads, rows, m->n_heads * n_v_head, (struct readers){{READER(o)}}, failed);
    if (m->n_q_lora > 0)
        take_act(s, &s->q_lora, rows, m->n_q_lora, (struct readers){{READER(q_b)}}, failed);
    if (m->attention == ATTENTION_MLA_EXPANDED)
        take_act(s, &s->latent, rows, m->n_kv_lora, (struct readers){{READER(kv_b)}}, failed);
    if (m->attention == ATTENTION_MLA) {
        take_act(s, &s->q_nope, rows * m->n_heads, m->n_nope, (struct readers){{READER(k_b)}}, failed);
        take_act(s, &s->attended, rows * m->n_heads, m->n_v, (struct readers){{READER(v_b)}}, failed);
        s->absorbed_stride = row_stride(m->n_heads * m->n_k);
        s->q_absorbed = take(s, count * s->absorbed_stride, sizeof(float), failed);
    }
}

static void take_moe(struct step *s, int rows, bool *failed)
{
    const struct model_shape *m = &s->model->shape;
    struct moe_buffers *b = &s->moe;
    size_t count = (size_t) rows, pairs = count * (size_t) s->n_used, all = pairs + count;
    b->scores = take(s, count * (size_t) m->n_experts, sizeof *b->scores, failed);
    b->chosen = take(s, pairs, sizeof *b->chosen, failed);
    b->chosen_weight = take(s, pairs, sizeof *b->chosen_weight, failed);
    b->groups = take(s, (size_t) m->n_experts + 1, sizeof *b->groups, failed);
    b->pair_row = take(s, all, sizeof *b->pair_row, failed);
    b->pair_weight = take(s, all, sizeof *b->pair_weight, failed);
    for (enum act_form form = ACT_FLOATS; form < ACT_FORMS; form++)
        b->pair_input[form] = take(s, all, sizeof *b->pair_input[form], failed);
    take_act(s, &b->hidden, rows * s->n_used, m->n_ff_expert, (struct readers){{READER(ffn.down)}}, failed);
    if (m->n_ff_shared > 0)
        take_act(s, &b->hidden_shared, rows, m->n_ff_shared, (struct readers){{READER(shared.down)}}, failed);
}

/* Room for the largest rank; memory that no adapter touches is never really there. */
static void take_lora(struct step *s, int rows, bool *failed)
{
    struct lora_buffers *b = &s->lora;
    size_t count = (size_t) rows, pairs = count * (size_t) s->n_used;
    b->chunks = take(s, count, sizeof *b->chunks, failed);
    b->order = take(s, count, sizeof *b->order, failed);
    b->u = take(s, LORA_USES * count, LORA_MAX_RANK * sizeof *b->u, failed);
    if (s->model->shape.n_experts == 0)
        return;
    b->pair_chunks = take(s, pairs, sizeof *b->pair_chunks, failed);
    b->pair_order = take(s, pairs, sizeof *b->pair_order, failed);
    b->pair_u = take(s, 2 * pairs, LORA_MAX_RANK * sizeof *b->pair_u, failed);
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void add_scratch(struct weight *w, void *user)
{
    size_t *size = user;
    *size = largest(*size, matmul_scratch_size(w));
}

/* What one thread needs at once: an attention item, or the outputs of a product and the panels of two matrices, unpacked. */
static size_t scratch_size(const struct step *s)
{
    const struct model_shape *m = &s->model->shape;
    size_t unpack = 0;
    weights_each((struct weights *) &s->model->weights, add_scratch, &unpack);
    size_t query = kv_query_size((size_t) m->n_k) + (size_t) m->n_v * sizeof(float) + 512;
    size_t attention = TILE_QUERIES * query + 4096;
    size_t product = 2 * largest((size_t) s->max_rows * (size_t) m->n_heads, (size_t) s->max_logits) * sizeof(float *);
    return largest(attention, product + 2 * unpack) + 8192;
}

static void take_all(struct step *s, bool *failed)
{
    const struct model_shape *m = &s->model->shape;
    const struct weights *weights = &s->model->weights;
    int rows = s->max_rows, n_threads = thread_pool_size(s->pool);
    size_t count = (size_t) rows, d = (size_t) m->n_embd;
    s->rows = take(s, count, sizeof *s->rows, failed);
    s->tiles = take(s, count, sizeof *s->tiles, failed);
    s->x = take(s, count * d, sizeof(float), failed);
    s->y_stride = row_stride(m->n_embd);
    s->y = take(s, count * s->y_stride, sizeof(float), failed);
    s->cos_sin = take(s, count * (size_t) m->rope.n_rot, sizeof(float), failed);
    const struct readers of_h = {{READER(q), READER(k), READER(v), READER(q_a), READER(kv_a), READER(router),
                                  READER(ffn.gate), READER(ffn.up), READER(shared.gate), READER(shared.up)}};
    take_act(s, &s->h, rows, m->n_embd, of_h, failed);
    take_attention(s, rows, failed);
    if (m->n_ff > 0 && (m->n_experts == 0 || m->n_dense_layers > 0))
        take_act(s, &s->hidden, rows, m->n_ff, (struct readers){{READER(ffn.down)}}, failed);
    if (m->n_experts > 0)
        take_moe(s, rows, failed);
    take_lora(s, rows, failed);
    add_form(&s->nextn_in, &weights->nextn.project);
    if (m->has_nextn)
        take_rows(s, &s->nextn_in, rows, 2 * m->n_embd, failed);
    add_form(&s->logits_in, &weights->output);
    add_form(&s->logits_in, &weights->nextn.output);
    take_rows(s, &s->logits_in, s->max_logits, m->n_embd, failed);
    s->logits = take(s, (size_t) s->max_logits * (size_t) m->n_vocab, sizeof(float), failed);
    s->n_choices = m->n_vocab;
    s->n_pieces = (m->n_vocab + LOGITS_PIECE - 1) / LOGITS_PIECE;
    s->pieces = take(s, (size_t) s->max_logits * (size_t) s->n_pieces, sizeof *s->pieces, failed);
    s->exps = take(s, (size_t) n_threads * LOGITS_PIECE, sizeof *s->exps, failed);
    s->shares = take(s, MOST_SHARES, sizeof *s->shares, failed);
    s->workers = take(s, (size_t) n_threads, sizeof *s->workers, failed);
    size_t scratch = size_align(scratch_size(s), 4096);
    char *block = take(s, (size_t) n_threads, scratch, failed);
    for (int t = 0; t < n_threads && !*failed; t++) {
        s->workers[t] = (struct worker){.step = s, .thread = t, .n_threads = n_threads};
        s->workers[t].scratch.size = scratch;
        s->workers[t].scratch.block = block + (size_t) t * scratch;
    }
}

dsr1_status step_open(const struct model *model, struct kv_cache *cache, struct thread_pool *pool,
                      const struct kernels *kernels, int max_rows, int max_logits, int n_used, struct step *step,
                      dsr1_error *err)
{
    const struct model_shape *m = &model->shape;
    *step = (struct step){.model = model, .kernels = kernels, .pool = pool, .cache = cache, .max_rows = max_rows,
                          .max_logits = max_logits, .n_used = n_used > 0 ? n_used : m->n_used};
    int group = m->n_heads / m->n_kv_heads;
    step->tile_heads = group < 16 ? group : 16;
    step->tile_rows = TILE_QUERIES / step->tile_heads;
    step->blocks = memory_array(MAX_BLOCKS, sizeof *step->blocks);
    step->block_sizes = memory_array(MAX_BLOCKS, sizeof *step->block_sizes);
    bool failed = !step->blocks || !step->block_sizes;
    take_all(step, &failed);
    if (failed) {
        step_close(step);
        return error_nomem(err, "a step's scratch");
    }
    return DSR1_OK;
}

void step_close(struct step *step)
{
    for (int i = 0; i < step->n_blocks; i++)
        memory_unmap(step->blocks[i], step->block_sizes[i]);
    free(step->blocks);
    free(step->block_sizes);
    *step = (struct step){0};
}

/* ------------------------------------------------------------------ */
/* Threads                                                             */
/* ------------------------------------------------------------------ */

/* Takes of share i of n_shares, which so many threads begin with. */
static bool take_of_share(struct worker *w, int i, int n_shares, int n_threads, int n_items, int most, int *first,
                          int *last)
{
    atomic_int *counter = &w->step->shares[i].taken[w->phase % 3];
    int from = (int) ((int64_t) n_items * i / n_shares), to = (int) ((int64_t) n_items * (i + 1) / n_shares);
    int n, taken = atomic_load_explicit(counter, memory_order_relaxed);
    do {
        int left = to - from - taken, half = left / (2 * n_threads);
        if (left <= 0)
            return false;
        n = half < 1 ? 1 : half > most ? most : half;
    } while (!atomic_compare_exchange_weak_explicit(counter, &taken, taken + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    *first = from + taken;
    *last = *first + n;
    return true;
}

bool worker_take(struct worker *w, int n_items, int most, int *first, int *last)
{
    int n_shares = w->n_threads < MOST_SHARES ? w->n_threads : MOST_SHARES;
    int together = (w->n_threads + n_shares - 1) / n_shares;
    for (int i = 0; i < n_shares; i++)
        if (take_of_share(w, (w->thread + i) % n_shares, n_shares, together, n_items, most, first, last))
            return true;
    return false;
}

bool worker_take_run(struct worker *w, int n_items, int most, int *first, int *last)
{
    return worker_take(w, n_items, w->step->n_rows < FEW_ROWS ? LONG_RUN : most, first, last);
}

/*
 * Three counters of a share take turns. Once all threads are past the barrier nobody uses
 * the previous phase's counters any more, and those after next can be cleared.
 */
static void sync_then(struct worker *w, void (*serial)(void *context), void *context)
{
    arena_reset(&w->scratch);
    w->phase++;
    if (w->n_threads > 1)
        thread_pool_barrier_then(w->step->pool, serial, context);
    else if (serial)
        serial(context);
    if (w->thread < MOST_SHARES)
        atomic_store_explicit(&w->step->shares[w->thread].taken[(w->phase + 1) % 3], 0, memory_order_relaxed);
}

void worker_sync(struct worker *w)
{
    sync_then(w, NULL, NULL);
}

struct serial {
    struct worker *w;
    row_phase rows;
    const void *argument;
    void (*then)(struct worker *w);
};

static void run_serial(void *context)
{
    const struct serial *s = context;
    if (s->rows)
        s->rows(s->w, s->argument, 0, 1);
    if (s->then)
        s->then(s->w);
}

void worker_sync_then(struct worker *w, void (*serial)(struct worker *w))
{
    struct serial s = {.w = w, .then = serial};
    sync_then(w, run_serial, &s);
}

void worker_sync_rows(struct worker *w, int most, row_phase rows, const void *argument, void (*then)(struct worker *w))
{
    int n = w->step->n_rows, first, last;
    if (n == 1) {
        struct serial s = {w, rows, argument, then};
        sync_then(w, run_serial, &s);
        return;
    }
    worker_sync(w);
    while (worker_take(w, n, most, &first, &last))
        rows(w, argument, first, last);
    worker_sync_then(w, then);
}

float **worker_outputs(struct worker *w, float *y, size_t stride, int n)
{
    float **rows = arena_take(&w->scratch, (size_t) n, sizeof *rows);
    for (int c = 0; c < n; c++)
        rows[c] = y + (size_t) c * stride;
    return rows;
}

static void product_panels(struct worker *w, const struct product *p, int first, int last, const void *next)
{
    size_t mark = w->scratch.used;
    float **y = worker_outputs(w, p->y, p->y_stride, p->n_cols);
    void *scratch = arena_take(&w->scratch, matmul_scratch_size(p->w), 1);
    matmul_panels(w->step->kernels, p->w, p->mat, first, last, p->x, p->n_cols, y, next, scratch);
    w->scratch.used = mark;
}

void worker_products(struct worker *w, const struct product *products, int n)
{
    int total = 0, first, last;
    for (int i = 0; i < n; i++)
        total += weight_panels(products[i].w);
    while (worker_take_run(w, total, PRODUCT_PANELS, &first, &last)) {
        int base = 0;
        for (int i = 0; i < n; i++) {
            int panels = weight_panels(products[i].w);
            int from = first > base ? first - base : 0, to = last - base < panels ? last - base : panels;
            const void *next = last > base + panels ? weight_panel(products[i + 1].w, products[i + 1].mat, 0) : NULL;
            if (from < to)
                product_panels(w, &products[i], from, to, next);
            base += panels;
        }
    }
}

void step_copy_row(const struct step *s, int layer, int r)
{
    const struct step_row *row = &s->rows[r];
    for (int i = 0; i < row->n_also; i++)
        kv_row_copy(s->cache, layer, row->seq->pages[row->position / KV_PAGE], row->also[i], row->position % KV_PAGE);
}

void quantize_rows(struct worker *w, const void *act, int first, int last)
{
    for (int r = first; r < last; r++)
        act_quantize(w->step->kernels, act, r);
}

void add_norm_rows(struct worker *w, const void *argument, int first, int last)
{
    const struct add_norm *a = argument;
    struct step *s = w->step;
    const struct kernels *k = s->kernels;
    int d = s->model->shape.n_embd;
    for (int r = first; r < last; r++) {
        float *x = s->x + (size_t) r * (size_t) d;
        if (a->y)
            k->add_scaled(x, s->model->shape.residual_scale, a->y + (size_t) r * s->y_stride, d);
        if (a->bias)
            k->add_scaled(x, s->model->shape.residual_scale, a->bias, d);
        k->rms_norm(x, a->norm, d, s->model->shape.norm_eps, act_row(&s->h, r));
        act_quantize(k, &s->h, r);
    }
}
