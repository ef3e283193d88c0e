/*
 * ask.c - a place in a document becomes a job
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "ask.h"

#include "base/clock.h"
#include "base/memory.h"
#include "blank.h"
#include "syntax.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_TOKEN 3           /* of program text, about */
#define DEBOUNCE_LEAST 0.075
#define DEBOUNCE_MOST 0.600
#define WARM_UP_DELAY 0.3           /* files that are only passed by are not worth it */

/* Columns from one byte to another of the same line. */
static size_t columns(enum position_encoding encoding, const struct document *document, size_t from, size_t to)
{
    size_t units = 0;
    while (from < to) {
        size_t n;
        const char *span = gap_text_span(&document->text, from, &n);
        n = n < to - from ? n : to - from;
        units += position_units(encoding, span, n);
        from += n;
    }
    return units;
}

/* In prose and in texts suggestions can be switched off, even for those who ask. */
static bool in_wanted_place(const struct settings *settings, const struct document *document, const struct job *job)
{
    if (settings->in_comments && settings->in_strings)
        return true;
    enum syntax_place place = syntax_at(document->language, job->around.prefix.data, job->around.prefix.size, NULL);
    return (place != SYNTAX_COMMENT || settings->in_comments) && (place != SYNTAX_STRING || settings->in_strings);
}

bool ask_is_welcome(const struct settings *settings, const struct document *document, const struct job *job)
{
    const struct surroundings *around = &job->around;
    size_t rest = without_trailing_space(around->suffix.data, around->rest);
    if (!in_wanted_place(settings, document, job))
        return false;
    if (job->kind == JOB_COMPLETION)
        return count_visible(surroundings_typed(around), around->typed) >= (size_t) settings->completion_min_prefix;
    return job->kind == JOB_INVOKED ||
           position_units(POSITION_UTF32, around->suffix.data, rest) <= (size_t) settings->max_line_suffix;
}

/* One line, or a block? Behind an opening bracket or colon, or on an empty line, a block. */
static bool wants_line(int mode, const struct surroundings *around)
{
    const char *typed = surroundings_typed(around);
    size_t size = without_trailing_space(typed, around->typed);
    if (mode == MODE_LINE || !is_blank(around->suffix.data, around->rest))
        return true;
    return mode == MODE_AUTO && size > 0 && !strchr("{[(:", typed[size - 1]);
}

/* When the model may begin: a key that follows quickly makes this request worthless. */
static double due_at(const struct settings *settings, const struct document *document, enum job_kind kind, double now)
{
    if (kind == JOB_INVOKED || document->changed_at == 0)
        return now;
    double wait = 1.5 * document->key_interval;
    wait = wait < DEBOUNCE_LEAST ? DEBOUNCE_LEAST : wait > DEBOUNCE_MOST ? DEBOUNCE_MOST : wait;
    if (settings->debounce_ms >= 0)
        wait = 1e-3 * settings->debounce_ms;
    return document->changed_at + wait;
}

static bool fill_place(struct job *job, const struct ask *ask, struct document *document)
{
    const struct settings *settings = ask->settings;
    const struct ask_choice *choice = &ask->choice;
    struct window window = {(size_t) settings->prefix_tokens * BYTES_PER_TOKEN,
                            (size_t) settings->suffix_tokens * BYTES_PER_TOKEN, (size_t) settings->reanchor_lines};
    size_t line = gap_text_line_at(&document->text, ask->cursor), start = gap_text_line_start(&document->text, line);
    size_t from = choice->text ? choice->from : ask->cursor, to = choice->text ? choice->to : ask->cursor;
    if (!surroundings_take(&job->around, document, &window, from, to, choice->text ? choice->text : ""))
        return false;
    size_t lead = choice->text ? strlen(choice->text) : job->around.word;
    job->lead = strndup(job->around.prefix.data + job->around.prefix.size - lead, lead);
    job->fixed_range = choice->text != NULL;
    job->encoding = ask->encoding;
    job->line = line;
    job->column = columns(ask->encoding, document, start, ask->cursor);
    job->start = columns(ask->encoding, document, start, choice->text ? from : from - lead);
    job->end = columns(ask->encoding, document, start, to);
    return job->lead != NULL;
}

/* The database's tables where SQL is written: in a file of it, and in a string that begins like a statement. */
static bool writes_sql(const struct document *document, const struct surroundings *around)
{
    size_t start;
    if (strcmp(document->language, "sql") == 0)
        return true;
    return syntax_at(document->language, around->prefix.data, around->prefix.size, &start) == SYNTAX_STRING &&
           syntax_is_sql(around->prefix.data + start, around->prefix.size - start);
}

/* What stands before the prefix; a quarter of the usual context at most, so that the file itself stays the most of it. */
static bool fill_context(struct job *job, const struct ask *ask, const struct document *document)
{
    const struct buffer *prefix = &job->around.prefix;
    if (ask->schema && *ask->schema && writes_sql(document, &job->around)) {
        for (const char *line = ask->schema; *line;) {
            size_t n = strcspn(line, "\n");
            buffer_printf(&job->context, "%s %.*s\n", ring_comment(document->language), (int) n, line);
            line += n + (line[n] == '\n');
        }
        buffer_string(&job->context, "\n");
        job->tables = ask->settings->constrain_names ? strdup(ask->schema) : NULL;
    }
    if (ask->ring)
        ring_append(ask->ring, document, prefix->data, prefix->size, &job->context);
    return !job->context.failed;
}

struct job *ask_job(const struct ask *ask, struct document *document)
{
    const struct settings *settings = ask->settings;
    struct job *job = memory_array(1, sizeof *job);
    if (!job)
        return NULL;
    job->kind = ask->kind;
    job->id = strdup(ask->id);
    job->uri = strdup(document->uri);
    if (!job->id || !job->uri || !fill_place(job, ask, document) || !fill_context(job, ask, document)) {
        job_free(job);
        return NULL;
    }
    snprintf(job->language, sizeof job->language, "%s", document->language);
    job->cursor = ask->cursor;
    job->mode = settings->mode;
    job->line_only = wants_line(job->mode, &job->around);
    job->speculate = settings->speculate && ask->kind != JOB_COMPLETION;
    job->speculate_ms = settings->speculate_ms;
    job->any_indent = !settings->constrain_indent;
    job->any_brackets = !settings->constrain_brackets;
    job->heal = settings->token_healing;
    job->items = ask->kind == JOB_INVOKED ? settings->items : 1;
    job->max_tokens = settings->max_tokens;
    job->answer_ms = ask->kind == JOB_INVOKED ? settings->invoked_ms : settings->first_answer_ms;
    job->temperature = (float) settings->temperature;
    job->min_token_prob = settings->min_token_prob;
    job->min_line_prob = settings->min_line_prob;
    job->received_at = clock_seconds();
    job->due_at = due_at(settings, document, ask->kind, job->received_at);
    return job;
}

struct job *ask_after(const struct job *job)
{
    if (job->text.size == 0 || job->fixed_range)
        return NULL;
    struct job *next = memory_array(1, sizeof *next);
    if (!next)
        return NULL;
    next->kind = JOB_SPECULATION;
    next->answered = true; /* nobody asked */
    next->id = strdup(""); /* no client can cancel it */
    next->uri = strdup(job->uri);
    next->lead = strdup("");
    buffer_append(&next->context, job->context.data, job->context.size);
    bool good = surroundings_after(&next->around, &job->around, &job->text, job->replaced);
    if (!good || !next->id || !next->uri || !next->lead || next->context.failed) {
        job_free(next);
        return NULL;
    }
    memcpy(next->language, job->language, sizeof next->language);
    next->tables = job->tables ? strdup(job->tables) : NULL;
    next->encoding = job->encoding;
    next->mode = job->mode;
    next->line_only = wants_line(job->mode, &next->around);
    next->heal = job->heal;
    next->any_indent = job->any_indent;
    next->any_brackets = job->any_brackets;
    next->max_tokens = job->max_tokens;
    next->speculate_ms = job->speculate_ms;
    next->temperature = job->temperature;
    next->min_token_prob = job->min_token_prob;
    next->min_line_prob = job->min_line_prob;
    next->received_at = clock_seconds();
    return next;
}

struct job *ask_warm_up(const struct ask *ask, struct document *document)
{
    struct job *job = ask_job(ask, document);
    if (job) {
        job->kind = JOB_WARM_UP;
        job->answered = true;
        job->max_tokens = 0;
        job->heal = false;
        job->due_at = job->received_at + WARM_UP_DELAY;
    }
    return job;
}
