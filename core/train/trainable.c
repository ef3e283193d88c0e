/*
 * trainable.c - which numbers of a network are trained, in one flat vector
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/trainable.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned trainable_kind(const char *name)
{
    static const struct {
        const char *part;
        unsigned kind;
    } kinds[] = {
        {".attn_q", TRAINABLE_Q}, {".attn_kv_a_mqa.", TRAINABLE_K}, {".attn_kv_b.", TRAINABLE_K},
        {".attn_k", TRAINABLE_K}, {".attn_v", TRAINABLE_V}, {".attn_output.", TRAINABLE_O},
        {".ffn_gate_inp.", TRAINABLE_ROUTER}, {"_exps.", TRAINABLE_EXPERTS}, {"_shexp.", TRAINABLE_SHARED},
        {".ffn_", TRAINABLE_FFN},
    };
    if (strstr(name, "norm."))
        return TRAINABLE_NORMS;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strstr(name, kinds[i].part))
            return kinds[i].kind | (strstr(name, ".ffn_down") ? TRAINABLE_DOWN : 0);
    return 0;
}

bool trainable_parse(const char *text, unsigned *kinds)
{
    static const struct {
        const char *word;
        unsigned kinds;
    } words[] = {
        {"attn", TRAINABLE_ATTENTION}, {"q", TRAINABLE_Q}, {"k", TRAINABLE_K}, {"v", TRAINABLE_V}, {"o", TRAINABLE_O},
        {"ffn", TRAINABLE_FFN}, {"shared", TRAINABLE_SHARED}, {"experts", TRAINABLE_EXPERTS},
        {"down", TRAINABLE_DOWN},
        {"router", TRAINABLE_ROUTER}, {"norms", TRAINABLE_NORMS}, {"none", 0},
        {"all", TRAINABLE_ATTENTION | TRAINABLE_FFN | TRAINABLE_SHARED | TRAINABLE_EXPERTS},
    };
    *kinds = 0;
    for (size_t size; *text; text += size + (text[size] == ',')) {
        size_t i = 0, n = sizeof words / sizeof *words;
        size = strcspn(text, ",");
        while (i < n && (strlen(words[i].word) != size || memcmp(words[i].word, text, size) != 0))
            i++;
        if (i == n)
            return false;
        *kinds |= words[i].kinds;
    }
    return true;
}

static struct param *add_param(struct trainable *t, const char *name, const char *suffix, int64_t n0, int64_t n1,
                               int64_t n2, const real **place)
{
    struct param *items = memory_resize(t->params, (size_t) t->n_params + 1, sizeof *items);
    if (!items)
        return NULL;
    t->params = items;
    struct param *p = &items[t->n_params++];
    *p = (struct param){.n_dims = n2 > 1 ? 3 : n1 > 0 ? 2 : 1, .ne = {n0, n1 > 0 ? n1 : 1, n2 > 0 ? n2 : 1}, .at = t->n,
                        .place = place, .before = *place};
    snprintf(p->name, sizeof p->name, "%s%s", name, suffix);
    p->n = (size_t) p->ne[0] * (size_t) p->ne[1] * (size_t) p->ne[2];
    t->n += p->n;
    return p;
}

struct collecting {
    struct trainable *t;
    bool failed;
};

static void collect_linear(struct linear *l, void *user)
{
    struct collecting *c = user;
    struct trainable *t = c->t;
    unsigned kind = trainable_kind(l->name);
    const struct param *a, *b;
    if (kind & t->options.whole) {
        l->w_at = t->n;
        c->failed |= !add_param(t, l->name, "", l->n_in, l->n_out, l->n_mats, &l->w);
    } else if (kind & t->options.lora) {
        l->rank = t->options.rank;
        l->scale = (real) (t->options.alpha > 0 ? t->options.alpha / (float) t->options.rank : 1);
        l->a_at = t->n;
        a = add_param(t, l->name, ".lora_a", l->n_in, l->rank, l->n_mats, &l->a);
        l->b_at = t->n;
        b = add_param(t, l->name, ".lora_b", l->rank, l->n_out, l->n_mats, &l->b);
        c->failed |= !a || !b;
    }
}

static void collect_norm(struct norm *norm, struct collecting *c)
{
    if (!norm->w || !(c->t->options.whole & TRAINABLE_NORMS))
        return;
    norm->at = c->t->n;
    c->failed |= !add_param(c->t, norm->name, "", norm->n, 0, 0, &norm->w);
}

static bool is_lora(const struct param *p, char which)
{
    size_t n = strlen(p->name);
    return n > 7 && memcmp(p->name + n - 7, ".lora_", 6) == 0 && p->name[n - 1] == which;
}

/* A as PEFT draws it: uniform within +- 1 / sqrt(n_in). */
static void fill(struct trainable *t, struct param *p)
{
    real *value = t->value + p->at;
    if (is_lora(p, 'a')) {
        double range = 1 / sqrt((double) p->ne[0]);
        for (size_t i = 0; i < p->n; i++)
            value[i] = (real) (range * (2 * rng_uniform(t->options.seed, p->at + i) - 1));
    } else if (!is_lora(p, 'b')) {
        memcpy(value, p->before, p->n * sizeof *value);
    }
    *p->place = value;
}

dsr1_status trainable_open(struct net *net, const struct trainable_options *options, struct trainable *t,
                           dsr1_error *err)
{
    *t = (struct trainable){.net = net, .options = *options, .active = true};
    struct collecting c = {t, false};
    if (options->lora && options->rank < 1)
        return error_set(err, DSR1_ERR_ARGUMENT, "an adapter's rank must be positive");
    net_each_linear(net, NET_ALL_LAYERS, collect_linear, &c);
    for (int i = 0; i < net->shape.n_layers; i++) {
        struct net_layer *l = &net->layers[i];
        collect_norm(&l->attn_norm, &c);
        collect_norm(&l->ffn_norm, &c);
        collect_norm(&l->q_a_norm, &c);
        collect_norm(&l->kv_a_norm, &c);
    }
    collect_norm(&net->output_norm, &c);
    if (t->n == 0 && !c.failed)
        return error_set(err, DSR1_ERR_ARGUMENT, "the model has none of the weights that should be trained");
    if (!c.failed && size_mul(t->n, sizeof *t->value, &t->value_size))
        t->value = memory_map(t->value_size);
    if (!t->value) {
        trainable_close(t);
        return error_nomem(err, "the trained weights");
    }
    for (int i = 0; i < t->n_params; i++)
        fill(t, &t->params[i]);
    return DSR1_OK;
}

static void set_rank(struct linear *l, void *user)
{
    const struct trainable *t = user;
    l->rank = t->active && l->a_at != LINEAR_FROZEN ? t->options.rank : 0;
}

void trainable_activate(struct trainable *t, bool on)
{
    t->active = on;
    for (int i = 0; i < t->n_params; i++)
        *t->params[i].place = on ? t->value + t->params[i].at : t->params[i].before;
    net_each_linear(t->net, NET_ALL_LAYERS, set_rank, t);
}

static void freeze(struct linear *l, void *user)
{
    l->rank = 0;
    l->w_at = l->a_at = l->b_at = LINEAR_FROZEN;
}

void trainable_close(struct trainable *t)
{
    if (!t->net)
        return;
    for (int i = 0; i < t->n_params; i++)
        *t->params[i].place = t->params[i].before;
    net_each_linear(t->net, NET_ALL_LAYERS, freeze, NULL);
    for (int i = 0; i < t->net->shape.n_layers; i++) {
        struct net_layer *l = &t->net->layers[i];
        l->attn_norm.at = l->ffn_norm.at = l->q_a_norm.at = l->kv_a_norm.at = LINEAR_FROZEN;
    }
    t->net->output_norm.at = LINEAR_FROZEN;
    free(t->params);
    memory_unmap(t->value, t->value_size);
    *t = (struct trainable){0};
}

const struct param *trainable_find(const struct trainable *t, const char *name)
{
    for (int i = 0; i < t->n_params; i++)
        if (strcmp(t->params[i].name, name) == 0)
            return &t->params[i];
    return NULL;
}
