/*
 * serving.c - what is being trained, as the serving engine takes it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/serving.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
    const struct trainable *t;
    float *a, *b;           /* the pair asked for last */
};

static float *copy(const real *x, const real *less, size_t n)
{
    float *y = memory_array(n, sizeof *y);
    for (size_t i = 0; y && i < n; i++)
        y[i] = (float) (less ? x[i] - less[i] : x[i]);
    return y;
}

/* The change of a whole matrix is the unit matrix times itself. */
static void take_whole(struct source *s, const struct param *p, struct lora_values *v)
{
    size_t n_out = (size_t) p->ne[1];
    s->a = copy(s->t->value + p->at, p->before, p->n);
    s->b = memory_array(n_out * n_out, sizeof *s->b);
    for (size_t i = 0; s->b && i < n_out; i++)
        s->b[i * n_out + i] = 1;
    *v = (struct lora_values){(int) n_out, 1, s->a, s->b};
}

static dsr1_status find(void *user, const char *name, int n_in, int n_out, int n_mats, struct lora_values *v,
                        dsr1_error *err)
{
    struct source *s = user;
    const struct trainable_options *o = &s->t->options;
    char full[LINEAR_NAME + 16];
    (void) n_in;
    (void) n_out;
    (void) n_mats;
    free(s->a);
    free(s->b);
    s->a = s->b = NULL;
    snprintf(full, sizeof full, "%.*s.lora_a", LINEAR_NAME, name);
    const struct param *p = trainable_find(s->t, full), *whole = p ? NULL : trainable_find(s->t, name);
    if (whole) {
        take_whole(s, whole, v);
    } else if (p) {
        s->a = copy(s->t->value + p[0].at, NULL, p[0].n);
        s->b = copy(s->t->value + p[1].at, NULL, p[1].n);
        *v = (struct lora_values){o->rank, o->alpha > 0 ? o->alpha / (float) o->rank : 1, s->a, s->b};
    }
    return v->rank > 0 && (!s->a || !s->b) ? error_nomem(err, name) : DSR1_OK;
}

dsr1_status serving_adapter(const struct trainable *t, const struct model *model, struct lora **lora, dsr1_error *err)
{
    struct source s = {.t = t};
    size_t n_pairs = 0;
    for (int i = 0; i < t->n_params; i++) {
        const char *name = t->params[i].name, *end = strstr(name, ".lora_");
        if (!end && t->params[i].n_dims != 2)
            return error_set(err, DSR1_ERR_UNSUPPORTED, "the change of %s does not fit into an adapter", name);
        n_pairs += !end || end[6] == 'a';
    }
    struct lora_source source = {&s, "in training", n_pairs, find};
    dsr1_status status = lora_open(model, &source, lora, err);
    free(s.a);
    free(s.b);
    return status;
}
