/*
 * polish.c - from what a model wrote to what is worth showing
 *
 * The steps and their order are those of llm-ls, tabby and continue put
 * together; each exists because users complained about its absence
 * (docs/lsp.md, "What is cut from a suggestion").
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "polish.h"

#include "base/memory.h"
#include "codepoint.h"
#include "secret.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAB_COLUMNS 4

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
/* Small helpers                                                       */
/* ------------------------------------------------------------------ */

static void cut(struct polish *polish, size_t size)
{
    polish->text.size = size;
    if (polish->text.data)
        polish->text.data[size] = 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static bool is_closer(char c)
{
    return c == ')' || c == ']' || c == '}';
}

static bool blank(const char *s, size_t size)
{
    while (size > 0 && is_space(*s))
        s++, size--;
    return size == 0;
}

static size_t without_trailing_space(const char *s, size_t size)
{
    while (size > 0 && is_space(s[size - 1]))
        size--;
    return size;
}

/* Bytes up to the end of the line, without it. */
static size_t line_size(const char *s, size_t size)
{
    const char *end = memchr(s, '\n', size);
    return end ? (size_t) (end - s) : size;
}

static size_t indentation(const char *s, size_t size)
{
    size_t columns = 0;
    for (size_t i = 0; i < size && (s[i] == ' ' || s[i] == '\t'); i++)
        columns += s[i] == '\t' ? TAB_COLUMNS : 1;
    return columns;
}

static bool same_line(const char *a, size_t a_size, const char *b, size_t b_size)
{
    a_size = without_trailing_space(a, a_size);
    b_size = without_trailing_space(b, b_size);
    return a_size > 0 && a_size == b_size && memcmp(a, b, a_size) == 0;
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
            cut(polish, (size_t) (at - polish->text.data));
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
    cut(polish, i);
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
            cut(polish, before_word(s, start, size));
            return;
        }
        sum += draft->tokens[i].logprob;
        n++;
        bool ends_line = end > start && memchr(s + start, '\n', end - start);
        if (ends_line || end == size || i + 1 == draft->n_tokens) {
            if (sum / n < line_floor && !(polish->keep_first_line && line_start < first_line)) {
                cut(polish, line_start);
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

/*
 * Where the block that the text continues ends. A cursor on an empty line is
 * inside a block of that indentation; behind code it opens one that is indented
 * deeper, and a closing bracket at its own indentation still belongs to it.
 */
static size_t block_end(const struct surroundings *around, const char *s, size_t size)
{
    const char *typed = surroundings_typed(around);
    size_t base = indentation(typed, around->typed);
    bool opens = !blank(typed, around->typed);
    size_t at = line_size(s, size), before_blanks = at;
    /* A line that starts the text anew: its first line stands where the cursor is. */
    if (!opens)
        base += indentation(s, at);
    while (at < size) {
        const char *line = s + at + 1;
        size_t n = line_size(line, size - at - 1), end = at + 1 + n;
        if (blank(line, n)) {
            at = end;
            continue;
        }
        size_t columns = indentation(line, n);
        bool after_blanks = before_blanks < at;
        if (columns < base || (opens && columns == base)) {
            bool closes = opens && columns == base && is_closer(line[strspn(line, " \t")]) && !after_blanks;
            return closes ? end : before_blanks;
        }
        if (!opens && columns == 0 && after_blanks)
            return before_blanks; /* at the top level, an empty line ends the paragraph */
        at = before_blanks = end;
    }
    return size;
}

static void step_mode(struct polish *polish)
{
    const char *s = polish->text.data;
    size_t size = polish->text.size;
    cut(polish, polish->line_only ? line_size(s, size) : polish->any_indent ? size : block_end(polish->around, s, size));
}

bool polish_complete(const struct surroundings *around, bool line_only, const char *text, size_t size)
{
    if (line_only)
        return memchr(text, '\n', size) != NULL;
    return size > 0 && block_end(around, text, size) < without_trailing_space(text, size);
}

struct brackets {
    int open[3];        /* opened and not closed */
    int unmatched[3];   /* closed and not opened */
};

/* Reads brackets outside of strings; false at a closer beyond `allowed` (may be NULL), with *at on it. */
static bool read_brackets(const char *s, size_t size, struct brackets *brackets, const int *allowed, size_t *at)
{
    static const char openers[] = "([{", closers[] = ")]}";
    for (size_t i = 0; i < size; i++) {
        if (s[i] == '"' || s[i] == '\'') {
            /* A quote without a partner on its line is an apostrophe. */
            size_t rest = line_size(s + i + 1, size - i - 1), j = 0;
            while (j < rest && s[i + 1 + j] != s[i])
                j += 1 + (s[i + 1 + j] == '\\');
            if (j < rest)
                i += j + 1;
            continue;
        }
        const char *kind = s[i] ? strchr(openers, s[i]) : NULL;
        if (kind)
            brackets->open[kind - openers]++;
        kind = s[i] ? strchr(closers, s[i]) : NULL;
        if (!kind)
            continue;
        int k = (int) (kind - closers);
        if (brackets->open[k] > 0) {
            brackets->open[k]--;
        } else if (allowed && brackets->unmatched[k] >= allowed[k]) {
            *at = i;
            return false;
        } else {
            brackets->unmatched[k]++;
        }
    }
    return true;
}

static bool only_closing(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!strchr(")]}\"'`;,> \t", s[i]) || !s[i])
            return false;
    }
    return true;
}

/* Ends before a bracket that closes nothing, or something that the text behind the cursor closes already. */
static void step_brackets(struct polish *polish)
{
    const struct surroundings *around = polish->around;
    if (!around->top || polish->any_brackets)
        return; /* what is open above the window is not known */
    struct brackets before = {0}, after = {0}, own = {0};
    size_t at = 0, skip = only_closing(around->suffix.data, around->rest) ? around->rest : 0;
    read_brackets(around->prefix.data, around->prefix.size, &before, NULL, NULL);
    read_brackets(around->suffix.data + skip, around->suffix.size - skip, &after, NULL, NULL);
    int allowed[3];
    for (int k = 0; k < 3; k++) {
        allowed[k] = before.open[k] - after.unmatched[k];
        if (allowed[k] < 0 && before.open[k] > 0)
            allowed[k] = before.open[k];    /* the document does not balance: no advice from it */
    }
    if (!read_brackets(polish->text.data, polish->text.size, &own, allowed, &at))
        cut(polish, at);
}

/* Do the bytes of `part` occur in s in this order? That is what editors can draw as ghost text around them. */
static bool is_subsequence(const char *part, size_t part_size, const char *s, size_t size)
{
    size_t i = 0;
    for (size_t j = 0; i < part_size && j < size; j++)
        i += part[i] == s[j];
    return i == part_size;
}

static int sum(const int *counts)
{
    return counts[0] + counts[1] + counts[2];
}

/* Are all closing brackets of s from `from` on partners of brackets that were opened before s? */
static bool closes_outer(const char *s, size_t size, size_t from)
{
    struct brackets head = {0}, all = {0};
    int closers = 0;
    read_brackets(s, from, &head, NULL, NULL);
    read_brackets(s, size, &all, NULL, NULL);
    for (size_t i = from; i < size; i++)
        closers += is_closer(s[i]);
    return sum(all.unmatched) - sum(head.unmatched) == closers;
}

/* Does s close as many outer brackets of each kind as the rest of the line? */
static bool closes_like(const char *s, size_t size, const char *rest, size_t rest_size)
{
    struct brackets own = {0}, after = {0};
    read_brackets(s, size, &own, NULL, NULL);
    read_brackets(rest, rest_size, &after, NULL, NULL);
    for (int k = 0; k < 3; k++) {
        if (own.unmatched[k] < after.unmatched[k])
            return false;
    }
    return true;
}

/*
 * What the text repeats of the rest of the line becomes part of the range that
 * it replaces: a bracket that the editor closed by itself must not stand there
 * twice. One that closes a bracket of the text's own is no repetition.
 */
static void step_overlap(struct polish *polish)
{
    const char *rest = polish->around->suffix.data, *s = polish->text.data;
    size_t rest_size = without_trailing_space(rest, polish->around->rest), size = polish->text.size;
    if (rest_size == 0 || size == 0)
        return;
    for (size_t k = rest_size < size ? rest_size : size; k > 0; k--) {
        if ((k == rest_size || !codepoint_continues(rest[k])) && memcmp(s + size - k, rest, k) == 0 &&
            closes_outer(s, size, size - k)) {
            polish->replaced = k;
            return;
        }
    }
    bool again = only_closing(rest, rest_size)
                     ? is_subsequence(rest, rest_size, s, size) && closes_like(s, size, rest, rest_size)
                     : rest_size > 2 && memmem(s, size, rest, rest_size);
    if (again)
        polish->replaced = rest_size;
}

/* The first line below the cursor's that is not blank. */
static const char *line_below(const struct surroundings *around, size_t *size)
{
    size_t at = around->rest;
    while (at < around->suffix.size) {
        const char *line = around->suffix.data + at + 1;
        *size = line_size(line, around->suffix.size - at - 1);
        if (!blank(line, *size))
            return line;
        at += 1 + *size;
    }
    return NULL;
}

/* Is the cursor's line, with the first line of the text behind it, the same as this one? */
static bool first_line_is(const struct polish *polish, const char *line, size_t size)
{
    size_t typed = polish->around->typed, first = line_size(polish->text.data, polish->text.size);
    size = without_trailing_space(line, size);
    first = without_trailing_space(polish->text.data, first);
    return size > 0 && first > 0 && size == typed + first &&
           memcmp(line, surroundings_typed(polish->around), typed) == 0 &&
           memcmp(line + typed, polish->text.data, first) == 0;
}

/* Ends before a line that follows in the document anyway. */
static void step_following(struct polish *polish)
{
    size_t below_size, size = polish->text.size;
    const char *below = line_below(polish->around, &below_size), *s = polish->text.data;
    if (!below)
        return;
    if (first_line_is(polish, below, below_size)) {
        cut(polish, 0);
        return;
    }
    for (size_t at = line_size(s, size); at < size;) {
        size_t n = line_size(s + at + 1, size - at - 1);
        if (same_line(s + at + 1, n, below, below_size)) {
            cut(polish, at);
            return;
        }
        at += 1 + n;
    }
}

static size_t count_word_bytes(const char *s, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        n += codepoint_in_word(s[i]);
    return n;
}

/* The size of `lines` whole lines at s, with their line ends; 0 when there are fewer. */
static size_t lines_size(const char *s, size_t size, int lines)
{
    size_t at = 0;
    while (lines-- > 0) {
        if (at >= size)
            return 0;
        at += line_size(s + at, size - at);
        if (at == size && lines > 0)
            return 0;
        at += at < size;
    }
    return at;
}

/* The same one to four lines over and over: the first time stays. */
static size_t repeated_lines(const char *s, size_t size)
{
    for (size_t at = 0; at < size; at += line_size(s + at, size - at) + 1) {
        for (int period = 1; period <= 4; period++) {
            size_t n = lines_size(s + at, size - at, period), copies = 1;
            if (n == 0 || count_word_bytes(s + at, n) < 2)
                continue;
            while (at + (copies + 1) * n <= size && memcmp(s + at, s + at + copies * n, n) == 0)
                copies++;
            /* The last copy may lack its line end. */
            if (at + (copies + 1) * n == size + 1 && memcmp(s + at, s + at + copies * n, n - 1) == 0)
                copies++;
            if (copies >= (period == 1 ? 3 : 2))
                return at + n;
        }
    }
    return size;
}

/* The same few bytes four times or more up to the end of the text: "x, x, x, x, ". */
static size_t repeated_bytes(const char *s, size_t size)
{
    for (size_t period = 2; period <= 32 && 4 * period <= size; period++) {
        size_t same = 0;
        while (same + period < size && s[size - 1 - same] == s[size - 1 - same - period])
            same++;
        if (same >= 3 * period && count_word_bytes(s + size - period, period) > 0)
            return size - same;
    }
    return size;
}

static void step_repetition(struct polish *polish)
{
    const struct surroundings *around = polish->around;
    const char *line_start = surroundings_typed(around);
    if (line_start > around->prefix.data) {
        const char *above = line_start - 1;
        size_t n = 0;
        while (above - n > around->prefix.data && above[-(ptrdiff_t) n - 1] != '\n')
            n++;
        if (count_word_bytes(above - n, n) >= 4 && first_line_is(polish, above - n, n)) {
            cut(polish, 0); /* small models love to write the line above once more */
            return;
        }
    }
    cut(polish, repeated_lines(polish->text.data, polish->text.size));
    size_t kept = repeated_bytes(polish->text.data, polish->text.size);
    while (kept > 0 && kept < polish->text.size && codepoint_continues(polish->text.data[kept]))
        kept--;
    cut(polish, kept);
}

enum indent_style { INDENT_UNKNOWN, INDENT_TABS, INDENT_SPACES };

static enum indent_style indent_style(const char *s, size_t size)
{
    int tabs = 0, spaces = 0;
    for (size_t at = 0; at < size; at += line_size(s + at, size - at) + 1) {
        tabs += s[at] == '\t';
        spaces += s[at] == ' ' && at + 1 < size && s[at + 1] == ' ';
    }
    return tabs > spaces ? INDENT_TABS : spaces > 0 ? INDENT_SPACES : INDENT_UNKNOWN;
}

/* Continuation lines are indented with what the document uses, tabs or spaces. */
static void step_indentation(struct polish *polish)
{
    const char *s = polish->text.data;
    size_t size = polish->text.size, at = line_size(s, size);
    enum indent_style style = indent_style(polish->around->prefix.data, polish->around->prefix.size);
    if (style == INDENT_UNKNOWN || at == size)
        return;
    struct buffer out = {0};
    buffer_append(&out, s, at);
    while (at < size) {
        const char *line = s + at + 1;
        size_t n = line_size(line, size - at - 1), lead = 0;
        while (lead < n && (line[lead] == ' ' || line[lead] == '\t'))
            lead++;
        size_t columns = indentation(line, lead);
        buffer_string(&out, "\n");
        for (; style == INDENT_TABS && columns >= TAB_COLUMNS; columns -= TAB_COLUMNS)
            buffer_string(&out, "\t");
        buffer_printf(&out, "%*s", (int) columns, "");
        buffer_append(&out, line + lead, n - lead);
        at += 1 + n;
    }
    if (out.failed) {
        buffer_free(&out);
        return;
    }
    buffer_free(&polish->text);
    polish->text = out;
}

static void step_trailing_space(struct polish *polish)
{
    if (without_trailing_space(polish->around->suffix.data, polish->around->rest) == 0)
        cut(polish, without_trailing_space(polish->text.data, polish->text.size));
}

static void step_secrets(struct polish *polish)
{
    cut(polish, secret_find(polish->text.data, polish->text.size));
}

/* A suggestion of one character costs more attention than it saves. */
static void step_minimum(struct polish *polish)
{
    size_t visible = 0;
    for (size_t i = 0; i < polish->text.size; i++)
        visible += !is_space(polish->text.data[i]) && !codepoint_continues(polish->text.data[i]);
    if (visible < 2)
        cut(polish, 0);
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
    step_mode, step_brackets, step_overlap, step_following, step_repetition, step_indentation, step_secrets,
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
