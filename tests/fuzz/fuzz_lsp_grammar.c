/*
 * fuzz_lsp_grammar.c - any place in any text, and any schema: the grammar of what may stand there can be read
 *
 * A byte of wishes, then three texts with zero bytes between them: the database's tables, the text before the cursor, and
 * the text behind it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "code_grammar.h"
#include "constrain/compile.h"
#include "fuzz_input.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_grammar(const char *text)
{
    struct expr_store store;
    char **names = NULL;
    dsr1_error err = {0};
    if (!expr_open(&store))
        return;
    dsr1_status status = gbnf_compile(&store, text, &names, &err);
    if (status < 0 && status != DSR1_ERR_LIMIT) {
        fprintf(stderr, "%s in:\n%s", err.message, text);
        abort();
    }
    gbnf_free_names(names);
    expr_close(&store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const languages[] = {"sql", "c", "python", "javascript", "rust", "lua", "php", "text"};
    struct fuzz_input in = {data, size};
    struct document document = {.uri = ""};
    struct window window = {1000, 1000, 8};
    struct surroundings around;
    struct buffer tables = {0}, gbnf = {0};
    uint8_t wishes = fuzz_input_byte(&in);
    size_t n_tables, before, behind;
    const uint8_t *schema = fuzz_input_until(&in, 0, &n_tables), *text = fuzz_input_until(&in, 0, &before);
    const uint8_t *rest = fuzz_input_until(&in, 0, &behind);
    buffer_string(&tables, "");
    buffer_append(&tables, schema, n_tables);
    if (tables.failed || !document_change(&document, 0, 0, (const char *) text, before) ||
        !document_change(&document, before, before, (const char *) rest, behind) ||
        !surroundings_take(&around, &document, &window, before, before, ""))
        abort();
    struct code_place place = {
        .language = languages[wishes & 7], .around = &around, .line_only = wishes & 8, .any_indent = wishes & 16,
        .any_brackets = wishes & 32, .tables = wishes & 64 ? NULL : tables.data};
    if (code_grammar(&place, &gbnf))
        read_grammar(gbnf.data);
    buffer_free(&gbnf);
    buffer_free(&tables);
    surroundings_free(&around);
    gap_text_free(&document.text);
    return 0;
}
