/*
 * latent.c - multi-head latent attention, forward and backward
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/latent.h"

#include "train/causal.h"

#include <string.h>

/* Sizes that all functions here want. */
struct sizes {
    int rows, heads, nope, rot, dk, dv, r, low;
    bool absorbed;
};

static struct sizes sizes_of(const struct net *net, const struct batch *b)
{
    const struct model_shape *s = &net->shape;
    return (struct sizes){.rows = batch_rows(b), .heads = s->n_heads, .nope = s->n_nope, .rot = s->rope.n_rot,
                          .dk = s->n_nope + s->rope.n_rot, .dv = s->n_v_head, .r = s->n_kv_lora, .low = s->n_q_lora,
                          .absorbed = s->attention == ATTENTION_MLA};
}

static struct causal causal_of(const struct net *net, const struct sizes *z)
{
    int key = z->absorbed ? z->r + z->rot : z->dk;
    return (struct causal){.ops = net->ops, .n_heads = z->heads, .n_kv_heads = z->absorbed ? 1 : z->heads, .n_k = key,
                           .n_v = z->absorbed ? z->r : z->dv, .q_stride = z->heads * key,
                           .k_stride = z->absorbed ? key : z->heads * key,
                           .v_stride = z->absorbed ? key : z->heads * z->dv,
                           .o_stride = z->heads * (z->absorbed ? z->r : z->dv),
                           .scale = (real) net->shape.attention_scale};
}

static int max_of(int a, int b)
{
    return a > b ? a : b;
}

void latent_carve(struct carve *c, const struct net *net, const struct net_layer *layer, const struct batch *b,
                  struct latent_state *s)
{
    struct sizes z = sizes_of(net, b);
    struct causal causal = causal_of(net, &z);
    size_t n = (size_t) z.rows, heads = (size_t) z.heads, widest = (size_t) max_of(max_of(z.nope, z.r), z.dv);
    s->q_low = layer->q_a.n_mats ? carve_real(c, n, (size_t) z.low) : NULL;
    s->q_low_normed = layer->q_a.n_mats ? carve_real(c, n, (size_t) z.low) : NULL;
    s->q = carve_real(c, n, heads * (size_t) z.dk);
    s->kv = carve_real(c, n, (size_t) (z.r + z.rot));
    s->c = carve_real(c, n, (size_t) z.r);
    s->query = z.absorbed ? carve_real(c, n, (size_t) causal.q_stride) : s->q;
    s->key = carve_real(c, n, (size_t) causal.k_stride);
    s->kv_b = z.absorbed ? NULL : carve_real(c, n, heads * (size_t) (z.nope + z.dv));
    s->value = z.absorbed ? s->key : carve_real(c, n, heads * (size_t) z.dv);
    s->o = carve_real(c, n, heads * (size_t) z.dv);
    s->mixed = z.absorbed ? carve_real(c, n, heads * (size_t) z.r) : s->o;
    s->p = carve_real(c, 1, causal_size(&causal, b));
    s->head_in = carve_real(c, n, widest);
    s->head_out = carve_real(c, n, widest);
    s->u_q_a = carve_real(c, n, (size_t) layer->q_a.rank);
    s->u_q = carve_real(c, n, (size_t) (layer->q_a.n_mats ? layer->q_b.rank : layer->q.rank));
    s->u_kv_a = carve_real(c, n, (size_t) layer->kv_a.rank);
    s->u_kv_b = carve_real(c, n, (size_t) layer->kv_b.rank);
    s->u_o = carve_real(c, n, (size_t) layer->o.rank);
    s->u_k_b = carve_real(c, n * heads, (size_t) layer->k_b.rank);
    s->u_v_b = carve_real(c, n * heads, (size_t) layer->v_b.rank);
}

void latent_carve_scratch(struct carve *c, const struct net *net, const struct batch *b, int max_rank,
                          struct latent_scratch *s)
{
    struct sizes z = sizes_of(net, b);
    struct causal causal = causal_of(net, &z);
    size_t n = (size_t) z.rows, heads = (size_t) z.heads, widest = (size_t) max_of(max_of(z.nope, z.r), z.dv);
    s->dq = carve_real(c, n, heads * (size_t) z.dk);
    s->d_low = carve_real(c, n, (size_t) z.low);
    s->d_low_normed = carve_real(c, n, (size_t) z.low);
    s->dquery = z.absorbed ? carve_real(c, n, (size_t) causal.q_stride) : s->dq;
    s->dkey = carve_real(c, n, (size_t) causal.k_stride);
    s->dvalue = z.absorbed ? s->dkey : carve_real(c, n, heads * (size_t) z.dv);
    s->dkv_b = z.absorbed ? NULL : carve_real(c, n, heads * (size_t) (z.nope + z.dv));
    s->d_o = carve_real(c, n, heads * (size_t) z.dv);
    s->dmixed = z.absorbed ? carve_real(c, n, heads * (size_t) z.r) : s->d_o;
    s->dc = carve_real(c, n, (size_t) z.r);
    s->dkv = carve_real(c, n, (size_t) (z.r + z.rot));
    s->dp = carve_real(c, CAUSAL_BLOCK, (size_t) batch_longest(b));
    s->head_in = carve_real(c, n, widest);
    s->head_dy = carve_real(c, n, widest);
    s->head_dx = carve_real(c, n, widest);
    s->u = carve_real(c, n, (size_t) max_rank);
}

/* ------------------------------------------------------------------ */
/* Moving pieces of rows                                               */
/* ------------------------------------------------------------------ */

/* `width` values of each row, from one array of rows to another. */
static void copy_columns(const real *from, int from_stride, real *to, int to_stride, int width, int rows)
{
    for (int r = 0; r < rows; r++)
        memcpy(to + (size_t) r * (size_t) to_stride, from + (size_t) r * (size_t) from_stride,
               (size_t) width * sizeof *to);
}

/* Rotates n_rot values at offset `first` of each of n_heads heads of `stride` values. */
static void rotate(const struct net *net, const struct batch *b, real *x, int n_heads, int stride, int first,
                   real sign)
{
    const struct rope_shape *rope = &net->shape.rope;
    for (int s = 0; s < b->n_seqs; s++)
        for (int i = 0; i < batch_length(b, s); i++) {
            size_t row = (size_t) (batch_first(b, s) + i) * (size_t) n_heads;
            for (int h = 0; h < n_heads; h++)
                net->ops->rotate(x + (row + (size_t) h) * (size_t) stride + first, rope->n_rot, rope->neox,
                                 net->cos_sin + (size_t) batch_position(b, s, i) * (size_t) rope->n_rot, sign);
        }
}

/* ------------------------------------------------------------------ */
/* Forward                                                             */
/* ------------------------------------------------------------------ */

static void project(const struct net *net, const struct net_layer *layer, const struct batch *b, const struct sizes *z,
                    const real *h, const struct latent_state *s)
{
    real eps = (real) net->shape.norm_eps;
    if (layer->q_a.n_mats) {
        linear_forward(&layer->q_a, 0, h, z->rows, s->q_low, s->u_q_a);
        for (size_t r = 0; r < (size_t) z->rows; r++)
            net->ops->norm(s->q_low + r * (size_t) z->low, layer->q_a_norm.w, z->low, eps,
                           s->q_low_normed + r * (size_t) z->low);
        linear_forward(&layer->q_b, 0, s->q_low_normed, z->rows, s->q, s->u_q);
    } else {
        linear_forward(&layer->q, 0, h, z->rows, s->q, s->u_q);
    }
    rotate(net, b, s->q, z->heads, z->dk, z->nope, 1);
    linear_forward(&layer->kv_a, 0, h, z->rows, s->kv, s->u_kv_a);
    for (size_t r = 0; r < (size_t) z->rows; r++)
        net->ops->norm(s->kv + r * (size_t) (z->r + z->rot), layer->kv_a_norm.w, z->r, eps, s->c + r * (size_t) z->r);
}

static real *head_rows(real *u, int h, int rows, int rank)
{
    return u ? u + (size_t) h * (size_t) rows * (size_t) rank : NULL;
}

static void absorb(const struct net *net, const struct net_layer *layer, const struct batch *b, const struct sizes *z,
                   const struct latent_state *s)
{
    int key = z->r + z->rot;
    copy_columns(s->c, z->r, s->key, key, z->r, z->rows);
    copy_columns(s->kv + z->r, key, s->key + z->r, key, z->rot, z->rows);
    rotate(net, b, s->key, 1, key, z->r, 1);
    for (int h = 0; h < z->heads; h++) {
        const real *q = s->q + h * z->dk;
        real *query = s->query + h * key;
        copy_columns(q, z->heads * z->dk, s->head_in, z->nope, z->nope, z->rows);
        linear_forward(&layer->k_b, h, s->head_in, z->rows, s->head_out,
                       head_rows(s->u_k_b, h, z->rows, layer->k_b.rank));
        copy_columns(s->head_out, z->r, query, z->heads * key, z->r, z->rows);
        copy_columns(q + z->nope, z->heads * z->dk, query + z->r, z->heads * key, z->rot, z->rows);
    }
}

static void expand(const struct net *net, const struct net_layer *layer, const struct batch *b, const struct sizes *z,
                   const struct latent_state *s)
{
    int both = z->nope + z->dv;
    linear_forward(&layer->kv_b, 0, s->c, z->rows, s->kv_b, s->u_kv_b);
    for (int h = 0; h < z->heads; h++) {
        copy_columns(s->kv_b + h * both, z->heads * both, s->key + h * z->dk, z->heads * z->dk, z->nope, z->rows);
        copy_columns(s->kv + z->r, z->r + z->rot, s->key + h * z->dk + z->nope, z->heads * z->dk, z->rot, z->rows);
        copy_columns(s->kv_b + h * both + z->nope, z->heads * both, s->value + h * z->dv, z->heads * z->dv, z->dv,
                     z->rows);
    }
    rotate(net, b, s->key, z->heads, z->dk, z->nope, 1);
}

static void values_forward(const struct net_layer *layer, const struct sizes *z, const struct latent_state *s)
{
    for (int h = 0; h < z->heads; h++) {
        copy_columns(s->mixed + h * z->r, z->heads * z->r, s->head_in, z->r, z->r, z->rows);
        linear_forward(&layer->v_b, h, s->head_in, z->rows, s->head_out,
                       head_rows(s->u_v_b, h, z->rows, layer->v_b.rank));
        copy_columns(s->head_out, z->dv, s->o + h * z->dv, z->heads * z->dv, z->dv, z->rows);
    }
}

void latent_forward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                    const struct latent_state *s, real *y)
{
    struct sizes z = sizes_of(net, b);
    struct causal causal = causal_of(net, &z);
    project(net, layer, b, &z, h, s);
    if (z.absorbed)
        absorb(net, layer, b, &z, s);
    else
        expand(net, layer, b, &z, s);
    causal_forward(&causal, b, s->query, s->key, s->value, s->p, s->mixed);
    if (z.absorbed)
        values_forward(layer, &z, s);
    linear_forward(&layer->o, 0, s->o, z.rows, y, s->u_o);
}

/* ------------------------------------------------------------------ */
/* Backward                                                            */
/* ------------------------------------------------------------------ */

static void values_backward(const struct net_layer *layer, const struct sizes *z, const struct latent_state *s,
                            real *grad, const struct latent_scratch *t)
{
    for (int h = 0; h < z->heads; h++) {
        copy_columns(s->mixed + h * z->r, z->heads * z->r, t->head_in, z->r, z->r, z->rows);
        copy_columns(t->d_o + h * z->dv, z->heads * z->dv, t->head_dy, z->dv, z->dv, z->rows);
        linear_backward(&layer->v_b, h, t->head_in, head_rows(s->u_v_b, h, z->rows, layer->v_b.rank), t->head_dy,
                        z->rows, t->head_dx, 0, grad, t->u);
        copy_columns(t->head_dx, z->r, t->dmixed + h * z->r, z->heads * z->r, z->r, z->rows);
    }
}

/* From queries and key in the latent's space to q, c and the rotated part (dkv). */
static void absorb_backward(const struct net_layer *layer, const struct sizes *z, const struct latent_state *s,
                            real *grad, const struct latent_scratch *t)
{
    int key = z->r + z->rot;
    for (int h = 0; h < z->heads; h++) {
        real *dq = t->dq + h * z->dk;
        const real *dquery = t->dquery + h * key;
        copy_columns(s->q + h * z->dk, z->heads * z->dk, t->head_in, z->nope, z->nope, z->rows);
        copy_columns(dquery, z->heads * key, t->head_dy, z->r, z->r, z->rows);
        linear_backward(&layer->k_b, h, t->head_in, head_rows(s->u_k_b, h, z->rows, layer->k_b.rank), t->head_dy,
                        z->rows, t->head_dx, 0, grad, t->u);
        copy_columns(t->head_dx, z->nope, dq, z->heads * z->dk, z->nope, z->rows);
        copy_columns(dquery + z->r, z->heads * key, dq + z->nope, z->heads * z->dk, z->rot, z->rows);
    }
    copy_columns(t->dkey, key, t->dc, z->r, z->r, z->rows);
    copy_columns(t->dkey + z->r, key, t->dkv + z->r, key, z->rot, z->rows);
}

static void expand_backward(const struct net *net, const struct net_layer *layer, const struct sizes *z,
                            const struct latent_state *s, real *grad, const struct latent_scratch *t)
{
    int both = z->nope + z->dv, key = z->r + z->rot;
    for (int h = 0; h < z->heads; h++) {
        const real *dkey = t->dkey + h * z->dk;
        copy_columns(dkey, z->heads * z->dk, t->dkv_b + h * both, z->heads * both, z->nope, z->rows);
        copy_columns(t->dvalue + h * z->dv, z->heads * z->dv, t->dkv_b + h * both + z->nope, z->heads * both, z->dv,
                     z->rows);
        /* One rotated key serves all heads. */
        if (h == 0)
            copy_columns(dkey + z->nope, z->heads * z->dk, t->dkv + z->r, key, z->rot, z->rows);
        for (size_t r = 0; h > 0 && r < (size_t) z->rows; r++)
            net->ops->add(t->dkv + r * (size_t) key + z->r, 1, dkey + r * (size_t) (z->heads * z->dk) + z->nope,
                          (size_t) z->rot);
    }
    linear_backward(&layer->kv_b, 0, s->c, s->u_kv_b, t->dkv_b, z->rows, t->dc, 0, grad, t->u);
}

static real *norm_grad(const struct norm *norm, real *grad)
{
    return grad && norm->at != LINEAR_FROZEN ? grad + norm->at : NULL;
}

static void project_backward(const struct net *net, const struct net_layer *layer, const struct batch *b,
                             const struct sizes *z, const real *h, const struct latent_state *s, real *dh, real *grad,
                             const struct latent_scratch *t)
{
    real eps = (real) net->shape.norm_eps;
    size_t key = (size_t) (z->r + z->rot);
    rotate(net, b, t->dq, z->heads, z->dk, z->nope, -1);
    rotate(net, b, t->dkv, 1, (int) key, z->r, -1);
    for (size_t r = 0; r < (size_t) z->rows; r++) {
        memset(t->dkv + r * key, 0, (size_t) z->r * sizeof *t->dkv);
        net->ops->norm_backward(s->kv + r * key, layer->kv_a_norm.w, t->dc + r * (size_t) z->r, z->r, eps,
                                t->dkv + r * key, norm_grad(&layer->kv_a_norm, grad));
    }
    linear_backward(&layer->kv_a, 0, h, s->u_kv_a, t->dkv, z->rows, dh, 0, grad, t->u);
    if (!layer->q_a.n_mats) {
        linear_backward(&layer->q, 0, h, s->u_q, t->dq, z->rows, dh, 1, grad, t->u);
        return;
    }
    linear_backward(&layer->q_b, 0, s->q_low_normed, s->u_q, t->dq, z->rows, t->d_low_normed, 0, grad, t->u);
    memset(t->d_low, 0, (size_t) z->rows * (size_t) z->low * sizeof *t->d_low);
    for (size_t r = 0; r < (size_t) z->rows; r++)
        net->ops->norm_backward(s->q_low + r * (size_t) z->low, layer->q_a_norm.w,
                                t->d_low_normed + r * (size_t) z->low, z->low, eps, t->d_low + r * (size_t) z->low,
                                norm_grad(&layer->q_a_norm, grad));
    linear_backward(&layer->q_a, 0, h, s->u_q_a, t->d_low, z->rows, dh, 1, grad, t->u);
}

void latent_backward(const struct net *net, const struct net_layer *layer, const struct batch *b, const real *h,
                     const struct latent_state *s, const real *dy, real *dh, real *grad,
                     const struct latent_scratch *scratch)
{
    struct sizes z = sizes_of(net, b);
    struct causal causal = causal_of(net, &z);
    const struct latent_scratch *t = scratch;
    linear_backward(&layer->o, 0, s->o, s->u_o, dy, z.rows, t->d_o, 0, grad, t->u);
    if (z.absorbed)
        values_backward(layer, &z, s, grad, t);
    memset(t->dkey, 0, (size_t) z.rows * (size_t) causal.k_stride * sizeof *t->dkey);
    if (!z.absorbed)
        memset(t->dvalue, 0, (size_t) z.rows * (size_t) causal.v_stride * sizeof *t->dvalue);
    causal_backward(&causal, b, s->query, s->key, s->value, s->p, t->dmixed, t->dquery, t->dkey, t->dvalue, t->dp);
    if (z.absorbed)
        absorb_backward(layer, &z, s, grad, t);
    else
        expand_backward(net, layer, &z, s, grad, t);
    project_backward(net, layer, b, &z, h, s, dh, grad, t);
}
