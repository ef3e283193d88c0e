/*
 * optimizer.c - AdamW over the flat vector, and the learning rate's way through a run
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/optimizer.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/size.h"

#include <math.h>
#include <string.h>

enum { NORM_PIECE = 4096 };

static const char *const schedule_names[] = {"constant", "cosine", "linear"};

struct optimizer_options optimizer_defaults(void)
{
    return (struct optimizer_options){.rate = 2e-4f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f, .clip = 1,
                                      .warmup = 5, .floor = 0.1f};
}

bool optimizer_parse_schedule(const char *text, enum optimizer_schedule *schedule)
{
    for (int i = 0; i < SCHEDULES; i++)
        if (strcmp(text, schedule_names[i]) == 0) {
            *schedule = (enum optimizer_schedule) i;
            return true;
        }
    return false;
}

dsr1_status optimizer_open(const struct optimizer_options *options, size_t n, struct optimizer *o, dsr1_error *err)
{
    *o = (struct optimizer){.options = *options, .ops = vector_ops(), .n = n};
    if (!size_mul(n, 2 * sizeof(real), &o->size) || !(o->m = memory_map(o->size)))
        return error_nomem(err, "the optimiser's moments");
    o->v = o->m + n;
    return DSR1_OK;
}

void optimizer_close(struct optimizer *o)
{
    memory_unmap(o->m, o->size);
    *o = (struct optimizer){0};
}

double optimizer_rate(const struct optimizer_options *o, int64_t step)
{
    if (step < o->warmup)
        return (double) o->rate * (double) (step + 1) / o->warmup;
    int64_t length = o->steps - o->warmup;
    double t = length > 0 ? (double) (step - o->warmup) / (double) length : 1;
    double down = t < 1 ? t : 1, share = 1;
    if (o->schedule == SCHEDULE_COSINE)
        share = 0.5 * (1 + cos(M_PI * down));
    else if (o->schedule == SCHEDULE_LINEAR)
        share = 1 - down;
    return (double) o->rate * ((double) o->floor + (1 - (double) o->floor) * share);
}

double optimizer_norm(const struct optimizer *o, const real *grad)
{
    double sum = 0;
    for (size_t i = 0; i < o->n; i += NORM_PIECE) {
        size_t m = o->n - i < NORM_PIECE ? o->n - i : NORM_PIECE;
        sum += (double) o->ops->dot(grad + i, grad + i, m);
    }
    return sqrt(sum);
}

double optimizer_step(struct optimizer *o, real *value, const real *grad)
{
    const struct optimizer_options *p = &o->options;
    double norm = optimizer_norm(o, grad), scale = 1, n = (double) (o->step + 1);
    if (!isfinite(norm))
        return norm;
    if (p->clip > 0 && norm > (double) p->clip)
        scale = (double) p->clip / norm;
    struct vector_adamw a = {.rate = (real) optimizer_rate(p, o->step), .beta1 = (real) p->beta1,
                             .beta2 = (real) p->beta2, .epsilon = (real) p->epsilon, .decay = (real) p->decay,
                             .correct1 = (real) (1 - pow((double) p->beta1, n)),
                             .correct2 = (real) (1 - pow((double) p->beta2, n)), .grad_scale = (real) scale};
    o->ops->adamw(&a, value, grad, o->m, o->v, o->n);
    o->step++;
    return norm;
}
