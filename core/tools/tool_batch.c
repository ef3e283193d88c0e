/*
 * tool_batch.c - dsr1 batch: answer many prompts at once
 *
 * A window of prompts is kept in the engine, which computes them together; answers are written in the order of
 * the prompts, each as soon as those before it are there. What a prompt is answered does not depend on the others.
 *
 * Among choices the likeliest as a whole is the answer. Token by token it need not be found: where the mask leaves "n",
 * "ne" and "negative" open, "n" stands for all that begins so, of which the mask has the most part forbidden.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "base/memory.h"
#include "train/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer {
    struct batch *batch;
    struct buffer text;
    bool done;
    dsr1_finish finish;
    size_t best;                /* of the choices, the likeliest so far */
    double best_score;
    char error[sizeof (dsr1_error)];
};

struct batch {
    const char *model, *output, *choices;
    bool raw;
    int max_tokens, max_batch, top_k;
    float temperature, top_p;
    uint64_t seed;
    struct engine_flags engine;
    const char *pieces[TOOL_MAX_CHOICES];
    size_t n_pieces;            /* of choices */
    dsr1_tokens *choice_tokens; /* of each, where the likeliest is wanted; else NULL */
    struct prompts prompts;
    struct answer *answers;
    int n_running, n_printed, n_failed;
    int64_t n_tokens;
    FILE *to;
};

static void on_event(const dsr1_event *event, void *user)
{
    struct answer *answer = user;
    const struct batch *b = answer->batch;
    buffer_append(&answer->text, event->text, event->text_size);
    if (event->type == DSR1_EVENT_SCORE && (event->index == 0 || event->score > answer->best_score)) {
        answer->best = (size_t) event->index;
        answer->best_score = event->score;
    }
    if (event->type != DSR1_EVENT_DONE)
        return;
    answer->done = true;
    answer->finish = event->finish;
    if (b->choice_tokens && event->finish != DSR1_FINISH_ERROR) {
        buffer_string(&answer->text, b->pieces[answer->best]);
        answer->finish = DSR1_FINISH_END;
    }
    answer->batch->n_running--;
    answer->batch->n_tokens += event->usage.completion_tokens;
    if (event->finish == DSR1_FINISH_ERROR)
        snprintf(answer->error, sizeof answer->error, "%s", event->error->message);
}

static dsr1_status ask(struct batch *b, dsr1_engine *engine, dsr1_adapter *adapter, int index, dsr1_error *err)
{
    const struct prompt *prompt = &b->prompts.items[index];
    struct answer *answer = &b->answers[index];
    uint64_t id;
    *answer = (struct answer){.batch = b};
    dsr1_request request = {
        .tokens = prompt->tokens,
        .n_tokens = (size_t) prompt->n_tokens,
        .max_tokens = b->choice_tokens ? 0 : b->max_tokens,
        .temperature = b->temperature,
        .top_k = b->top_k,
        .top_p = b->top_p,
        .seed = b->seed + (uint64_t) index,
        .adapter = adapter,
        .on_event = on_event,
        .user = answer,
    };
    if (b->choice_tokens) {
        request.continuations = b->choice_tokens;
        request.n_continuations = b->n_pieces;
    } else if (b->n_pieces) {
        request.constraint = (dsr1_constraint){.kind = DSR1_CONSTRAINT_CHOICES, .texts = b->pieces, .n_texts = b->n_pieces};
    }
    b->n_running++;
    dsr1_status status = dsr1_engine_submit(engine, &request, &id, err);
    if (status == DSR1_OK || status == DSR1_ERR_NOMEM)
        return status;
    /* A prompt that cannot be answered is no reason to leave out the others. */
    b->n_running--;
    answer->done = true;
    answer->finish = DSR1_FINISH_ERROR;
    snprintf(answer->error, sizeof answer->error, "%s", err->message);
    *err = (dsr1_error){0};
    return DSR1_OK;
}

static bool begins(const char *whole, const char *part)
{
    return strncmp(whole, part, strlen(part)) == 0;
}

/* Where one choice begins another, each ends with the end token: else the shorter one would always be the likelier. */
static dsr1_status read_choices(struct batch *b, const dsr1_model *model, dsr1_error *err)
{
    dsr1_model_info info;
    bool nested = false;
    dsr1_model_get_info(model, &info);
    for (size_t i = 0; i < b->n_pieces; i++)
        for (size_t j = 0; j < b->n_pieces && !nested; j++)
            nested = i != j && begins(b->pieces[i], b->pieces[j]);
    b->choice_tokens = memory_array(b->n_pieces, sizeof *b->choice_tokens);
    if (!b->choice_tokens)
        return error_nomem(err, "the choices");
    for (size_t i = 0; i < b->n_pieces; i++)
        b->choice_tokens[i] = (dsr1_tokens){0};
    for (size_t i = 0; i < b->n_pieces; i++) {
        struct int_list list = {0};
        dsr1_status status = tool_tokens(model, b->pieces[i], strlen(b->pieces[i]), 0, &list, err);
        int32_t *ids = status == DSR1_OK ? memory_array(list.n + 1, sizeof *ids) : NULL;
        if (ids) {
            memcpy(ids, list.items, list.n * sizeof *ids);
            ids[list.n] = info.eos;
            b->choice_tokens[i] = (dsr1_tokens){ids, list.n + (nested && info.eos >= 0)};
        }
        int_list_free(&list);
        if (!ids)
            return status == DSR1_OK ? error_nomem(err, "the choices") : status;
    }
    return DSR1_OK;
}

static dsr1_status print_answer(struct batch *b, int index, dsr1_error *err)
{
    struct answer *answer = &b->answers[index];
    json_t *line = json_pack("{s:s}", "prompt", b->prompts.items[index].text);
    bool failed = answer->finish == DSR1_FINISH_ERROR;
    if (answer->text.failed)
        return error_nomem(err, "an answer");
    b->n_printed++;
    b->n_failed += failed;
    if (failed)
        json_object_set_new(line, "error", json_string(answer->error));
    else
        json_object_set_new(line, "completion", json_stringn(answer->text.data ? answer->text.data : "", answer->text.size));
    json_object_set_new(line, "finish", json_string(tool_finish_name(answer->finish)));
    char *text = line ? json_dumps(line, 0) : NULL;
    dsr1_status status = text ? DSR1_OK : error_nomem(err, "an answer");
    if (text && (fprintf(b->to, "%s\n", text) < 0 || fflush(b->to) != 0))
        status = error_errno(err, DSR1_ERR_IO, "cannot write the answers");
    free(text);
    json_decref(line);
    buffer_free(&answer->text);
    return status;
}

static dsr1_status answer_all(struct batch *b, dsr1_engine *engine, dsr1_adapter *adapter, dsr1_error *err)
{
    int asked = 0, printed = 0;
    dsr1_status status = DSR1_OK;
    while (status == DSR1_OK && printed < b->prompts.n) {
        while (status == DSR1_OK && asked < b->prompts.n && b->n_running < 2 * b->max_batch)
            status = ask(b, engine, adapter, asked++, err);
        if (status == DSR1_OK && b->n_running > 0) {
            int left = dsr1_engine_step(engine, err);
            status = left < 0 ? (dsr1_status) left : DSR1_OK;
        }
        for (; status == DSR1_OK && printed < asked && b->answers[printed].done; printed++)
            status = print_answer(b, printed, err);
        tool_progress("%d of %d prompts answered, %lld tokens", printed, b->prompts.n, (long long) b->n_tokens);
    }
    tool_progress_end();
    return status;
}

static dsr1_status open_engine(const struct batch *b, const dsr1_model *model, dsr1_engine **engine, dsr1_error *err)
{
    dsr1_engine_options options = {0};
    tool_engine_options(&b->engine, &options);
    options.max_batch = b->max_batch;
    return dsr1_engine_open(model, &options, engine, err);
}

static dsr1_status batch(struct batch *b, const char *path, dsr1_error *err)
{
    dsr1_model *model;
    dsr1_engine *engine = NULL;
    dsr1_adapter *adapter = NULL;
    dsr1_status status = tool_model_open(b->model, &model, err);
    if (status != DSR1_OK)
        return status;
    status = prompts_open(model, path, b->raw, &b->prompts, err);
    if (status == DSR1_OK)
        status = tool_adapter_open(&b->engine, model, &adapter, err);
    if (status == DSR1_OK && b->n_pieces && b->temperature == 0)
        status = read_choices(b, model, err);
    if (status == DSR1_OK)
        status = open_engine(b, model, &engine, err);
    b->answers = status == DSR1_OK ? memory_array((size_t) b->prompts.n, sizeof *b->answers) : NULL;
    if (status == DSR1_OK && !b->answers)
        status = error_nomem(err, "the answers");
    b->to = status == DSR1_OK && b->output ? fopen(b->output, "w") : stdout;
    if (!b->to)
        status = error_errno(err, DSR1_ERR_IO, "cannot create %s", b->output);
    if (status == DSR1_OK)
        status = answer_all(b, engine, adapter, err);
    if (b->to && b->to != stdout && fclose(b->to) != 0 && status == DSR1_OK)
        status = error_errno(err, DSR1_ERR_IO, "cannot write %s", b->output);
    dsr1_engine_close(engine);
    dsr1_adapter_close(adapter);
    for (int i = 0; b->answers && i < b->prompts.n; i++)
        buffer_free(&b->answers[i].text);
    free(b->answers);
    for (size_t i = 0; b->choice_tokens && i < b->n_pieces; i++)
        free((void *) b->choice_tokens[i].ids);
    free(b->choice_tokens);
    prompts_close(&b->prompts);
    dsr1_model_close(model);
    return status;
}

int tool_batch(int argc, char **argv)
{
    static struct batch b = {.max_tokens = 256, .max_batch = 32};
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&b.model),
        TOOL_ADAPTER_ROW(b.engine),
        {'o', "output", OPTION_STRING, &b.output, "FILE", "where the answers go (default: standard output)", 0, 0},
        {'n', "max-tokens", OPTION_INT, &b.max_tokens, "N", "tokens of an answer (256)", 1, INT32_MAX},
        {0, "raw", OPTION_FLAG, &b.raw, NULL, "continue the texts as they are", 0, 0},
        {0, "temp", OPTION_FLOAT, &b.temperature, "T", "temperature (0: the best token each time)", 0, 100},
        {0, "top-k", OPTION_INT, &b.top_k, "K", "sample among the K best (0: off)", 0, INT32_MAX},
        {0, "top-p", OPTION_FLOAT, &b.top_p, "P", "sample among the best that hold P of the probability", 0, 1},
        {0, "choices", OPTION_STRING, &b.choices, "A,B,..", "each answer is one of these, without --temp the likeliest", 0, 0},
        {0, "seed", OPTION_SEED, &b.seed, "S", "of the first prompt; the next has the next one (0)", 0, 0},
        {'b', "max-batch", OPTION_INT, &b.max_batch, "N", "answers computed together (32)", 1, 1024},
        {'c', "context", OPTION_INT, &b.engine.context, "N", "tokens of prompt and answer together", 1, 1 << 24},
        TOOL_THREADS_ROW(b.engine),
        TOOL_EXPERTS_ROW(b.engine),
        {0},
    };
    const struct command_line line = {
        "dsr1 batch", "[-m MODEL] [OPTION]... PROMPTS",
        "Answers each line of a file, or each {\"prompt\": .., \"system\": ..} of a .jsonl file, many at a time; fills what\n"
        "is between for {\"prefix\": .., \"suffix\": ..}. Writes an object a line, in the same order: \"prompt\" (or the\n"
        "prefix), \"completion\" and \"finish\", or \"error\".", rows, 1};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO && argc - first != 1)
        go = options_wrong(&line, "PROMPTS is wanted");
    if (go != OPTIONS_GO)
        return go;
    dsr1_error err = {0};
    char *choices = b.choices ? strdup(b.choices) : NULL;
    b.n_pieces = choices ? tool_cut_at_commas(choices, b.pieces, TOOL_MAX_CHOICES) : 0;
    dsr1_status status = b.choices && !choices ? error_nomem(&err, "the choices") : batch(&b, argv[first], &err);
    free(choices);
    if (status != DSR1_OK)
        return tool_fail("batch", &err);
    if (b.n_failed == 0)
        return 0;
    fprintf(stderr, "dsr1 batch: %d of %d prompts could not be answered\n", b.n_failed, b.n_printed);
    return 1;
}
