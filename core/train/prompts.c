/*
 * prompts.c - what a policy is asked while it learns
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/prompts.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "train/checkpoint.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGES = 64 };

struct reader {
    const dsr1_model *model;
    const char *path;
    int line;
    bool raw;
    struct prompts *prompts;
    dsr1_error *err;
};

static dsr1_status broken(const struct reader *r, const char *why)
{
    return error_set(r->err, DSR1_ERR_FORMAT, "%s line %d: %s", r->path, r->line, why);
}

/* ------------------------------------------------------------------ */
/* One prompt                                                          */
/* ------------------------------------------------------------------ */

/* A conversation, or what stands around a hole. */
struct question {
    dsr1_message messages[MAX_MESSAGES];
    size_t n;
    const char *prefix, *suffix;
};

static const char *text_of(const struct question *q)
{
    return q->prefix ? q->prefix : q->messages[q->n - 1].content;
}

static ptrdiff_t encode(const struct reader *r, const struct question *q, int32_t *tokens, size_t capacity)
{
    const char *text = text_of(q);
    if (q->prefix)
        return dsr1_fim_tokens(r->model, text, strlen(text), q->suffix, strlen(q->suffix), tokens, capacity, r->err);
    if (r->raw)
        return dsr1_tokenize(r->model, text, strlen(text), DSR1_ADD_BOS, tokens, capacity);
    return dsr1_chat_tokens(r->model, q->messages, q->n, DSR1_CHAT_ANSWER | DSR1_CHAT_NO_THINK, tokens, capacity,
                            r->err);
}

static dsr1_status add(struct reader *r, const struct question *q, const char *meta)
{
    struct prompts *all = r->prompts;
    struct prompt *items = memory_resize(all->items, (size_t) all->n + 1, sizeof *items);
    if (!items)
        return error_nomem(r->err, "the prompts");
    all->items = items;
    struct prompt *p = &items[all->n++];
    *p = (struct prompt){.text = strdup(text_of(q)), .meta = strdup(meta)};
    ptrdiff_t n = encode(r, q, NULL, 0);
    if (n < 0)
        return error_set(r->err, (dsr1_status) n, "%s line %d: cannot be rendered", r->path, r->line);
    if (n == 0 || n > 1 << 20)
        return broken(r, "an empty prompt, or far too long a one");
    p->tokens = memory_array((size_t) n, sizeof *p->tokens);
    if (!p->text || !p->meta || !p->tokens)
        return error_nomem(r->err, "the prompts");
    p->n_tokens = (int) encode(r, q, p->tokens, (size_t) n);
    all->longest = p->n_tokens > all->longest ? p->n_tokens : all->longest;
    all->hash = checkpoint_hash(all->hash, p->tokens, (size_t) n * sizeof *p->tokens);
    all->hash = checkpoint_hash(all->hash, p->meta, strlen(p->meta));
    return DSR1_OK;
}

static dsr1_status read_question(struct reader *r, json_t *object, struct question *q)
{
    json_t *list = json_object_get(object, "messages"), *item;
    const char *prompt = json_string_value(json_object_get(object, "prompt"));
    const char *system = json_string_value(json_object_get(object, "system"));
    size_t i;
    q->prefix = json_string_value(json_object_get(object, "prefix"));
    q->suffix = json_string_value(json_object_get(object, "suffix"));
    if (q->prefix && q->suffix)
        return DSR1_OK;
    q->prefix = NULL;
    if (prompt) {
        if (system)
            q->messages[q->n++] = (dsr1_message){"system", system};
        q->messages[q->n++] = (dsr1_message){"user", prompt};
        return DSR1_OK;
    }
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > MAX_MESSAGES)
        return broken(r, "neither \"prompt\" nor \"messages\" nor \"prefix\" and \"suffix\"");
    json_array_foreach(list, i, item) {
        const char *role = json_string_value(json_object_get(item, "role"));
        const char *content = json_string_value(json_object_get(item, "content"));
        if (!role || !content)
            return broken(r, "a message without role or content");
        q->messages[q->n++] = (dsr1_message){role, content};
    }
    return DSR1_OK;
}

static dsr1_status read_object(struct reader *r, const char *line)
{
    struct question question = {.n = 0};
    json_error_t problem;
    json_t *object = json_loads(line, 0, &problem);
    if (!json_is_object(object)) {
        json_decref(object);
        return broken(r, "no JSON object");
    }
    json_t *meta = json_object_get(object, "meta");
    char *text = meta ? json_dumps(meta, JSON_ENCODE_ANY | JSON_COMPACT) : strdup("null");
    dsr1_status status = text ? read_question(r, object, &question) : error_nomem(r->err, "the prompts");
    if (status == DSR1_OK)
        status = add(r, &question, text);
    free(text);
    json_decref(object);
    return status;
}

/* ------------------------------------------------------------------ */
/* All of them                                                         */
/* ------------------------------------------------------------------ */

static dsr1_status read_line(struct reader *r, char *line, ssize_t size, bool objects)
{
    while (size > 0 && strchr(" \t\r\n", line[size - 1]))
        line[--size] = 0;
    r->line++;
    if (size == 0)
        return DSR1_OK;
    if (strlen(line) != (size_t) size)
        return broken(r, "a zero byte");
    if (objects)
        return read_object(r, line);
    return add(r, &(struct question){.messages = {{"user", line}}, .n = 1}, "null");
}

dsr1_status prompts_open(const dsr1_model *model, const char *path, bool raw, struct prompts *prompts, dsr1_error *err)
{
    struct reader r = {.model = model, .path = path, .raw = raw, .prompts = prompts, .err = err};
    size_t length = strlen(path), room = 0;
    bool objects = length > 6 && strcmp(path + length - 6, ".jsonl") == 0;
    char *line = NULL;
    *prompts = (struct prompts){0};
    FILE *file = fopen(path, "r");
    if (!file)
        return error_errno(err, DSR1_ERR_IO, "cannot read %s", path);
    dsr1_status status = DSR1_OK;
    for (ssize_t n; status == DSR1_OK && (n = getline(&line, &room, file)) > 0;)
        status = read_line(&r, line, n, objects);
    free(line);
    fclose(file);
    if (status == DSR1_OK && prompts->n == 0)
        status = error_set(err, DSR1_ERR_FORMAT, "%s has no prompts", path);
    if (status == DSR1_OK && !(prompts->order = memory_array((size_t) prompts->n, sizeof *prompts->order)))
        status = error_nomem(err, "the prompts");
    if (status != DSR1_OK)
        prompts_close(prompts);
    return status;
}

void prompts_close(struct prompts *prompts)
{
    for (int i = 0; i < prompts->n; i++) {
        free(prompts->items[i].text);
        free(prompts->items[i].meta);
        free(prompts->items[i].tokens);
    }
    free(prompts->items);
    free(prompts->order);
    *prompts = (struct prompts){0};
}

int prompts_pick(struct prompts *p, uint64_t seed, uint64_t at)
{
    uint64_t n = (uint64_t) p->n, epoch = at / n + 1;
    if (p->epoch != epoch || p->seed != seed) {
        for (int i = 0; i < p->n; i++)
            p->order[i] = i;
        for (uint64_t i = n - 1; i > 0; i--) {
            uint64_t j = rng_at(rng_at(seed, epoch), i) % (i + 1);
            int swap = p->order[i];
            p->order[i] = p->order[j];
            p->order[j] = swap;
        }
        p->epoch = epoch;
        p->seed = seed;
    }
    return p->order[at % n];
}
