/*
 * tool_run.c - dsr1 run: complete a prompt or answer a question
 *
 * The answer streams to standard output and nothing else goes there; reasoning
 * and figures go to standard error, or all together into one object with --json.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct answer_token {
    int32_t id;
    float logprob;
    int n_top;
    dsr1_top top[DSR1_TOP_MAX];
};

struct run {
    const char *model, *prompt, *file, *system, *suffix;
    const char *choices, *schema, *regex, *grammar;
    bool chat, raw, verbose, json, ignore_end, special, think, no_think, heal, no_draft;
    int max_tokens, top_k, logprobs;
    float temperature, top_p, min_p, repeat_penalty, timeout;
    uint64_t seed;
    struct string_list stop;
    struct engine_flags engine;
    bool is_chat, reasoning_open;
    struct buffer constraint_file;
    /* Filled while the engine runs. */
    struct buffer text, reasoning;
    struct answer_token *tokens;
    size_t n_tokens, capacity;
    dsr1_finish finish;
    dsr1_usage usage;
    dsr1_error *err;
};

/* ------------------------------------------------------------------ */
/* The prompt                                                          */
/* ------------------------------------------------------------------ */

/* echo and editors end a text with a newline that a question does not have. */
static void drop_newline(struct buffer *text)
{
    if (text->size && text->data[text->size - 1] == '\n')
        text->data[--text->size] = 0;
}

static dsr1_status read_prompt(const struct run *o, struct buffer *prompt, dsr1_error *err)
{
    if (o->prompt) {
        buffer_string(prompt, o->prompt);
        return prompt->failed ? error_nomem(err, "the prompt") : DSR1_OK;
    }
    if (!o->file && isatty(STDIN_FILENO))
        fputs("dsr1 run: type the prompt, end it with Ctrl-D\n", stderr);
    return tool_read(o->file, prompt, err);
}

static bool is_constrained(const struct run *o)
{
    return o->choices || o->schema || o->regex || o->grammar;
}

/* An answer of a given form comes without reasoning in front, unless it is asked for. */
static bool thinks(const struct run *o)
{
    return o->think || (!o->no_think && !is_constrained(o));
}

/* Where a constraint shall begin behind the reasoning, the reasoning must have begun. */
static dsr1_status open_reasoning(struct run *o, const dsr1_model *model, struct int_list *tokens, dsr1_error *err)
{
    static const char opening[] = "<think>\n";
    int32_t ids[8];
    ptrdiff_t n = dsr1_tokenize(model, opening, sizeof opening - 1, DSR1_PARSE_SPECIAL, ids, 8);
    int32_t *more = n > 0 && n <= 8 ? memory_resize(tokens->items, tokens->n + (size_t) n, sizeof *more) : NULL;
    if (!more)
        return error_nomem(err, "the prompt");
    memcpy(more + tokens->n, ids, (size_t) n * sizeof *ids);
    *tokens = (struct int_list){more, tokens->n + (size_t) n};
    o->reasoning_open = true;
    return DSR1_OK;
}

static dsr1_status chat_tokens(struct run *o, const dsr1_model *model, const dsr1_model_info *info,
                               const char *content, struct int_list *tokens, dsr1_error *err)
{
    dsr1_message messages[2];
    size_t n_messages = 0;
    int flags = DSR1_CHAT_ANSWER | (thinks(o) ? 0 : DSR1_CHAT_NO_THINK);
    if (o->think && !info->reasons)
        return error_set(err, DSR1_ERR_UNSUPPORTED, "this model does not reason");
    o->is_chat = true;
    o->reasoning_open = info->opens_reasoning && thinks(o);
    if (o->system)
        messages[n_messages++] = (dsr1_message){"system", o->system};
    messages[n_messages++] = (dsr1_message){"user", content};
    ptrdiff_t n = dsr1_chat_tokens(model, messages, n_messages, flags, NULL, 0, err);
    if (n < 0)
        return error_set(err, (dsr1_status) n, "cannot render the conversation");
    *tokens = (struct int_list){memory_array((size_t) n, sizeof *tokens->items), (size_t) n};
    if (!tokens->items)
        return error_nomem(err, "the prompt");
    n = dsr1_chat_tokens(model, messages, n_messages, flags, tokens->items, tokens->n, err);
    if (n < 0)
        return error_set(err, (dsr1_status) n, "cannot render the conversation");
    return o->think && is_constrained(o) && !o->reasoning_open ? open_reasoning(o, model, tokens, err) : DSR1_OK;
}

static dsr1_status fim_tokens(const struct run *o, const dsr1_model *model, const struct buffer *prefix,
                              struct int_list *tokens, dsr1_error *err)
{
    const char *text = prefix->data ? prefix->data : "";
    size_t size = strlen(o->suffix);
    ptrdiff_t n = dsr1_fim_tokens(model, text, prefix->size, o->suffix, size, NULL, 0, err);
    if (n < 0)
        return err->status;
    *tokens = (struct int_list){memory_array((size_t) n, sizeof *tokens->items), (size_t) n};
    if (!tokens->items)
        return error_nomem(err, "the prompt");
    dsr1_fim_tokens(model, text, prefix->size, o->suffix, size, tokens->items, tokens->n, err);
    return err->status;
}

static dsr1_status make_prompt(struct run *o, const dsr1_model *model, const dsr1_model_info *info,
                               struct int_list *tokens, dsr1_error *err)
{
    struct buffer prompt = {0};
    dsr1_status status = read_prompt(o, &prompt, err);
    if (status == DSR1_OK && o->suffix)
        status = fim_tokens(o, model, &prompt, tokens, err);
    else if (status == DSR1_OK && (o->chat || (!o->raw && *info->template_name))) {
        if (!o->prompt)
            drop_newline(&prompt);
        if (prompt.size && memchr(prompt.data, 0, prompt.size))
            status = error_set(err, DSR1_ERR_ARGUMENT, "the prompt has a zero byte, which a chat message cannot hold");
        else
            status = chat_tokens(o, model, info, prompt.data ? prompt.data : "", tokens, err);
    } else if (status == DSR1_OK) {
        status = tool_tokens(model, prompt.data, prompt.size, DSR1_ADD_BOS | DSR1_PARSE_SPECIAL, tokens, err);
    }
    if (status == DSR1_OK && tokens->n == 0)
        status = error_set(err, DSR1_ERR_ARGUMENT, "the prompt is empty");
    buffer_free(&prompt);
    return status;
}

/* ------------------------------------------------------------------ */
/* The answer                                                          */
/* ------------------------------------------------------------------ */

static void keep_token(struct run *o, const dsr1_event *event)
{
    if (o->n_tokens == o->capacity) {
        size_t capacity = o->capacity ? o->capacity * 2 : 64;
        struct answer_token *tokens = memory_resize(o->tokens, capacity, sizeof *tokens);
        if (!tokens) {
            error_nomem(o->err, "the log-probabilities");
            return;
        }
        o->tokens = tokens;
        o->capacity = capacity;
    }
    struct answer_token *token = &o->tokens[o->n_tokens++];
    *token = (struct answer_token){.id = event->token, .logprob = event->logprob, .n_top = event->n_top};
    for (int i = 0; i < event->n_top; i++)
        token->top[i] = event->top[i];
}

static void show(const char *text, size_t size, FILE *to)
{
    if (size == 0)
        return;
    fwrite(text, 1, size, to);
    fflush(to);
}

static void on_event(const dsr1_event *event, void *user)
{
    struct run *o = user;
    if (o->json) {
        buffer_append(&o->text, event->text, event->text_size);
        buffer_append(&o->reasoning, event->reasoning, event->reasoning_size);
    } else {
        show(event->reasoning, event->reasoning_size, stderr);
        show(event->text, event->text_size, stdout);
    }
    if (event->type == DSR1_EVENT_TOKEN && o->logprobs)
        keep_token(o, event);
    if (event->type == DSR1_EVENT_DONE) {
        o->finish = event->finish;
        o->usage = event->usage;
        if (event->finish == DSR1_FINISH_ERROR)
            error_set(o->err, event->error->status, "%s", event->error->message);
    }
}

/* ------------------------------------------------------------------ */
/* What the answer must be                                             */
/* ------------------------------------------------------------------ */

static dsr1_status read_constraint(struct run *o, const char **texts, dsr1_constraint *constraint, dsr1_error *err)
{
    const char *file = o->schema ? o->schema : o->grammar;
    *constraint = (dsr1_constraint){.texts = texts, .n_texts = 1};
    if (file) {
        dsr1_status status = tool_read(file, &o->constraint_file, err);
        if (status < 0)
            return status;
        constraint->kind = o->schema ? DSR1_CONSTRAINT_JSON_SCHEMA : DSR1_CONSTRAINT_GBNF;
        texts[0] = o->constraint_file.data ? o->constraint_file.data : "";
    } else if (o->choices) {
        buffer_string(&o->constraint_file, o->choices);
        if (o->constraint_file.failed)
            return error_nomem(err, "the choices");
        constraint->kind = DSR1_CONSTRAINT_CHOICES;
        constraint->n_texts = tool_cut_at_commas(o->constraint_file.data, texts, TOOL_MAX_CHOICES);
    } else if (o->regex) {
        constraint->kind = DSR1_CONSTRAINT_REGEX;
        texts[0] = o->regex;
    }
    return DSR1_OK;
}

static dsr1_status generate(struct run *o, dsr1_engine *engine, dsr1_adapter *adapter, const struct int_list *prompt,
                            dsr1_error *err)
{
    static const char *texts[TOOL_MAX_CHOICES];
    dsr1_request request = {
        .tokens = prompt->items,
        .n_tokens = prompt->n,
        .max_tokens = o->max_tokens,
        .temperature = o->temperature,
        .top_k = o->top_k,
        .top_p = o->top_p,
        .min_p = o->min_p,
        .repeat_penalty = o->repeat_penalty,
        .seed = o->seed,
        .stop = o->stop.items,
        .n_stop = o->stop.n,
        .heal = o->heal,
        .ignore_end = o->ignore_end,
        .special = o->special,
        .separate_reasoning = o->is_chat && !o->special,
        .reasoning_open = o->reasoning_open,
        .no_draft = o->no_draft,
        .want_logprobs = o->logprobs > 0,
        .n_top = o->logprobs,
        .timeout_ms = (double) o->timeout * 1000,
        .adapter = adapter,
        .on_event = on_event,
        .user = o,
    };
    uint64_t id;
    o->err = err;
    dsr1_status status = read_constraint(o, texts, &request.constraint, err);
    if (status == DSR1_OK)
        status = dsr1_engine_submit(engine, &request, &id, err);
    if (status == DSR1_OK)
        status = tool_engine_drain_one(engine, id, err);
    if (!o->json && status == DSR1_OK) {
        putchar('\n');
        status = tool_flush(err);
    }
    return status == DSR1_OK ? err->status : status;
}

/* ------------------------------------------------------------------ */
/* Reports                                                             */
/* ------------------------------------------------------------------ */

static double rate(int n, double ms)
{
    return ms > 0 ? n * 1000.0 / ms : 0;
}

static void print_stats(const struct run *o)
{
    const dsr1_usage *u = &o->usage;
    fprintf(stderr, "prompt %d tokens (%d cached) in %.0f ms, %.1f tokens/s\n", u->prompt_tokens, u->cached_tokens,
            u->prefill_ms, rate(u->prompt_tokens - u->cached_tokens, u->prefill_ms));
    fprintf(stderr, "answer %d tokens in %.0f ms, %.1f tokens/s; finish: %s; cpu: %s\n", u->completion_tokens,
            u->decode_ms, rate(u->completion_tokens, u->decode_ms), tool_finish_name(o->finish), dsr1_cpu_name());
}

static void print_token(const dsr1_model *model, int32_t id, float logprob, const char *indent)
{
    char text[TOOL_TOKEN_TEXT];
    size_t size = dsr1_token_bytes(model, id, true, text, sizeof text);
    size = size < sizeof text ? size : sizeof text;
    fprintf(stderr, "%s%d\t%.6f\t", indent, id, (double) logprob);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n')
            fputs("\\n", stderr);
        else
            fputc(text[i], stderr);
    }
    fputc('\n', stderr);
}

static void print_logprobs(const struct run *o, const dsr1_model *model)
{
    for (size_t i = 0; i < o->n_tokens; i++) {
        print_token(model, o->tokens[i].id, o->tokens[i].logprob, "");
        for (int t = 0; t < o->tokens[i].n_top && o->logprobs > 1; t++)
            print_token(model, o->tokens[i].top[t].token, o->tokens[i].top[t].logprob, "    ");
    }
}

static json_t *json_tokens(const struct run *o, const dsr1_model *model)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->n_tokens; i++) {
        const struct answer_token *token = &o->tokens[i];
        json_t *object = tool_token_json(model, token->id, "logprob", (double) token->logprob);
        json_t *top = json_array();
        for (int t = 0; t < token->n_top; t++)
            json_array_append_new(top, tool_token_json(model, token->top[t].token, "logprob",
                                                       (double) token->top[t].logprob));
        json_object_set_new(object, "top", top);
        json_array_append_new(list, object);
    }
    return list;
}

static dsr1_status print_json(const struct run *o, const dsr1_model *model, const char *path, dsr1_error *err)
{
    const dsr1_usage *u = &o->usage;
    if (o->text.failed || o->reasoning.failed)
        return error_nomem(err, "the answer");
    json_t *usage = json_pack("{s:i, s:i, s:i, s:f, s:f, s:f}", "prompt_tokens", u->prompt_tokens, "cached_tokens",
                              u->cached_tokens, "completion_tokens", u->completion_tokens, "queue_ms", u->queue_ms,
                              "prefill_ms", u->prefill_ms, "decode_ms", u->decode_ms);
    json_t *root = json_pack("{s:s, s:o, s:s, s:o}", "model", path, "text",
                             json_stringn(o->text.data ? o->text.data : "", o->text.size), "finish",
                             tool_finish_name(o->finish), "usage", usage);
    if (root && o->reasoning.size)
        json_object_set_new(root, "reasoning", json_stringn(o->reasoning.data, o->reasoning.size));
    if (root && o->logprobs)
        json_object_set_new(root, "tokens", json_tokens(o, model));
    return tool_print_json(root, err);
}

/* ------------------------------------------------------------------ */
/* All of it                                                           */
/* ------------------------------------------------------------------ */

/* Room for the prompt and the answer; for an answer without a bound, and for short ones, the engine's default. */
static void set_context(const struct run *o, const struct int_list *prompt, const dsr1_model_info *info,
                        dsr1_engine_options *options)
{
    size_t need = prompt->n + (size_t) (o->max_tokens > 0 ? o->max_tokens : 0) + 1;
    if (options->context_size == 0 && need > 4096 && info->n_context_train > 4096)
        options->context_size = need < (size_t) info->n_context_train ? (int) need : info->n_context_train;
    options->max_batch = 1;
}

static dsr1_status run(struct run *o, dsr1_error *err)
{
    dsr1_model *model;
    dsr1_model_info info;
    dsr1_engine *engine = NULL;
    dsr1_adapter *adapter = NULL;
    dsr1_engine_options options = {0};
    struct int_list prompt = {0};
    dsr1_status status = tool_model_open(o->model, &model, err);
    if (status != DSR1_OK)
        return status;
    dsr1_model_get_info(model, &info);
    status = tool_adapter_open(&o->engine, model, &adapter, err);
    if (status == DSR1_OK)
        status = make_prompt(o, model, &info, &prompt, err);
    if (status == DSR1_OK) {
        tool_engine_options(&o->engine, &options);
        set_context(o, &prompt, &info, &options);
        status = dsr1_engine_open(model, &options, &engine, err);
    }
    if (status == DSR1_OK)
        status = generate(o, engine, adapter, &prompt, err);
    if (status == DSR1_OK && o->json)
        status = print_json(o, model, info.path, err);
    if (status == DSR1_OK && !o->json && o->logprobs)
        print_logprobs(o, model);
    if (status == DSR1_OK && o->verbose)
        print_stats(o);
    dsr1_engine_close(engine);
    dsr1_adapter_close(adapter);
    int_list_free(&prompt);
    dsr1_model_close(model);
    return status;
}

static int check_usage(const struct run *o, const struct command_line *line)
{
    dsr1_engine_options ignored = {0};
    if (o->prompt && o->file)
        return options_wrong(line, "-p and -f exclude each other");
    if (o->chat && o->raw)
        return options_wrong(line, "--chat and --raw exclude each other");
    if (o->suffix && (o->chat || o->system))
        return options_wrong(line, "--suffix excludes --chat and --system");
    if (o->system && o->raw)
        return options_wrong(line, "--system needs a chat, and --raw is none");
    if (!!o->choices + !!o->schema + !!o->regex + !!o->grammar > 1)
        return options_wrong(line, "--choices, --json-schema, --regex and --grammar exclude each other");
    if (o->think && o->no_think)
        return options_wrong(line, "--think and --no-think exclude each other");
    if (!tool_engine_options(&o->engine, &ignored))
        return options_wrong(line, "--kv %s: must be bf16, f16, f32 or q8_0", o->engine.kv);
    return OPTIONS_GO;
}

int tool_run(int argc, char **argv)
{
    struct run o = {.max_tokens = 256};
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&o.model),
        TOOL_ADAPTER_ROW(o.engine),
        {'p', "prompt", OPTION_STRING, &o.prompt, "TEXT", "the prompt", 0, 0},
        {'f', "file", OPTION_STRING, &o.file, "FILE", "read it from a file (default: standard input)", 0, 0},
        {0, "suffix", OPTION_STRING, &o.suffix, "TEXT", "the answer is what belongs between the prompt and this", 0, 0},
        {'n', "max-tokens", OPTION_INT, &o.max_tokens, "N", "tokens of the answer (256; -1: to the end of the context)",
         -1, INT32_MAX},
        {0, "chat", OPTION_FLAG, &o.chat, NULL, "ask through the chat template (default where there is one)", 0, 0},
        {0, "raw", OPTION_FLAG, &o.raw, NULL, "continue the text as it is", 0, 0},
        {0, "system", OPTION_STRING, &o.system, "TEXT", "a system message before the prompt", 0, 0},
        {0, "temp", OPTION_FLOAT, &o.temperature, "T", "temperature (0: the best token each time)", 0, 100},
        {0, "top-k", OPTION_INT, &o.top_k, "K", "sample among the K best (0: off)", 0, INT32_MAX},
        {0, "top-p", OPTION_FLOAT, &o.top_p, "P", "sample among the best that hold P of the probability", 0, 1},
        {0, "min-p", OPTION_FLOAT, &o.min_p, "P", "drop what is less likely than P times the best", 0, 1},
        {0, "repeat-penalty", OPTION_FLOAT, &o.repeat_penalty, "R", "over the last 64 tokens (1: off)", 0, 100},
        {0, "seed", OPTION_SEED, &o.seed, "S", "same seed, same answer (0)", 0, 0},
        {0, "stop", OPTION_STRINGS, &o.stop, "TEXT", "end before this text; may be given often", 0, 0},
        {0, "choices", OPTION_STRING, &o.choices, "A,B,..", "the answer is one of these", 0, 0},
        {0, "json-schema", OPTION_STRING, &o.schema, "FILE", "the answer is JSON that this schema admits", 0, 0},
        {0, "regex", OPTION_STRING, &o.regex, "RE", "the answer matches this expression as a whole", 0, 0},
        {0, "grammar", OPTION_STRING, &o.grammar, "FILE", "the answer obeys this GBNF grammar", 0, 0},
        {0, "think", OPTION_FLAG, &o.think, NULL, "reason first, also before an answer of given form", 0, 0},
        {0, "no-think", OPTION_FLAG, &o.no_think, NULL, "answer without reasoning", 0, 0},
        {0, "heal", OPTION_FLAG, &o.heal, NULL, "choose the tokens of the prompt's last word anew, so that it may go on", 0, 0},
        {0, "timeout", OPTION_FLOAT, &o.timeout, "SECONDS", "end the answer after this time (0: never)", 0, 1e9},
        {0, "no-draft", OPTION_FLAG, &o.no_draft, NULL, "do not guess tokens ahead (same answer, for measuring)", 0, 0},
        {0, "ignore-end", OPTION_FLAG, &o.ignore_end, NULL, "go on after an end token", 0, 0},
        {0, "special", OPTION_FLAG, &o.special, NULL, "show the text of control tokens", 0, 0},
        {0, "logprobs", OPTION_INT, &o.logprobs, "K", "log-probabilities of each token and the K best (stderr)", 1,
         DSR1_TOP_MAX},
        {'c', "context", OPTION_INT, &o.engine.context, "N", "tokens of prompt and answer together", 1, 1 << 24},
        TOOL_KV_ROW(o.engine, "bf16 (default), f16, f32 or q8_0"),
        TOOL_THREADS_ROW(o.engine),
        TOOL_EXPERTS_ROW(o.engine),
        {0, "json", OPTION_FLAG, &o.json, NULL, "print one JSON object at the end", 0, 0},
        {'v', "verbose", OPTION_FLAG, &o.verbose, NULL, "print times and counts on standard error", 0, 0},
        {0},
    };
    const struct command_line line = {
        "dsr1 run", "[-m MODEL] [-p TEXT | -f FILE] [-n N] [--chat | --raw] [OPTION]...",
        "Prints the model's answer as it comes. A prompt goes through the chat template\n"
        "where the model has one that dsr1 knows. Ctrl-C ends the answer.", rows, 0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO)
        go = check_usage(&o, &line);
    if (go == OPTIONS_GO) {
        dsr1_error err = {0};
        go = run(&o, &err) == DSR1_OK ? 0 : tool_fail("run", &err);
    }
    buffer_free(&o.text);
    buffer_free(&o.reasoning);
    buffer_free(&o.constraint_file);
    free(o.tokens);
    string_list_free(&o.stop);
    if (tool_interrupted())
        tool_die_of_interrupt();
    return go;
}
