/*
 * polish.c - from what a model wrote to what is worth showing
 *
 * The steps and their order are those of llm-ls, tabby and continue put
 * together; each exists because users complained about its absence.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "polish_parts.h"

#include "base/memory.h"
#include "codepoint.h"
#include "secret.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool draft_append(struct draft *draft, const char *text, size_t size, int32_t id, float logprob)
{
    if (draft->n_tokens == draft->capacity) {
        size_t capacity = draft->capacity * 2 + 64;
        struct draft_token *tokens = memory_resize(draft->tokens, capacity, sizeof *tokens);
        if (!tokens)
            return false;
        draft->tokens = tokens;
        draft->capacity = capacity;
    }
    buffer_append(&draft->text, text, size);
    if (draft->text.failed)
        return false;
    draft->tokens[draft->n_tokens++] = (struct draft_token){draft->text.size, id, logprob};
    return true;
}

void draft_free(struct draft *draft)
{
    buffer_free(&draft->text);
    free(draft->tokens);
    *draft = (struct draft){0};
}

/* ------------------------------------------------------------------ */
/* What depends on the model alone                                     */
/* ------------------------------------------------------------------ */

/* Control tokens that models spell out as text; generation has ended there. */
static const char *const stop_strings[] = {
    "<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|fim_", "<|file_sep|>", "<|repo_name|>", "<fim_", "<file_sep>",
    "<repo_name>", "<|end_of_text|>", "<|eot_id|>", "</s>",
    "<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>", "<\xef\xbd\x9c" "fim\xe2\x96\x81",
};

static void step_stop_strings(struct polish *polish, const struct draft *draft)
{
    for (size_t i = 0; i < sizeof stop_strings / sizeof *stop_strings; i++) {
        const char *at = memmem(polish->text.data, polish->text.size, stop_strings[i], strlen(stop_strings[i]));
        if (at)
            polish_cut(polish, (size_t) (at - polish->text.data));
    }
}

/* Ends before the first byte that is no UTF-8 and before control characters: no program text has them. */
static void step_utf8(struct polish *polish, const struct draft *draft)
{
    size_t i = 0;
    while (i < polish->text.size) {
        uint32_t codepoint;
        size_t n = codepoint_next(polish->text.data + i, polish->text.size - i, &codepoint);
        bool control = codepoint < ' ' && codepoint != '\n' && codepoint != '\t';
        if (codepoint == CODEPOINT_BAD || control || codepoint == 0x7f)
            break;
        i += n;
    }
    polish_cut(polish, i);
}

/* An identifier that was cut in the middle is worse than none. */
static size_t before_word(const char *s, size_t at, size_t size)
{
    if (at == 0 || at >= size || !codepoint_in_word(s[at]) || !codepoint_in_word(s[at - 1]))
        return at;
    while (at > 0 && codepoint_in_word(s[at - 1]))
        at--;
    return at;
}

/*
 * Ends where the model began to guess: before a token it gave less than
 * min_token_prob, and before a line whose tokens have a geometric mean below
 * min_line_prob.
 */
static void step_confidence(struct polish *polish, const struct draft *draft)
{
    const char *s = polish->text.data;
    size_t size = polish->text.size;
    double token_floor = polish->min_token_prob > 0 ? log(polish->min_token_prob) : -INFINITY;
    double line_floor = polish->min_line_prob > 0 ? log(polish->min_line_prob) : -INFINITY;
    size_t first_line = size > 0 ? line_size(s, size) : 0;
    size_t line_start = 0, start = 0;
    double sum = 0;
    int n = 0;
    for (size_t i = 0; i < draft->n_tokens && start < size; i++) {
        size_t end = draft->tokens[i].end < size ? draft->tokens[i].end : size;
        bool keep = polish->keep_first_line && start < first_line;
        if (draft->tokens[i].logprob < token_floor && !keep) {
            polish_cut(polish, before_word(s, start, size));
            return;
        }
        sum += draft->tokens[i].logprob;
        n++;
        bool ends_line = end > start && memchr(s + start, '\n', end - start);
        if (ends_line || end == size || i + 1 == draft->n_tokens) {
            if (sum / n < line_floor && !(polish->keep_first_line && line_start < first_line)) {
                polish_cut(polish, line_start);
                return;
            }
            if (ends_line) {
                line_start = end;
                sum = 0;
                n = 0;
            }
        }
        start = end;
    }
}

/* ------------------------------------------------------------------ */
/* What depends on the place                                           */
/* ------------------------------------------------------------------ */

static void step_trailing_space(struct polish *polish)
{
    if (without_trailing_space(polish->around->suffix.data, polish->around->rest) == 0)
        polish_cut(polish, without_trailing_space(polish->text.data, polish->text.size));
}

static void step_secrets(struct polish *polish)
{
    polish_cut(polish, secret_find(polish->text.data, polish->text.size));
}

/* A suggestion of one character costs more attention than it saves. */
static void step_minimum(struct polish *polish)
{
    size_t visible = 0;
    for (size_t i = 0; i < polish->text.size; i++)
        visible += !is_space(polish->text.data[i]) && !codepoint_continues(polish->text.data[i]);
    if (visible < 2)
        polish_cut(polish, 0);
}

/* ------------------------------------------------------------------ */
/* The list                                                            */
/* ------------------------------------------------------------------ */

const char *const polish_names[POLISH_STEPS] = {
    "stopStrings", "utf8",       "confidence",  "mode",          "brackets", "overlap",
    "following",   "repetition", "indentation", "secrets", "trailingSpace", "minimum",
};

atomic_ullong polish_counts[POLISH_STEPS];

static void (*const draft_steps[])(struct polish *polish, const struct draft *draft) = {
    step_stop_strings, step_utf8, step_confidence};
#define N_DRAFT_STEPS (sizeof draft_steps / sizeof *draft_steps)

static void (*const place_steps[])(struct polish *polish) = {
    polish_mode, polish_brackets, polish_overlap, polish_following, polish_repetition, polish_indentation, step_secrets,
    step_trailing_space, step_minimum};
_Static_assert(N_DRAFT_STEPS + sizeof place_steps / sizeof *place_steps == POLISH_STEPS, "each step has a name");

static void count(struct polish *polish, size_t step, size_t before, size_t replaced)
{
    if (polish->text.size != before || polish->replaced != replaced) {
        polish->hits |= 1u << step;
        atomic_fetch_add_explicit(&polish_counts[step], 1, memory_order_relaxed);
    }
}

void polish_draft(struct polish *polish, const struct draft *draft)
{
    buffer_append(&polish->text, draft->text.data, draft->text.size);
    polish->finished = draft->finished;
    for (size_t i = 0; i < N_DRAFT_STEPS && polish->text.size > 0; i++) {
        size_t before = polish->text.size;
        draft_steps[i](polish, draft);
        count(polish, i, before, polish->replaced);
    }
}

void polish_place(struct polish *polish)
{
    for (size_t i = 0; i < POLISH_STEPS - N_DRAFT_STEPS && polish->text.size > 0; i++) {
        size_t before = polish->text.size, replaced = polish->replaced;
        place_steps[i](polish);
        count(polish, N_DRAFT_STEPS + i, before, replaced);
    }
    if (polish->text.size == 0)
        polish->replaced = 0;
}
