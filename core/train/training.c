/*
 * training.c - a run of supervised training or self-distillation, from files to an adapter
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/training.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "train/adapter.h"
#include "train/checkpoint.h"
#include "train/run_log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double) ts.tv_sec + 1e-9 * (double) ts.tv_nsec;
}

/* ------------------------------------------------------------------ */
/* Opening                                                             */
/* ------------------------------------------------------------------ */

static dsr1_status check_options(const struct training_options *o, dsr1_error *err)
{
    if (o->batch < 1 || o->optimizer.steps < 1 || o->n_data == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "batch, steps and data are wanted");
    if (o->n_used_min > o->n_used_max)
        return error_set(err, DSR1_ERR_ARGUMENT, "%d to %d experts", o->n_used_min, o->n_used_max);
    return DSR1_OK;
}

/* What must be the same for a run to go on from a checkpoint. */
static uint64_t fingerprint_of(const struct training *t)
{
    const struct training_options *o = &t->options;
    const struct trainable_options *w = &o->trainable;
    const struct optimizer_options *a = &o->optimizer;
    double numbers[] = {o->batch, o->seq, o->n_used_min, o->n_used_max, o->n_eval, w->rank, (double) w->alpha,
                        w->lora, w->whole, (double) a->rate, (double) a->beta1, (double) a->beta2,
                        (double) a->epsilon, (double) a->decay, (double) a->clip, a->warmup, a->schedule, a->steps,
                        (double) a->floor, o->teacher != NULL};
    uint64_t hash = checkpoint_hash(0, numbers, sizeof numbers);
    hash = checkpoint_hash(hash, &o->seed, sizeof o->seed);
    return checkpoint_hash(hash, &t->data.hash, sizeof t->data.hash);
}

static dsr1_status open_nets(struct training *t, dsr1_error *err)
{
    const struct training_options *o = &t->options;
    dsr1_status status = net_open(o->student, o->seq, &t->net, err);
    if (status == DSR1_OK && o->teacher)
        status = net_open(o->teacher, o->seq, &t->teacher, err);
    if (status == DSR1_OK && o->teacher && t->net.shape.n_vocab != t->teacher.shape.n_vocab)
        status = error_set(err, DSR1_ERR_ARGUMENT, "the teacher knows %d tokens, the student %d",
                           t->teacher.shape.n_vocab, t->net.shape.n_vocab);
    if (status == DSR1_OK && o->n_used_max > t->net.shape.n_experts)
        status = error_set(err, DSR1_ERR_ARGUMENT, "%d experts of %d", o->n_used_max, t->net.shape.n_experts);
    if (status == DSR1_OK)
        status = dataset_open(t->net.gguf, o->data, o->n_data, o->seq, o->n_eval, o->seed, &t->data, err);
    return status;
}

static dsr1_status open_batch(struct training *t, dsr1_error *err)
{
    size_t batch = (size_t) (t->options.batch > t->options.n_eval ? t->options.batch : t->options.n_eval);
    size_t rows;
    if (!size_mul(batch, (size_t) t->options.seq, &rows) || rows > INT32_MAX)
        return error_set(err, DSR1_ERR_LIMIT, "a batch of %zu sequences is too large", batch);
    t->seqs = memory_array(batch, 2 * sizeof *t->seqs);
    t->start = memory_array(batch + 1, sizeof *t->start);
    t->tokens = memory_array(rows, sizeof *t->tokens);
    t->weight = memory_array(rows, sizeof *t->weight);
    t->loss = memory_array(rows, sizeof *t->loss);
    t->nll = memory_array(rows, sizeof *t->nll);
    t->taught = memory_array(rows, sizeof *t->taught);
    return t->seqs && t->start && t->tokens && t->weight && t->loss && t->nll && t->taught
               ? DSR1_OK : error_nomem(err, "the batch");
}

static dsr1_status open_files(struct training *t, dsr1_error *err)
{
    const struct training_options *o = &t->options;
    dsr1_status status = DSR1_OK;
    bool resumed = false;
    if (asprintf(&t->checkpoint, "%s.checkpoint", o->output) < 0) {
        t->checkpoint = NULL;
        return error_nomem(err, "a file's name");
    }
    if (o->resume && access(t->checkpoint, F_OK) == 0) {
        status = checkpoint_read(&t->trainable, &t->optimizer, t->fingerprint, t->checkpoint, err);
        resumed = true;
    } else if (o->init) {
        status = adapter_read(&t->trainable, o->init, err);
    }
    if (status == DSR1_OK && o->log)
        status = run_log_open(o->log, resumed ? t->optimizer.step : 0, &t->log, err);
    return status;
}

dsr1_status training_open(const struct training_options *options, struct training *t, dsr1_error *err)
{
    *t = (struct training){.options = *options};
    t->options.trainable.seed = options->seed;
    dsr1_status status = check_options(options, err);
    if (status == DSR1_OK)
        status = open_nets(t, err);
    if (status == DSR1_OK)
        status = trainable_open(&t->net, &t->options.trainable, &t->trainable, err);
    if (status == DSR1_OK)
        status = optimizer_open(&options->optimizer, t->trainable.n, &t->optimizer, err);
    if (status == DSR1_OK)
        status = thread_pool_open(options->threads > 0 ? options->threads : cpu_count(), &t->pool, err);
    if (status == DSR1_OK)
        status = trainer_open(&t->net, &t->trainable, options->teacher ? &t->teacher : NULL, t->pool, &t->trainer, err);
    if (status == DSR1_OK)
        status = open_batch(t, err);
    t->fingerprint = fingerprint_of(t);
    if (status == DSR1_OK)
        status = open_files(t, err);
    if (status != DSR1_OK)
        training_close(t);
    return status;
}

void training_close(struct training *t)
{
    if (t->log)
        fclose(t->log);
    free(t->checkpoint);
    free(t->seqs);
    free(t->start);
    free(t->tokens);
    free(t->weight);
    free(t->loss);
    free(t->nll);
    free(t->taught);
    trainer_close(&t->trainer);
    thread_pool_close(t->pool);
    optimizer_close(&t->optimizer);
    trainable_close(&t->trainable);
    dataset_close(&t->data);
    net_close(&t->teacher);
    net_close(&t->net);
    *t = (struct training){0};
}

/* ------------------------------------------------------------------ */
/* Losses                                                              */
/* ------------------------------------------------------------------ */

/* Rows whose next token counts and is learnt from the teacher, or from the data, with that token. */
static int rows_that_count(const struct training *t, const struct batch *b, bool taught, int *rows, int32_t *target,
                           real *weight)
{
    int n = 0;
    for (int r = 0; r < batch_rows(b); r++) {
        real w = t->weight[b->start[0] + r];
        if (w == 0 || t->taught[b->start[0] + r] != taught)
            continue;
        rows[n] = r;
        target[n] = b->tokens[r + 1];
        weight[n++] = w;
    }
    return n;
}

static dsr1_status shard_loss(void *user, struct trainer_worker *w, const struct batch *b, real *d_out,
                              dsr1_error *err)
{
    struct training *t = user;
    size_t n_rows = (size_t) batch_rows(b);
    int *rows = memory_array(n_rows, sizeof *rows);
    int32_t *target = memory_array(n_rows, sizeof *target);
    real *numbers = memory_array(n_rows, 3 * sizeof *numbers);
    dsr1_status status = rows && target && numbers ? DSR1_OK : error_nomem(err, "a shard's rows");
    for (int taught = 0; taught < 2 && status == DSR1_OK; taught++) {
        real *weight = numbers, *nll = numbers + n_rows, *kl = numbers + 2 * n_rows;
        int n = rows_that_count(t, b, taught, rows, target, weight);
        if (n == 0)
            continue;
        if (taught)
            head_distill(&w->head, w->pass.out, &w->teacher_head, w->teacher_pass.out, rows, weight, n, target, nll,
                         kl, d_out);
        else
            head_cross_entropy(&w->head, w->pass.out, rows, target, n, NULL, NULL, weight, nll, d_out);
        for (int i = 0; i < n; i++) {
            real surprise = taught ? nll[i] : -nll[i];
            t->nll[b->start[0] + rows[i]] = surprise;
            t->loss[b->start[0] + rows[i]] = taught ? kl[i] : surprise;
        }
    }
    free(rows);
    free(target);
    free(numbers);
    return status;
}

/* Puts sequences into the batch arrays. Every row's weight is one over how many count. */
static struct batch fill_batch(struct training *t, int n, int n_used)
{
    int rows = 0, n_count = 0;
    for (int i = 0; i < n; i++) {
        int length = dataset_length(&t->data, t->seqs[i]);
        int64_t from = t->data.start[t->seqs[i]];
        t->start[i] = rows;
        memcpy(t->tokens + rows, t->data.tokens + from, (size_t) length * sizeof *t->tokens);
        bool taught = t->options.teacher && !dataset_is_hole(&t->data, t->seqs[i]);
        for (int r = 0; r < length; r++) {
            bool counts = r + 1 < length && (taught || t->data.counts[from + r + 1]);
            t->weight[rows + r] = counts;
            t->taught[rows + r] = taught;
            n_count += counts;
        }
        rows += length;
    }
    t->start[n] = rows;
    for (int r = 0; r < rows; r++)
        t->weight[r] /= (real) (n_count > 0 ? n_count : 1);
    return (struct batch){.n_seqs = n, .start = t->start, .tokens = t->tokens, .n_used = n_used};
}

/* Means over the rows that count, in the order of the rows. */
static void sum_losses(const struct training *t, int rows, double *loss, double *nll)
{
    *loss = *nll = 0;
    for (int r = 0; r < rows; r++)
        if (t->weight[r] != 0) {
            *loss += (double) t->weight[r] * (double) t->loss[r];
            *nll += (double) t->weight[r] * (double) t->nll[r];
        }
}

/* ------------------------------------------------------------------ */
/* Steps                                                               */
/* ------------------------------------------------------------------ */

dsr1_status training_eval(struct training *t, int n_used, double *loss, double *nll, dsr1_error *err)
{
    int n = t->options.n_eval;
    for (int i = 0; i < n; i++)
        t->seqs[i] = dataset_eval(&t->data, i);
    if (n == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "no sequences were set aside");
    struct batch batch = fill_batch(t, n, n_used);
    dsr1_status status = trainer_run(&t->trainer, &batch, shard_loss, t, false, err);
    if (status == DSR1_OK)
        sum_losses(t, batch_rows(&batch), loss, nll);
    return status;
}

static int draw_used(const struct training *t)
{
    const struct training_options *o = &t->options;
    if (t->net.shape.n_experts == 0)
        return 0;
    if (o->n_used_max == 0)
        return t->net.shape.n_used;
    uint64_t range = (uint64_t) (o->n_used_max - o->n_used_min + 1);
    return o->n_used_min + (int) (rng_at(o->seed ^ 0x6b, (uint64_t) t->optimizer.step) % range);
}

static dsr1_status look_aside(struct training *t, struct training_report *r, dsr1_error *err)
{
    int every = t->options.eval_every;
    if (t->options.n_eval == 0 || every == 0 || (r->step % every != 0 && r->step != t->options.optimizer.steps))
        return DSR1_OK;
    r->has_eval = true;
    return training_eval(t, t->options.n_used_min, &r->eval_loss, &r->eval_nll, err);
}

/* A long sequence, a short one, the next long one, ..: then shards can be cut evenly (shard.h). */
static void alternate(struct training *t, int n)
{
    int *sorted = t->seqs + n;
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && dataset_length(&t->data, sorted[at - 1]) < dataset_length(&t->data, t->seqs[i]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = t->seqs[i];
    }
    for (int i = 0; i < n; i++)
        t->seqs[i] = sorted[i % 2 ? n - 1 - i / 2 : i / 2];
}

dsr1_status training_step(struct training *t, struct training_report *report, dsr1_error *err)
{
    double wall = clock_seconds(), cpu = cpu_seconds();
    int64_t step = t->optimizer.step;
    struct training_report *r = report;
    *r = (struct training_report){.step = step + 1, .n_used = draw_used(t),
                                  .rate = optimizer_rate(&t->options.optimizer, step)};
    dataset_pick(&t->data, t->options.seed, (uint64_t) step * (uint64_t) t->options.batch, t->options.batch, t->seqs);
    alternate(t, t->options.batch);
    struct batch batch = fill_batch(t, t->options.batch, r->n_used);
    dsr1_status status = trainer_run(&t->trainer, &batch, shard_loss, t, true, err);
    if (status != DSR1_OK)
        return status;
    r->n_tokens = batch_rows(&batch);
    sum_losses(t, r->n_tokens, &r->loss, &r->nll);
    r->norm = optimizer_step(&t->optimizer, t->trainable.value, t->trainer.grad);
    if (!isfinite(r->norm) || !isfinite(r->loss))
        return error_set(err, DSR1_ERR_INTERNAL, "step %lld: the loss is no number (a lower learning rate may help)",
                         (long long) r->step);
    r->seconds = clock_seconds() - wall;
    r->cpu_seconds = cpu_seconds() - cpu;
    status = look_aside(t, r, err);
    if (status == DSR1_OK && t->log)
        status = run_log_write(t->log, r, err);
    if (status == DSR1_OK && t->options.save_every > 0 && r->step % t->options.save_every == 0)
        status = training_save(t, err);
    return status;
}

dsr1_status training_save(struct training *t, dsr1_error *err)
{
    return checkpoint_write(&t->trainable, &t->optimizer, t->fingerprint, t->checkpoint, err);
}

dsr1_status training_finish(struct training *t, dsr1_error *err)
{
    return adapter_write(&t->trainable, t->options.output, err);
}
