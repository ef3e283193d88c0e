/*
 * shipped_tokens.h - the shipped model's vocabulary, for tests of constraints
 *
 * For tests only, which include cmocka.h before and run with open_all and close_all.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TESTS_SHIPPED_TOKENS_H
#define TESTS_SHIPPED_TOKENS_H

#include "constrain/token_table.h"
#include "tokenizer_files.h"

static struct tokenizer_file file;
static struct token_table *table;

static int open_all(void **state)
{
    dsr1_error err = {0};
    file = open_tokenizer("models/dsr1-default.gguf");
    assert_int_equal(token_table_open(file.tokenizer, &table, &err), DSR1_OK);
    return 0;
}

static int close_all(void **state)
{
    token_table_close(table);
    close_tokenizer(&file);
    return 0;
}

#endif
