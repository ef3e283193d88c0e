/*
 * complete.c - a job becomes a text: recall, model, polish
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "complete_parts.h"

#include "base/clock.h"
#include "base/error.h"
#include "blank.h"
#include "code_grammar.h"
#include "codepoint.h"

#include <stdio.h>
#include <string.h>

struct polish complete_polish(const struct job *job)
{
    return (struct polish){
        .around = &job->around,
        .line_only = job->line_only,
        .keep_first_line = job->kind == JOB_INVOKED,
        .any_indent = job->any_indent,
        .any_brackets = job->any_brackets,
        .min_token_prob = job->min_token_prob,
        .min_line_prob = job->min_line_prob,
    };
}

static struct recall_key key_for(const struct job *job)
{
    return (struct recall_key){&job->around, job->line_only, job->kind != JOB_INVOKED};
}

/* Runs the second part of polish and moves its results into the job. */
static void finish_text(struct job *job, struct polish *polish)
{
    polish_place(polish);
    buffer_free(&job->text);
    job->text = polish->text;
    polish->text = (struct buffer){0};
    job->replaced = polish->replaced;
    job->hits = polish->hits;
    job->report.total_ms = 1e3 * (clock_seconds() - job->received_at);
}

bool complete_from_recall(struct job *job, struct recall *recall)
{
    struct polish polish = complete_polish(job);
    struct recall_key key = key_for(job);
    bool finished = false;
    if (job->items > 1)
        return false; /* the first text may be known; the others are not */
    bool found = recall_find(recall, &key, &polish.text, &finished);
    if (found && !finished)
        finished = polish_complete(&job->around, job->line_only, polish.text.data, polish.text.size);
    if (!found || !finished || polish.text.failed) {
        buffer_free(&polish.text);
        return false;
    }
    job->report.source = SOURCE_RECALL;
    job->report.over = true;
    finish_text(job, &polish);
    return true;
}

/* ------------------------------------------------------------------ */
/* With the model                                                      */
/* ------------------------------------------------------------------ */

struct run {
    struct job *job;
    const struct complete_hooks *hooks;
    struct buffer known;        /* text from recall that the model continues */
    bool answered;
    bool complete;              /* what is there is all that will be shown */
    double started;
};

/* The draft as it is, with the known text before it. */
static bool visible_draft(const struct run *run, const struct draft *draft, size_t n_tokens, struct draft *out)
{
    bool good = true;
    if (run->known.size > 0)
        good = draft_append(out, run->known.data, run->known.size, -1, 0);
    for (size_t i = 0, start = 0; i < n_tokens && good; i++) {
        size_t end = draft->tokens[i].end;
        good = draft_append(out, draft->text.data + start, end - start, draft->tokens[i].id, draft->tokens[i].logprob);
        start = end;
    }
    out->finished = draft->finished || run->complete;
    return good;
}

/*
 * With what else could stand there, if the model is through with the first text: also where that is nothing but blanks,
 * but not where it was too unlikely to be shown.
 */
static void answer(struct run *run, const struct draft *draft, size_t n_tokens, struct model_host *host)
{
    struct draft shown = {0};
    struct polish polish = complete_polish(run->job);
    bool blank = false;
    if (visible_draft(run, draft, n_tokens, &shown)) {
        blank = is_blank(shown.text.data, shown.text.size);
        polish_draft(&polish, &shown);
        finish_text(run->job, &polish);
    }
    buffer_free(&polish.text);
    draft_free(&shown);
    if (host && (run->job->text.size > 0 || blank))
        complete_choices(run->job, host, run->hooks);
    run->answered = true;
    run->hooks->answer(run->hooks->user);
}

/* The tokens that end with a whole word: the last one may be the first half of an identifier. */
static size_t whole_words(const struct draft *draft)
{
    for (size_t n = draft->n_tokens; n > 1; n--) {
        size_t start = draft->tokens[n - 2].end;
        if (start < draft->tokens[n - 1].end && !codepoint_in_word(draft->text.data[start]))
            return n - 1;
    }
    return 0;
}

static bool has_text(const struct draft *draft, size_t n_tokens)
{
    return n_tokens > 0 && count_visible(draft->text.data, draft->tokens[n_tokens - 1].end) >= 2;
}

static bool stop(void *user, const struct draft *draft)
{
    struct run *run = user;
    double elapsed_ms = 1e3 * (clock_seconds() - run->started);
    if (run->hooks->stop(run->hooks->user) ||
        (run->job->kind == JOB_SPECULATION && elapsed_ms > run->job->speculate_ms))
        return true;
    if (draft->text.size == 0)
        return false;
    struct buffer text = {0};
    buffer_append(&text, run->known.data, run->known.size);
    buffer_append(&text, draft->text.data, draft->text.size);
    run->complete = !text.failed && polish_complete(&run->job->around, run->job->line_only, text.data, text.size);
    buffer_free(&text);
    if (run->complete)
        return true;
    if (!run->answered && run->job->answer_ms > 0 && elapsed_ms > run->job->answer_ms) {
        size_t n = whole_words(draft);
        if (has_text(draft, n))
            answer(run, draft, n, NULL);
    }
    return false;
}

/*
 * Token healing: the typed text often ends inside of what would be one token
 * ("retu", or the space before a word). The last token, and those before it
 * that belong to the same word, are chosen anew among those that go on from
 * their bytes; the last has to be one of the cursor's own line.
 */
bool complete_heals(const struct job *job, const struct model_host *host, const struct layout *layout,
                    const struct buffer *known)
{
    char bytes[64];
    if (!job->heal || known->size > 0 || layout->n_tokens < 2 || job->around.typed == 0)
        return false;
    size_t n = dsr1_token_bytes(host->model, layout->tokens[layout->n_tokens - 1], false, bytes, sizeof bytes);
    const struct buffer *prefix = &job->around.prefix;
    bool blank_line = strspn(surroundings_typed(&job->around), " \t") >= job->around.typed;
    return n > 0 && n < job->around.typed && n <= sizeof bytes && !blank_line &&
           memcmp(prefix->data + prefix->size - n, bytes, n) == 0;
}

void complete_grammar(const struct job *job, const struct buffer *known, struct buffer *out)
{
    struct code_place place = {
        .language = job->language,
        .around = &job->around,
        .known = known->data,
        .known_size = known->size,
        .line_only = job->line_only,
        .any_indent = job->any_indent,
        .any_brackets = job->any_brackets,
        .tables = job->tables,
    };
    if (job->max_tokens > 0)
        code_grammar(&place, out);
}

/* One pass of the model over a layout; the draft is what it added. */
static dsr1_status generate(struct run *run, struct model_host *host, const struct layout *layout, struct draft *draft,
                            dsr1_error *err)
{
    struct job *job = run->job;
    bool heal = complete_heals(job, host, layout, &run->known);
    struct buffer grammar = {0};
    complete_grammar(job, &run->known, &grammar);
    struct generation generation = {
        .tokens = layout->tokens,
        .n_tokens = layout->n_tokens,
        .max_tokens = job->max_tokens + heal,
        .heal = heal,
        .grammar = grammar.size > 0 ? grammar.data : NULL,
        .temperature = job->temperature,
        .stop = stop,
        .user = run,
    };
    dsr1_status status = model_host_generate(host, &generation, draft, err);
    job->report.masked = generation.grammar != NULL;
    buffer_free(&grammar);
    job->report.prompt_tokens = generation.usage.prompt_tokens;
    job->report.cached_tokens = generation.usage.cached_tokens;
    job->report.healed = heal;
    job->report.completion_tokens += generation.usage.completion_tokens;
    if (job->report.first_ms == 0)
        job->report.first_ms = generation.first_ms;
    return status;
}

dsr1_status complete_layout(const struct job *job, struct model_host *host, const struct buffer *known,
                            struct layout *layout, dsr1_error *err)
{
    dsr1_engine_stats stats;
    dsr1_engine_get_stats(host->engine, &stats);
    size_t room = stats.context_size > job->max_tokens + 16 ? (size_t) (stats.context_size - job->max_tokens - 8) : 8;
    struct layout_parts parts = {&job->context, &job->around, known->data ? known->data : "", known->size};
    return layout_build(layout, host, &parts, room, err);
}

static dsr1_status run_model(struct run *run, struct model_host *host, struct draft *draft, dsr1_error *err)
{
    struct job *job = run->job;
    struct layout layout = {0};
    dsr1_status status = complete_layout(job, host, &run->known, &layout, err);
    if (status == DSR1_OK && layout.n_tokens > 0) {
        job->report.prompt = layout.mode;
        job->report.suffix_tokens = (int) layout.n_suffix;
        status = generate(run, host, &layout, draft, err);
    }
    layout_free(&layout);
    return status;
}

static dsr1_status run_pg(struct run *run, struct model_host *host, struct draft *draft, dsr1_error *err)
{
    struct complete_drawing drawing = {.temperature = run->job->temperature, .stop = stop, .user = run};
    return complete_remotely(run->job, host, &run->known, &drawing, draft, err);
}

/* Keeps what was written, also when nobody waits for it any more: the next request may begin with it. */
static void remember(const struct run *run, const struct draft *draft, struct recall *recall)
{
    const struct job *job = run->job;
    struct draft whole = {0};
    struct polish polish = complete_polish(job);
    struct recall_key key = key_for(job);
    if (visible_draft(run, draft, draft->n_tokens, &whole)) {
        polish_draft(&polish, &whole);
        /* Where confidence ended it, nothing will come behind it. */
        bool finished = whole.finished || polish.text.size < whole.text.size;
        if (!polish.text.failed && (finished || polish.text.size > 0))
            recall_store(recall, &key, polish.text.data ? polish.text.data : "", polish.text.size, finished);
    }
    buffer_free(&polish.text);
    draft_free(&whole);
}

dsr1_status complete_warm_up(struct job *job, struct model_host *host, const struct complete_hooks *hooks,
                             dsr1_error *err)
{
    struct run run = {.job = job, .hooks = hooks, .started = clock_seconds()};
    struct draft draft = {0};
    if (host->pg)
        return DSR1_OK; /* the server's cache is its own */
    job->around.suffix.size = 0; /* it is elsewhere when the cursor is */
    dsr1_status status = run_model(&run, host, &draft, err);
    draft_free(&draft);
    return status;
}

dsr1_status complete_with_model(struct job *job, struct model_host *host, struct recall *recall,
                                const struct complete_hooks *hooks, dsr1_error *err)
{
    struct run run = {.job = job, .hooks = hooks, .started = clock_seconds()};
    struct recall_key key = key_for(job);
    struct draft draft = {0};
    bool finished = false;
    job->report.wait_ms = 1e3 * (run.started - job->received_at);
    job->report.prefix_bytes = job->around.prefix.size;
    job->report.suffix_bytes = job->around.suffix.size;
    job->report.context_bytes = job->context.size;
    bool found = recall_find(recall, &key, &run.known, &finished);
    if (found && run.known.size > 0)
        job->report.source = SOURCE_RESUMED;
    dsr1_status status = DSR1_OK;
    if (found && finished)
        job->report.source = SOURCE_RECALL; /* the first text, that is */
    else
        status = host->pg ? run_pg(&run, host, &draft, err) : run_model(&run, host, &draft, err);
    run.complete |= found && finished;
    job->report.over = true;
    if (status < 0) {
        snprintf(job->report.error, sizeof job->report.error, "%s", err ? err->message : dsr1_status_name(status));
    } else {
        buffer_append(&job->report.raw, draft.text.data, draft.text.size);
        if (!(found && finished))
            remember(&run, &draft, recall);
    }
    if (!run.answered && !hooks->stop(hooks->user))
        answer(&run, &draft, status < 0 ? 0 : draft.n_tokens, status < 0 ? NULL : host);
    draft_free(&draft);
    buffer_free(&run.known);
    return status;
}
