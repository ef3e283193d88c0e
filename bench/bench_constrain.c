/*
 * bench_constrain.c - what a constraint costs per token, beside a step of the model
 *
 * Prints one JSON object. For each constraint: compiling, then the time to make the
 * mask of a token and to go over it, while answers are drawn at random from all that
 * the masks allow: of the first answer, for which everything is computed, and of 50
 * more. Random answers wander further than a model's do, so that more is computed.
 * The step is one token of one request. `share` is the mean in parts of a step.
 *
 *   bench_constrain [MODEL]
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/rng.h"
#include "constrain/constraint.h"
#include "gguf/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWERS = 50, BUDGET = 100, STEPS = 48, TIMES_MAX = 1 << 16 };

static const char *const labels[] = {"positive", "negative", "neutral", "mixed", "unclear"};
static const char *const schema[] = {
    "{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\",\"maxLength\":80},\"year\":{\"type\":\"integer\","
    "\"minimum\":1900,\"maximum\":2100},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":8},"
    "\"kind\":{\"enum\":[\"book\",\"film\",\"song\"]},\"rating\":{\"type\":\"number\",\"minimum\":0,\"maximum\":5},"
    "\"isbn\":{\"type\":\"string\",\"pattern\":\"^\\\\d{3}-\\\\d{10}$\"},\"seen\":{\"type\":[\"string\",\"null\"],"
    "\"format\":\"date\"},\"people\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":"
    "{\"type\":\"string\"},\"role\":{\"type\":\"string\"}},\"required\":[\"name\"],\"additionalProperties\":false}}},"
    "\"required\":[\"title\",\"year\",\"kind\"],\"additionalProperties\":false}"};
static const char *const expression[] = {"[A-Z][a-z]+( [A-Z][a-z]+){1,3}, \\d{1,2} (Jan|Feb|Mar|Apr|May|Jun) \\d{4}: .{20,300}"};
static const char *const grammar[] = {
    "root ::= select\nselect ::= \"SELECT \" name (\", \" name)* \" FROM \" name (\" WHERE \" test (\" AND \" test)*)? \";\"\n"
    "test ::= name (\" = \" | \" < \" | \" > \") (number | \"(\" select \")\")\nname ::= [a-z_]{1,20}\nnumber ::= [0-9]{1,9}\n"};

struct times {
    double *us;
    size_t n;
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double mean(const struct times *t)
{
    double sum = 0;
    for (size_t i = 0; i < t->n; i++)
        sum += t->us[i];
    return t->n ? sum / (double) t->n : 0;
}

static int32_t draw(uint64_t *random, const uint64_t *mask, int n_vocab)
{
    uint32_t n = 0;
    for (int w = 0; w < (n_vocab + 63) / 64; w++)
        n += (uint32_t) __builtin_popcountll(mask[w]);
    uint32_t wanted = n ? (uint32_t) (rng_uniform(7, (*random)++) * n) : 0;
    for (int32_t t = 0; t < n_vocab; t++)
        if (mask[t / 64] >> (t % 64) & 1 && wanted-- == 0)
            return t;
    return -1;
}

static void answer(struct constraint *c, const struct tokenizer *tokenizer, uint64_t *random, struct times *times)
{
    struct constraint_state *state;
    if (constraint_begin(c, &state, NULL) < 0)
        exit(1);
    for (int i = 0; i < BUDGET && !constraint_complete(state) && times->n < TIMES_MAX; i++) {
        int32_t forced[16];
        double begin = clock_seconds();
        constraint_forced(state, forced, 16, BUDGET - i);
        const uint64_t *mask = constraint_mask(state, BUDGET - i);
        double between = clock_seconds();
        int32_t token = mask ? draw(random, mask, tokenizer_n_vocab(tokenizer)) : -1;
        double again = clock_seconds();
        bool ok = token >= 0 && constraint_accept(state, token);
        times->us[times->n++] = 1e6 * (clock_seconds() - again + between - begin);
        if (!ok)
            exit(1);
        if (tokenizer_is_end(tokenizer, token))
            break;
    }
    constraint_end(state);
}

static void bench(struct token_table *table, const struct tokenizer *tokenizer, const char *name, dsr1_constraint from,
                  double step_us, struct times *times, const char *comma)
{
    struct constraint *c;
    uint64_t random = 0;
    dsr1_error err = {0};
    double begin = clock_seconds();
    if (constraint_open(table, &from, &c, &err) < 0) {
        fprintf(stderr, "bench_constrain: %s: %s\n", name, err.message);
        exit(1);
    }
    double compile_us = 1e6 * (clock_seconds() - begin);
    times->n = 0;
    answer(c, tokenizer, &random, times);
    double first = mean(times);
    times->n = 0;
    for (int i = 0; i < ANSWERS; i++)
        answer(c, tokenizer, &random, times);
    double later = mean(times);
    qsort(times->us, times->n, sizeof *times->us, by_size);
    printf("%s{\"constraint\":\"%s\",\"compile_us\":%.0f,\"first_us\":%.1f,\"mean_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"max_us\":%.0f,\"tokens\":%zu,\"first_share\":%.4f,\"share\":%.4f}",
           comma, name, compile_us, first, later, times->us[times->n / 2], times->us[times->n * 99 / 100],
           times->us[times->n - 1], times->n, first / step_us, later / step_us);
    constraint_close(c);
}

static void count_token(const dsr1_event *event, void *user)
{
    double *last = user;
    if (event->type == DSR1_EVENT_TOKEN) {
        double now = clock_seconds();
        if (last[0] > 0) {
            last[1] += now - last[0];
            last[2]++;
        }
        last[0] = now;
    }
}

/* Microseconds of a step with one token, the mean of STEPS. */
static double measure_step(const char *path, dsr1_error *err)
{
    dsr1_model *model;
    dsr1_engine *engine;
    int32_t prompt[64];
    double times[3] = {0};
    if (dsr1_model_open(path, &model, err) < 0)
        return 0;
    ptrdiff_t n = dsr1_tokenize(model, "Once upon a time", 16, 0, prompt, 64);
    dsr1_request request = {.tokens = prompt, .n_tokens = (size_t) n, .max_tokens = STEPS, .ignore_end = true,
                            .no_draft = true, .on_event = count_token, .user = times};
    if (dsr1_engine_open(model, NULL, &engine, err) == DSR1_OK) {
        if (dsr1_engine_submit(engine, &request, NULL, err) == DSR1_OK)
            while (dsr1_engine_step(engine, err) > 0)
                ;
        dsr1_engine_close(engine);
    }
    dsr1_model_close(model);
    return times[2] > 0 ? 1e6 * times[1] / times[2] : 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "models/dsr1-default.gguf";
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct token_table *table;
    dsr1_error err = {0};
    struct times times = {malloc(TIMES_MAX * sizeof(double)), 0};
    double step_us = measure_step(path, &err);
    if (!times.us || step_us <= 0 || gguf_open(path, &gguf, &err) < 0 || tokenizer_open(gguf, &tokenizer, &err) < 0) {
        fprintf(stderr, "bench_constrain: %s\n", err.message);
        return 1;
    }
    double begin = clock_seconds();
    if (token_table_open(tokenizer, &table, &err) < 0)
        return 1;
    printf("{\"bench\":\"constrain\",\"model\":\"%s\",\"step_us\":%.0f,\"table_us\":%.0f,\"constraints\":[", path, step_us,
           1e6 * (clock_seconds() - begin));
    bench(table, tokenizer, "choices", (dsr1_constraint){DSR1_CONSTRAINT_CHOICES, labels, 5}, step_us, &times, "");
    bench(table, tokenizer, "json", (dsr1_constraint){DSR1_CONSTRAINT_JSON, NULL, 0}, step_us, &times, ",");
    bench(table, tokenizer, "schema", (dsr1_constraint){DSR1_CONSTRAINT_JSON_SCHEMA, schema, 1}, step_us, &times, ",");
    bench(table, tokenizer, "regex", (dsr1_constraint){DSR1_CONSTRAINT_REGEX, expression, 1}, step_us, &times, ",");
    bench(table, tokenizer, "gbnf", (dsr1_constraint){DSR1_CONSTRAINT_GBNF, grammar, 1}, step_us, &times, ",");
    printf("]}\n");
    token_table_close(table);
    tokenizer_close(tokenizer);
    gguf_close(gguf);
    free(times.us);
    return 0;
}
