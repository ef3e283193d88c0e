/*
 * probe.c - how does this model want to be asked?
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "probe.h"

#include "layout.h"
#include "probe_cache.h"
#include "settings.h"

#include <string.h>

#define PROBE_TOKENS 16

/* The rest of a line, or the first line of a block. Each answer needs the text below its hole, or a word of it. */
static const struct {
    const char *above, *typed, *below, *answer;
} holes[] = {
    {"def multiply(a, b):\n    return a * b\n\n\ndef area(width, height):\n", "    ", "\n    return total\n", "total = width * height"},
    {"#include <stdio.h>\n\nint main(void)\n{\n", "    ", "\n    printf(\"%d\\n\", counter);\n    return 0;\n}\n", "int counter = 0;"},
    {"import json\n\n\ndef read(path):\n", "    ", "\n        return json.load(stream)\n", "with open(path) as stream:"},
    {"function twice(number) {\n", "    ", "\n    return result;\n}\n", "const result = number * 2;"},
    {"function greet(name) {\n", "    const ", "\n    console.log(message);\n}\n", "message = \"Hello, \" + name;"},
    {"static int largest(const int *values, int n)\n{\n    int most = values[0];\n", "    for (int ",
     "\n        if (values[k] > most)\n            most = values[k];\n    return most;\n}\n", "k = 1; k < n; k++)"},
    {"CREATE TABLE orders (id int, customer_id int);\n\nSELECT o.id\n", "  FROM ", "\n WHERE o.customer_id = 7;\n", "orders o"},
    {"class Stack:\n    def __init__(self):\n", "        self.", "\n\n    def push(self, item):\n        self.items.append(item)\n", "items = []"},
};
enum { HOLES = sizeof holes / sizeof *holes, TEXT_MAX = 80 };

/* A way of asking that needs more of the model than going on behind a text has to be better by this. */
#define MARGIN 0.05

/* 1 - edit distance / length. */
static double similarity(const char *a, size_t m, const char *b, size_t n)
{
    size_t row[TEXT_MAX + 1];
    m = m < TEXT_MAX ? m : TEXT_MAX;
    n = n < TEXT_MAX ? n : TEXT_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; i < m; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t changed = corner + (a[i] != b[j]), other = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            corner = row[j + 1];
            row[j + 1] = changed < other ? changed : other;
        }
    }
    return m + n == 0 ? 1 : 1 - (double) row[n] / (double) (m > n ? m : n);
}

/* Of the first line that was written. */
static double likeness(const struct draft *draft, const char *answer)
{
    const char *s = draft->text.data ? draft->text.data : "";
    s += strspn(s, " \t");
    return similarity(s, strcspn(s, "\n"), answer, strlen(answer));
}

static dsr1_status build(struct model_host *host, int hole, struct layout *layout, dsr1_error *err)
{
    struct surroundings around = {.typed = strlen(holes[hole].typed)};
    buffer_string(&around.prefix, holes[hole].above);
    buffer_string(&around.prefix, holes[hole].typed);
    buffer_string(&around.suffix, holes[hole].below);
    struct layout_parts parts = {.around = &around, .known = ""};
    dsr1_status status = layout_build(layout, host, &parts, 1000, err);
    surroundings_free(&around);
    return status;
}

/* How much alike answers and what the model writes are, on average, when it is asked in host->prompt. */
static dsr1_status measure(struct model_host *host, double *mean, dsr1_error *err)
{
    struct layout layouts[HOLES] = {0};
    struct draft drafts[HOLES] = {0};
    struct generation generations[HOLES];
    dsr1_status status = DSR1_OK;
    for (int i = 0; i < HOLES && status == DSR1_OK; i++) {
        status = build(host, i, &layouts[i], err);
        generations[i] = (struct generation){.tokens = layouts[i].tokens, .n_tokens = layouts[i].n_tokens, .max_tokens = PROBE_TOKENS};
    }
    if (status == DSR1_OK)
        status = model_host_generate_all(host, generations, drafts, HOLES, err);
    *mean = 0;
    for (int i = 0; i < HOLES; i++) {
        *mean += likeness(&drafts[i], holes[i].answer) / HOLES;
        layout_free(&layouts[i]);
        draft_free(&drafts[i]);
    }
    return status;
}

/* The mode in which the model comes closest to the answers. */
static dsr1_status ask_all(struct model_host *host, const bool *can, dsr1_error *err)
{
    enum prompt_mode best = PROMPT_PREFIX_ONLY;
    double most = 0;
    dsr1_status status = DSR1_OK;
    for (enum prompt_mode mode = PROMPT_PREFIX_ONLY + 1; mode-- > PROMPT_FIM && status == DSR1_OK;) {
        double mean;
        if (!can[mode])
            continue;
        host->prompt = mode;
        status = measure(host, &mean, err);
        if (mode == PROMPT_PREFIX_ONLY) {
            most = mean + MARGIN;
        } else if (mean > most) {
            most = mean;
            best = mode;
        }
    }
    host->prompt = best;
    return status;
}

dsr1_status probe_prompt(struct model_host *host, int wish, dsr1_error *err)
{
    bool can[] = {[PROMPT_FIM] = host->info.has_fim,
                  [PROMPT_HOLE] = host->info.template_name && *host->info.template_name,
                  [PROMPT_PREFIX_ONLY] = true};
    static const enum prompt_mode wishes[] = {PROMPT_PREFIX_ONLY, PROMPT_FIM, PROMPT_HOLE, PROMPT_PREFIX_ONLY};
    if (wish != PROMPT_AUTO) {
        enum prompt_mode mode = wishes[wish];
        host->prompt = can[mode] ? mode : PROMPT_PREFIX_ONLY;
        return DSR1_OK;
    }
    enum prompt_mode known;
    if (probe_cache_find(host->info.path, &known) && can[known]) {
        host->prompt = known;
        host->remembered = true;
        return DSR1_OK;
    }
    dsr1_status status = ask_all(host, can, err);
    if (status == DSR1_OK)
        probe_cache_store(host->info.path, host->prompt);
    return status;
}
