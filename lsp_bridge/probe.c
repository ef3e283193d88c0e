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

#define PROBE_TOKENS 12

static const struct {
    const char *above, *typed, *below, *answer;
} holes[] = {
    {"def multiply(a, b):\n    return a * b\n\n\ndef area(width, height):\n", "    ", "\n    return total\n", "total ="},
    {"#include <stdio.h>\n\nint main(void)\n{\n", "    ", "\n    printf(\"%d\\n\", counter);\n    return 0;\n}\n", "int counter"},
};
enum { HOLES = sizeof holes / sizeof *holes };

/* Does the model fill a hole with its answer when it is asked in host->prompt? */
static dsr1_status fills(struct model_host *host, int hole, bool *right, dsr1_error *err)
{
    struct layout layout = {0};
    struct draft draft = {0};
    struct buffer text = {0};
    struct surroundings around = {.typed = strlen(holes[hole].typed)};
    buffer_string(&around.prefix, holes[hole].above);
    buffer_string(&around.prefix, holes[hole].typed);
    buffer_string(&around.suffix, holes[hole].below);
    struct layout_parts parts = {.around = &around, .known = ""};
    dsr1_status status = layout_build(&layout, host, &parts, 1000, err);
    if (status == DSR1_OK) {
        struct generation generation = {
            .tokens = layout.tokens, .n_tokens = layout.n_tokens, .max_tokens = PROBE_TOKENS};
        status = model_host_generate(host, &generation, &draft, err);
    }
    size_t at = 0;
    buffer_append(&text, draft.text.data, draft.text.size);
    while (at < text.size && (text.data[at] == ' ' || text.data[at] == '\n'))
        at++;
    *right = text.size > 0 && strncmp(text.data + at, holes[hole].answer, strlen(holes[hole].answer)) == 0;
    buffer_free(&text);
    layout_free(&layout);
    draft_free(&draft);
    surroundings_free(&around);
    return status;
}

/* The first mode that fills a hole right. */
static dsr1_status ask_all(struct model_host *host, const bool *can, dsr1_error *err)
{
    for (enum prompt_mode mode = PROMPT_FIM; mode <= PROMPT_HOLE; mode++) {
        host->prompt = mode;
        for (int hole = 0; hole < (mode == PROMPT_FIM ? HOLES : 1) && can[mode]; hole++) {
            bool right;
            dsr1_status status = fills(host, hole, &right, err);
            if (status < 0 || right)
                return status;
        }
    }
    host->prompt = PROMPT_PREFIX_ONLY;
    return DSR1_OK;
}

dsr1_status probe_prompt(struct model_host *host, int wish, dsr1_error *err)
{
    bool can[] = {[PROMPT_FIM] = host->info.has_fim, [PROMPT_HOLE] = host->info.template_name && *host->info.template_name};
    static const enum prompt_mode wishes[] = {PROMPT_PREFIX_ONLY, PROMPT_FIM, PROMPT_HOLE, PROMPT_PREFIX_ONLY};
    if (wish != PROMPT_AUTO) {
        enum prompt_mode mode = wishes[wish];
        host->prompt = mode == PROMPT_PREFIX_ONLY || can[mode] ? mode : PROMPT_PREFIX_ONLY;
        return DSR1_OK;
    }
    enum prompt_mode known;
    if (probe_cache_find(host->info.path, &known) && (known == PROMPT_PREFIX_ONLY || can[known])) {
        host->prompt = known;
        host->remembered = true;
        return DSR1_OK;
    }
    dsr1_status status = ask_all(host, can, err);
    if (status == DSR1_OK)
        probe_cache_store(host->info.path, host->prompt);
    return status;
}
