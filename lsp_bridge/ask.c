/*
 * ask.c - a place in a document becomes a job
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "ask.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_PER_TOKEN 3           /* of program text, about */
#define DEBOUNCE_LEAST 0.075
#define DEBOUNCE_MOST 0.600

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

static bool is_blank(const char *s, size_t size)
{
    while (size > 0 && (*s == ' ' || *s == '\t'))
        s++, size--;
    return size == 0;
}

bool ask_is_welcome(const struct settings *settings, const struct job *job)
{
    const struct surroundings *around = &job->around;
    size_t rest = around->rest, visible = 0;
    while (rest > 0 && is_blank(around->suffix.data + rest - 1, 1))
        rest--;
    for (size_t i = 0; i < around->typed; i++)
        visible += !is_blank(surroundings_typed(around) + i, 1);
    if (job->kind == JOB_COMPLETION)
        return visible >= (size_t) settings->completion_min_prefix;
    return job->kind == JOB_INVOKED ||
           position_units(POSITION_UTF32, around->suffix.data, rest) <= (size_t) settings->max_line_suffix;
}

/* One line, or a block? Behind an opening bracket or colon, or on an empty line, a block. */
static bool wants_line(const struct settings *settings, const struct surroundings *around)
{
    const char *typed = surroundings_typed(around);
    size_t size = around->typed;
    if (settings->mode == MODE_LINE || !is_blank(around->suffix.data, around->rest))
        return true;
    while (size > 0 && is_blank(typed + size - 1, 1))
        size--;
    return settings->mode == MODE_AUTO && size > 0 && !strchr("{[(:", typed[size - 1]);
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

struct job *ask_job(const struct ask *ask, struct document *document)
{
    const struct settings *settings = ask->settings;
    struct job *job = memory_array(1, sizeof *job);
    if (!job)
        return NULL;
    job->kind = ask->kind;
    job->id = strdup(ask->id);
    job->uri = strdup(document->uri);
    if (!job->id || !job->uri || !fill_place(job, ask, document)) {
        job_free(job);
        return NULL;
    }
    job->line_only = wants_line(settings, &job->around);
    job->heal = settings->token_healing;
    job->max_tokens = settings->max_tokens;
    job->answer_ms = ask->kind == JOB_INVOKED ? settings->invoked_ms : settings->first_answer_ms;
    job->temperature = (float) settings->temperature;
    job->min_token_prob = settings->min_token_prob;
    job->min_line_prob = settings->min_line_prob;
    job->received_at = clock_seconds();
    job->due_at = due_at(settings, document, ask->kind, job->received_at);
    return job;
}
