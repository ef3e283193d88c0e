/*
 * choices.c - one of a list of texts
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/error.h"
#include "base/memory.h"
#include "constrain/compile.h"

#include <stdlib.h>
#include <string.h>

enum { CHOICES_MAX = 10000 };

dsr1_status choices_compile(struct expr_store *s, const char *const *texts, size_t n_texts, dsr1_error *err)
{
    if (n_texts == 0 || n_texts > CHOICES_MAX)
        return error_set(err, n_texts ? DSR1_ERR_LIMIT : DSR1_ERR_ARGUMENT, "%zu choices: there can be 1 to %d",
                         n_texts, CHOICES_MAX);
    expr_id *ids = memory_array(n_texts, sizeof *ids);
    if (!ids)
        return error_nomem(err, "choices");
    for (size_t i = 0; i < n_texts; i++)
        ids[i] = expr_bytes(s, texts[i], strlen(texts[i]));
    uint32_t rule = expr_new_rule(s);
    expr_id choice = expr_choice(s, ids, n_texts);
    if (s->status == DSR1_OK)
        s->rules[rule] = choice;
    free(ids);
    return DSR1_OK;
}
