/*
 * pass.c - a batch through the whole network, and back
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/pass.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

dsr1_status pass_open(const struct net *net, bool keep, struct pass *pass, dsr1_error *err)
{
    size_t n = (size_t) net->shape.n_layers;
    *pass = (struct pass){.net = net, .keep = keep};
    pass->x = memory_array(n + 1, sizeof *pass->x);
    pass->states = memory_array(n, sizeof *pass->states);
    pass->scratch = memory_array(n, sizeof *pass->scratch);
    if (pass->x && pass->states && pass->scratch)
        return DSR1_OK;
    pass_close(pass);
    return error_nomem(err, "a training pass");
}

void pass_close(struct pass *pass)
{
    free(pass->x);
    free(pass->states);
    free(pass->scratch);
    memory_unmap(pass->block, pass->block_size);
    *pass = (struct pass){0};
}

static dsr1_status check_batch(const struct net *net, const struct batch *b, dsr1_error *err)
{
    if (b->n_seqs < 1 || batch_reach(b) > net->n_positions)
        return error_set(err, DSR1_ERR_ARGUMENT, "a sequence of %d tokens, at most %d were announced",
                         batch_reach(b), net->n_positions);
    for (int r = 0; r < batch_rows(b); r++)
        if (b->tokens[r] < 0 || b->tokens[r] >= net->shape.n_vocab)
            return error_set(err, DSR1_ERR_ARGUMENT, "token %d of a model of %d", b->tokens[r], net->shape.n_vocab);
    return DSR1_OK;
}

/* What each layer wants behind the same point: it is cut there again and again, and the largest share counts. */
static void cut_layers(struct pass *pass, struct carve *c, bool states)
{
    size_t from = c->used, most = from;
    for (int i = 0; i < pass->net->shape.n_layers; i++) {
        const struct net_layer *layer = &pass->net->layers[i];
        c->used = from;
        if (states)
            block_carve(c, pass->net, layer, &pass->batch, &pass->states[i]);
        else
            block_carve_scratch(c, pass->net, layer, &pass->batch, &pass->scratch[i]);
        most = c->used > most ? c->used : most;
    }
    c->used = most;
}

static void cut(struct pass *pass, struct carve *c)
{
    const struct net *net = pass->net;
    size_t n = (size_t) batch_rows(&pass->batch), d = (size_t) net->shape.n_embd;
    pass->out = carve_real(c, n, d);
    pass->dx = pass->keep ? carve_real(c, n, d) : NULL;
    for (int i = 0; i <= net->shape.n_layers; i++)
        pass->x[i] = pass->keep || i == 0 ? carve_real(c, n, d) : pass->x[0];
    if (pass->keep)
        for (int i = 0; i < net->shape.n_layers; i++)
            block_carve(c, net, &net->layers[i], &pass->batch, &pass->states[i]);
    else
        cut_layers(pass, c, true);
    cut_layers(pass, c, false);
}

dsr1_status pass_begin(struct pass *pass, const struct batch *batch, dsr1_error *err)
{
    struct carve c = {0};
    dsr1_status status = check_batch(pass->net, batch, err);
    if (status != DSR1_OK)
        return status;
    pass->batch = *batch;
    cut(pass, &c);
    if (c.failed)
        return error_nomem(err, "a training batch");
    if (c.used > pass->block_size) {
        memory_unmap(pass->block, pass->block_size);
        pass->block_size = 0;
        pass->block = memory_map(c.used);
        if (!pass->block)
            return error_nomem(err, "a training batch");
        pass->block_size = c.used;
    }
    c = (struct carve){.base = pass->block};
    cut(pass, &c);
    return DSR1_OK;
}

static const int *forced_of(const struct pass *pass, int layer)
{
    const struct net_layer *l = &pass->net->layers[layer];
    const struct batch *b = &pass->batch;
    if (!b->chosen || !net_has_experts(l))
        return NULL;
    return b->chosen + (size_t) layer * (size_t) batch_rows(b) * (size_t) experts_used(l, b);
}

void pass_forward(struct pass *pass)
{
    const struct net *net = pass->net;
    int n = batch_rows(&pass->batch);
    size_t d = (size_t) net->shape.n_embd;
    for (int r = 0; r < n; r++)
        memcpy(pass->x[0] + (size_t) r * d, net->token_embd + (size_t) pass->batch.tokens[r] * d, d * sizeof(real));
    for (int i = 0; i < net->shape.n_layers; i++)
        block_forward(net, &net->layers[i], &pass->batch, forced_of(pass, i), pass->x[i], &pass->states[i],
                      pass->x[i + 1], &pass->scratch[i]);
    block_norm(net, &net->output_norm, pass->x[net->shape.n_layers], n, pass->out);
}

void pass_backward(struct pass *pass, const real *d_out, real *grad)
{
    const struct net *net = pass->net;
    int n = batch_rows(&pass->batch);
    memset(pass->dx, 0, (size_t) n * (size_t) net->shape.n_embd * sizeof *pass->dx);
    block_norm_backward(net, &net->output_norm, pass->x[net->shape.n_layers], d_out, n, pass->dx, grad);
    for (int i = net->shape.n_layers - 1; i >= 0; i--)
        block_backward(net, &net->layers[i], &pass->batch, pass->x[i], &pass->states[i], pass->dx, grad,
                       &pass->scratch[i]);
}

const int *pass_chosen(const struct pass *pass, int layer, int *n_used)
{
    const struct net_layer *l = &pass->net->layers[layer];
    *n_used = net_has_experts(l) ? experts_used(l, &pass->batch) : 0;
    return *n_used ? pass->states[layer].experts.chosen : NULL;
}
