/*
 * sample.c - answers at random to schemas: one schema a line in, one answer a line out
 *
 *     sample MODEL SEED ANSWERS < schemas
 *
 * For each schema prints ANSWERS lines of number, "answer", tokens, budget and the
 * text, or one line of number, status and what is wrong with the schema, apart by tabs.
 * Tokens are drawn from all that the masks allow: all alike, or first their first
 * byte, so that strings end and structure is met. Ends with 1 where something did
 * not hold that constraint.h promises.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "gguf/gguf.h"
#include "unit/constrain_answers.h"

enum { SLACK_MAX = 60 };

static const char *status_name(dsr1_status status)
{
    return status == DSR1_ERR_ARGUMENT ? "argument" : status == DSR1_ERR_UNSUPPORTED ? "unsupported"
           : status == DSR1_ERR_LIMIT ? "limit" : "other";
}

static bool sample(struct answers *a, struct token_table *table, size_t line, const char *schema, int n_answers)
{
    struct constraint *c;
    dsr1_error err = {0};
    dsr1_constraint from = {DSR1_CONSTRAINT_JSON_SCHEMA, &schema, 1, false};
    dsr1_status status = constraint_open(table, &from, &c, &err);
    if (status < 0) {
        printf("%zu\t%s\t%s\n", line, status_name(status), err.message);
        return true;
    }
    for (int i = 0; i < n_answers && !a->wrong; i++) {
        int budget = constraint_shortest(c) + 1 + (int) answers_random(a, SLACK_MAX);
        a->forced = i % 2;
        a->by_byte = i % 3 != 0;
        struct answer answer = answer_make(a, c, budget);
        if (a->wrong)
            printf("%zu\twrong\t%s: %s\n", line, a->wrong, answer.text.data);
        else
            printf("%zu\tanswer\t%d\t%d\t%s\n", line, answer.n_tokens, budget, answer.text.data);
        buffer_free(&answer.text);
    }
    constraint_close(c);
    return !a->wrong;
}

int main(int argc, char **argv)
{
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct token_table *table;
    struct answers a;
    dsr1_error err = {0};
    char *schema = NULL;
    size_t capacity = 0, line = 0;
    bool right = true;
    if (argc != 4) {
        fprintf(stderr, "usage: sample MODEL SEED ANSWERS < schemas\n");
        return 2;
    }
    if (gguf_open(argv[1], &gguf, &err) < 0 || tokenizer_open(gguf, &tokenizer, &err) < 0 ||
        token_table_open(tokenizer, &table, &err) < 0) {
        fprintf(stderr, "sample: %s\n", err.message);
        return 1;
    }
    answers_open(&a, tokenizer, table, strtoull(argv[2], NULL, 10));
    for (ssize_t n; right && (n = getline(&schema, &capacity, stdin)) > 0; line++) {
        schema[n - 1] = schema[n - 1] == '\n' ? 0 : schema[n - 1];
        right = sample(&a, table, line, schema, atoi(argv[3]));
    }
    free(schema);
    answers_close(&a);
    token_table_close(table);
    tokenizer_close(tokenizer);
    gguf_close(gguf);
    return right ? 0 : 1;
}
