/*
 * fuzz_lsp_text.c - any bytes as an ignore file, as program text and as a chat's answer
 *
 * The first byte chooses a language; a zero byte ends the first part.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "action.h"
#include "ignore.h"
#include "secret.h"
#include "syntax.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const char *text, size_t size)
{
    struct action action = {.kind = ACTION_REWRITE};
    struct buffer out = {0};
    action_answer(&action, text, size, &out);
    if (out.size > size + 1)
        abort();
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const languages[] = {"c", "python", "sql", "javascript", "go", ""};
    if (size == 0)
        return 0;
    const char *language = languages[*data % 6], *text = (const char *) data + 1;
    size--;
    size_t start, end = size;
    const char *zero = memchr(text, 0, size);
    enum syntax_place place = syntax_at(language, text, size, &start);
    if (start > size || (place == SYNTAX_CODE && start != size))
        abort();
    syntax_is_sql(text + start, size - start);
    if (secret_find(text, size) > size)
        abort();
    check_answer(text, size);
    if (zero)
        end = (size_t) (zero - text);
    char path[300];
    size_t rest = size - end > 0 ? size - end - 1 : 0, n = rest < sizeof path - 1 ? rest : sizeof path - 1;
    memcpy(path, text + size - n, n);
    path[n] = 0;
    int said = ignore_match(text, end, path);
    if (said < -1 || said > 1)
        abort();
    return 0;
}
