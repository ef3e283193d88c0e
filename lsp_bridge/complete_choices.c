/*
 * complete_choices.c - what else could stand there, for one who asks by hand
 *
 * The first suggestion is the most likely text. The others are drawn at a moderate
 * temperature, in one batch behind a prompt whose KV rows are there already: three
 * texts cost little more than one. Seeds are fixed, so the same place offers the
 * same choice.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "complete_parts.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define TEMPERATURE 0.8f
#define MIN_P 0.05f
#define DRAWN_PER_ITEM 2            /* many are equal */

enum { DRAWN_MAX = DRAWN_PER_ITEM * (ITEMS_MAX - 1) };

struct drawing {
    struct job *job;
    const struct complete_hooks *hooks;
    bool complete;                  /* what is there is all that will be shown */
};

static bool is_late(const struct job *job)
{
    return job->answer_ms > 0 && 1e3 * (clock_seconds() - job->received_at) > job->answer_ms;
}

static bool stop(void *user, const struct draft *draft)
{
    struct drawing *drawing = user;
    const struct job *job = drawing->job;
    drawing->complete = draft->text.size > 0 &&
                        polish_complete(&job->around, job->line_only, draft->text.data, draft->text.size);
    return drawing->complete || is_late(job) || drawing->hooks->stop(drawing->hooks->user);
}

static double mean_logprob(const struct draft *draft)
{
    double sum = 0;
    for (size_t i = 0; i < draft->n_tokens; i++)
        sum += draft->tokens[i].logprob;
    return draft->n_tokens > 0 ? sum / (double) draft->n_tokens : 0;
}

static bool same_text(const struct buffer *a, const struct buffer *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* Another text, unless it is empty or there already. */
static void add_choice(struct job *job, struct draft *draft, bool complete)
{
    struct polish polish = complete_polish(job);
    draft->finished |= complete;
    polish_draft(&polish, draft);
    polish_place(&polish);
    bool known = polish.text.size == 0 || polish.text.failed || same_text(&polish.text, &job->text);
    for (int i = 0; i < job->n_choices; i++)
        known |= same_text(&polish.text, &job->choices[i].text);
    if (known || job->n_choices >= job->items - 1) {
        buffer_free(&polish.text);
        return;
    }
    struct job_choice choice = {polish.text, polish.replaced, mean_logprob(draft)};
    int at = job->n_choices++;
    for (; at > 0 && job->choices[at - 1].likely < choice.likely; at--)
        job->choices[at] = job->choices[at - 1];
    job->choices[at] = choice;
}

static void draw(struct job *job, struct model_host *host, const struct complete_hooks *hooks, const struct layout *layout,
                 const char *grammar, bool heal)
{
    struct generation generations[DRAWN_MAX];
    struct draft drafts[DRAWN_MAX] = {0};
    struct drawing drawings[DRAWN_MAX];
    int n = DRAWN_PER_ITEM * (job->items - 1);
    for (int i = 0; i < n; i++) {
        drawings[i] = (struct drawing){job, hooks, false};
        generations[i] = (struct generation){
            .tokens = layout->tokens,
            .n_tokens = layout->n_tokens,
            .max_tokens = job->max_tokens + heal,
            .heal = heal,
            .grammar = grammar,
            .temperature = TEMPERATURE,
            .min_p = MIN_P,
            .seed = (uint64_t) i + 1,
            .stop = stop,
            .user = &drawings[i],
        };
    }
    dsr1_status status = model_host_generate_all(host, generations, drafts, n, NULL);
    for (int i = 0; i < n; i++) {
        job->report.completion_tokens += generations[i].usage.completion_tokens;
        if (status == DSR1_OK && drafts[i].n_tokens > 0 && (drafts[i].finished || drawings[i].complete))
            add_choice(job, &drafts[i], drawings[i].complete);
        draft_free(&drafts[i]);
    }
}

/* A connection has one query at a time. */
static void draw_remotely(struct job *job, struct model_host *host, const struct complete_hooks *hooks)
{
    struct buffer known = {0};
    for (int i = 0; i < DRAWN_PER_ITEM * (job->items - 1) && job->n_choices < job->items - 1; i++) {
        struct draft draft = {0};
        struct drawing drawing = {job, hooks, false};
        struct complete_drawing how = {TEMPERATURE, MIN_P, (uint64_t) i + 1, stop, &drawing};
        dsr1_status status = complete_remotely(job, host, &known, &how, &draft, NULL);
        if (status == DSR1_OK && draft.n_tokens > 0 && (draft.finished || drawing.complete))
            add_choice(job, &draft, drawing.complete);
        draft_free(&draft);
        if (status < 0 || is_late(job) || hooks->stop(hooks->user))
            break;
    }
}

/* Where the first text is empty, the likeliest of the others takes its place. */
static void fill_first(struct job *job)
{
    if (job->text.size > 0 || job->n_choices == 0)
        return;
    buffer_free(&job->text);
    job->text = job->choices[0].text;
    job->replaced = job->choices[0].replaced;
    memmove(job->choices, job->choices + 1, (size_t) --job->n_choices * sizeof *job->choices);
}

void complete_choices(struct job *job, struct model_host *host, const struct complete_hooks *hooks)
{
    struct layout layout = {0};
    struct buffer grammar = {0}, known = {0};
    if (job->items < 2 || hooks->stop(hooks->user))
        return;
    if (host->pg) {
        draw_remotely(job, host, hooks);
        fill_first(job);
        return;
    }
    if (complete_layout(job, host, &known, &layout, NULL) == DSR1_OK && layout.n_tokens > 0) {
        complete_grammar(job, &known, &grammar);
        draw(job, host, hooks, &layout, grammar.size > 0 ? grammar.data : NULL, complete_heals(job, host, &layout, &known));
        fill_first(job);
    }
    buffer_free(&grammar);
    layout_free(&layout);
}
