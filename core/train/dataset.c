/*
 * dataset.c - files to sequences of tokens, and the order in which they are learned
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/dataset.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "text/chat.h"
#include "train/checkpoint.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGES = 256, READ_SIZE = 1 << 16 };

struct reader {
    struct tokenizer *tokenizer;
    struct chat_template template;
    struct buffer tokens, counts, starts;   /* int32_t, uint8_t, int64_t */
    int n_tokens;
    const char *file;
    int line;
    dsr1_error *err;
};

static dsr1_status broken(const struct reader *r, const char *why)
{
    return error_set(r->err, DSR1_ERR_FORMAT, "%s line %d: %s", r->file, r->line, why);
}

/* ------------------------------------------------------------------ */
/* Sequences                                                           */
/* ------------------------------------------------------------------ */

static void add_sequence(struct reader *r, const int32_t *tokens, const uint8_t *counts, size_t n)
{
    int64_t start = (int64_t) (r->tokens.size / sizeof *tokens);
    buffer_append(&r->starts, &start, sizeof start);
    buffer_append(&r->tokens, tokens, n * sizeof *tokens);
    uint8_t first = DATASET_MUTE;
    buffer_append(&r->counts, &first, 1);
    for (size_t i = 1; i < n; i++) {
        uint8_t one = counts ? counts[i] : DATASET_COUNTS;
        buffer_append(&r->counts, &one, 1);
    }
}

/* Windows of n_tokens; the last one may be shorter. */
static void add_windows(struct reader *r, const int32_t *tokens, size_t n)
{
    int32_t *window = memory_array((size_t) r->n_tokens, sizeof *window);
    bool bos = tokenizer_adds_bos(r->tokenizer) && tokenizer_bos(r->tokenizer) >= 0;
    size_t room = (size_t) r->n_tokens - bos;
    for (size_t first = 0; window && first < n; first += room) {
        size_t m = n - first < room ? n - first : room;
        if (m < DATASET_SHORTEST)
            break;
        if (bos)
            window[0] = tokenizer_bos(r->tokenizer);
        memcpy(window + bos, tokens + first, m * sizeof *tokens);
        add_sequence(r, window, NULL, m + bos);
    }
    r->tokens.failed |= !window;
    free(window);
}

static dsr1_status add_text(struct reader *r, const char *text, size_t size)
{
    ptrdiff_t n = tokenizer_encode(r->tokenizer, text, size, 0, NULL, 0);
    int32_t *tokens = n > 0 ? memory_array((size_t) n, sizeof *tokens) : NULL;
    if (n > 0 && !tokens)
        return error_nomem(r->err, "the tokens of a text");
    if (n > 0)
        n = tokenizer_encode(r->tokenizer, text, size, 0, tokens, (size_t) n);
    if (n > 0)
        add_windows(r, tokens, (size_t) n);
    free(tokens);
    return n < 0 ? error_set(r->err, (dsr1_status) n, "%s: cannot tokenise", r->file) : DSR1_OK;
}

/* ------------------------------------------------------------------ */
/* Conversations                                                       */
/* ------------------------------------------------------------------ */

/* Tokens up to an answer, and up to its end; what lies between counts. */
static dsr1_status mark_answer(struct reader *r, const dsr1_message *messages, size_t answer, const int32_t *tokens,
                               size_t n, int32_t *room, uint8_t *counts)
{
    ptrdiff_t from = chat_encode(&r->template, r->tokenizer, messages, answer, true, room, n, r->err);
    if (from < 0)
        return (dsr1_status) from;
    size_t same = 0, to;
    while (same < (size_t) from && same < n && room[same] == tokens[same])
        same++;
    ptrdiff_t end = chat_encode(&r->template, r->tokenizer, messages, answer + 1, false, NULL, 0, r->err);
    if (end < 0)
        return (dsr1_status) end;
    to = (size_t) end < n ? (size_t) end : n;
    for (size_t i = same; i < to; i++)
        counts[i] = DATASET_COUNTS;
    return DSR1_OK;
}

static dsr1_status add_messages(struct reader *r, const dsr1_message *messages, size_t n_messages)
{
    ptrdiff_t n = chat_encode(&r->template, r->tokenizer, messages, n_messages, false, NULL, 0, r->err);
    if (n <= 0)
        return n < 0 ? (dsr1_status) n : DSR1_OK;
    int32_t *tokens = memory_array(2 * (size_t) n, sizeof *tokens);
    uint8_t *counts = memory_array((size_t) n, 1);
    dsr1_status status = tokens && counts ? DSR1_OK : error_nomem(r->err, "a conversation");
    if (status == DSR1_OK)
        chat_encode(&r->template, r->tokenizer, messages, n_messages, false, tokens, (size_t) n, r->err);
    for (size_t i = 0; i < n_messages && status == DSR1_OK; i++)
        if (strcmp(messages[i].role, "assistant") == 0)
            status = mark_answer(r, messages, i, tokens, (size_t) n, tokens + n, counts);
    if (status == DSR1_OK)
        add_sequence(r, tokens, counts, (size_t) n < (size_t) r->n_tokens ? (size_t) n : (size_t) r->n_tokens);
    free(tokens);
    free(counts);
    return status;
}

static dsr1_status add_conversation(struct reader *r, const json_t *list)
{
    dsr1_message messages[MAX_MESSAGES];
    size_t n = json_array_size(list);
    if (n == 0 || n > MAX_MESSAGES)
        return broken(r, "\"messages\" is no list of 1 to 256 messages");
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(list, i);
        messages[i] = (dsr1_message){json_string_value(json_object_get(message, "role")),
                                     json_string_value(json_object_get(message, "content"))};
        if (!messages[i].role || !messages[i].content)
            return broken(r, "a message without \"role\" and \"content\"");
    }
    return add_messages(r, messages, n);
}

/* ------------------------------------------------------------------ */
/* Filling in the middle                                               */
/* ------------------------------------------------------------------ */

/* `asked` tokens that ask for a middle, then the middle and the end, n in all: the prefix loses what is too much. */
static dsr1_status add_asked(struct reader *r, int32_t *tokens, size_t n, size_t asked)
{
    size_t first = 0, excess = n > (size_t) r->n_tokens ? n - (size_t) r->n_tokens : 0;
    int32_t before = tokenizer_fim_suffix_first(r->tokenizer) ? tokenizer_fim_middle(r->tokenizer)
                                                              : tokenizer_fim_prefix(r->tokenizer);
    while (tokens[first++] != before) {
    }
    for (size_t i = first; i < first + excess; i++)
        if (i >= asked || tokens[i] == tokenizer_fim_suffix(r->tokenizer))
            return broken(r, "suffix and middle are longer than a sequence");
    memmove(tokens + first, tokens + first + excess, (n - first - excess) * sizeof *tokens);
    uint8_t *counts = memory_array(n, 1);
    if (!counts)
        return error_nomem(r->err, "a middle");
    memset(counts + asked - excess, DATASET_MIDDLE, n - asked);
    add_sequence(r, tokens, counts, n - excess);
    free(counts);
    return DSR1_OK;
}

static dsr1_status add_middle(struct reader *r, const json_t *prefix, const json_t *suffix, const json_t *middle)
{
    const char *p = json_string_value(prefix), *s = json_string_value(suffix), *m = json_string_value(middle);
    size_t p_size = json_string_length(prefix), s_size = json_string_length(suffix), m_size = json_string_length(middle);
    ptrdiff_t asked = fim_encode(r->tokenizer, p, p_size, s, s_size, NULL, 0, r->err);
    if (asked < 0)
        return (dsr1_status) asked;
    ptrdiff_t more = tokenizer_encode(r->tokenizer, m, m_size, 0, NULL, 0);
    if (more < 0)
        return error_set(r->err, (dsr1_status) more, "%s: cannot tokenise", r->file);
    size_t n = (size_t) asked + (size_t) more;
    int32_t *tokens = memory_array(n + 1, sizeof *tokens);
    if (!tokens)
        return error_nomem(r->err, "a middle");
    fim_encode(r->tokenizer, p, p_size, s, s_size, tokens, (size_t) asked, r->err);
    tokenizer_encode(r->tokenizer, m, m_size, 0, tokens + asked, (size_t) more);
    if (tokenizer_eos(r->tokenizer) >= 0)
        tokens[n++] = tokenizer_eos(r->tokenizer);
    dsr1_status status = add_asked(r, tokens, n, (size_t) asked);
    free(tokens);
    return status;
}

static dsr1_status add_object(struct reader *r, const json_t *object)
{
    const json_t *prefix = json_object_get(object, "prefix"), *suffix = json_object_get(object, "suffix");
    const json_t *middle = json_object_get(object, "middle");
    const json_t *text = json_object_get(object, "text"), *list = json_object_get(object, "messages");
    const char *prompt = json_string_value(json_object_get(object, "prompt"));
    const char *completion = json_string_value(json_object_get(object, "completion"));
    if (json_is_string(text))
        return add_text(r, json_string_value(text), json_string_length(text));
    if (list)
        return add_conversation(r, list);
    if (json_is_string(prefix) && json_is_string(suffix) && json_is_string(middle))
        return add_middle(r, prefix, suffix, middle);
    if (!prompt || !completion)
        return broken(r, "neither \"text\", \"messages\", \"prompt\" and \"completion\" nor \"prefix\", \"suffix\" and \"middle\"");
    return add_messages(r, (const dsr1_message[]){{"user", prompt}, {"assistant", completion}}, 2);
}

static dsr1_status add_lines(struct reader *r, const char *bytes, size_t size)
{
    dsr1_status status = DSR1_OK;
    for (size_t at = 0; at < size && status == DSR1_OK;) {
        const char *end = memchr(bytes + at, '\n', size - at);
        size_t n = end ? (size_t) (end - (bytes + at)) : size - at;
        r->line++;
        if (strspn(bytes + at, " \t\r") < n) {
            json_error_t why;
            json_t *object = json_loadb(bytes + at, n, 0, &why);
            status = object ? add_object(r, object) : broken(r, why.text);
            json_decref(object);
        }
        at += n + 1;
    }
    return status;
}

/* ------------------------------------------------------------------ */
/* Files                                                               */
/* ------------------------------------------------------------------ */

static dsr1_status read_file(const char *path, struct buffer *bytes, dsr1_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_errno(err, DSR1_ERR_IO, "cannot open %s", path);
    size_t n = READ_SIZE;
    while (n == READ_SIZE && !bytes->failed) {
        char *to = buffer_reserve(bytes, READ_SIZE);
        n = to ? fread(to, 1, READ_SIZE, file) : 0;
        bytes->size += n;
    }
    dsr1_status status = DSR1_OK;
    if (ferror(file))
        status = error_errno(err, DSR1_ERR_IO, "cannot read %s", path);
    else if (bytes->failed)
        status = error_nomem(err, path);
    fclose(file);
    if (status == DSR1_OK)
        buffer_append(bytes, "", 1);    /* so that strspn stops */
    return status;
}

static dsr1_status add_file(struct reader *r, const char *path)
{
    struct buffer bytes = {0};
    size_t n = strlen(path);
    r->file = path;
    r->line = 0;
    dsr1_status status = read_file(path, &bytes, r->err);
    if (status == DSR1_OK && n > 6 && strcmp(path + n - 6, ".jsonl") == 0)
        status = add_lines(r, bytes.data, bytes.size - 1);
    else if (status == DSR1_OK)
        status = add_text(r, bytes.data, bytes.size - 1);
    buffer_free(&bytes);
    return status;
}

/* Sequences without a token that counts teach nothing. */
static void drop_mute(struct dataset *d)
{
    int kept = 0;
    int64_t end = 0;
    for (int s = 0; s < d->n_seqs; s++) {
        int64_t from = d->start[s], n = d->start[s + 1] - from, some = 0;
        for (int64_t i = from; i < from + n; i++)
            some += d->counts[i] != DATASET_MUTE;
        if (some == 0)
            continue;
        memmove(d->tokens + end, d->tokens + from, (size_t) n * sizeof *d->tokens);
        memmove(d->counts + end, d->counts + from, (size_t) n);
        d->start[kept++] = end;
        end += n;
        d->longest = n > d->longest ? (int) n : d->longest;
    }
    d->start[kept] = end;
    d->n_seqs = kept;
}

static dsr1_status finish(struct reader *r, struct dataset *d, int n_eval, uint64_t seed)
{
    int64_t end = (int64_t) (r->tokens.size / sizeof *d->tokens);
    size_t n = r->starts.size / sizeof end;
    buffer_append(&r->starts, &end, sizeof end);
    if (r->tokens.failed || r->counts.failed || r->starts.failed)
        return error_nomem(r->err, "the training data");
    if (n > INT_MAX / 2)
        return error_set(r->err, DSR1_ERR_LIMIT, "too many sequences");
    /* The arrays change hands. */
    *d = (struct dataset){.n_seqs = (int) n, .start = (int64_t *) (void *) r->starts.data,
                          .tokens = (int32_t *) (void *) r->tokens.data, .counts = (uint8_t *) r->counts.data,
                          .n_eval = n_eval};
    r->starts = r->tokens = r->counts = (struct buffer){0};
    drop_mute(d);
    if (d->n_seqs <= n_eval) {
        int had = d->n_seqs;
        dataset_close(d);
        return error_set(r->err, DSR1_ERR_ARGUMENT, "%d sequences in the data, %d set aside: nothing to train on", had,
                         n_eval);
    }
    d->hash = checkpoint_hash(seed, d->tokens, (size_t) d->start[d->n_seqs] * sizeof *d->tokens);
    d->hash = checkpoint_hash(d->hash, d->counts, (size_t) d->start[d->n_seqs]);
    return DSR1_OK;
}

dsr1_status dataset_open(const struct gguf *model, const char *const *files, size_t n_files, int n_tokens, int n_eval,
                         uint64_t seed, struct dataset *data, dsr1_error *err)
{
    struct reader r = {.n_tokens = n_tokens, .err = err};
    *data = (struct dataset){0};
    if (n_tokens < DATASET_SHORTEST || n_eval < 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "sequences of %d tokens are too short", n_tokens);
    dsr1_status status = tokenizer_open(model, &r.tokenizer, err);
    if (status == DSR1_OK)
        status = chat_template_open(model, r.tokenizer, &r.template, err);
    for (size_t i = 0; i < n_files && status == DSR1_OK; i++)
        status = add_file(&r, files[i]);
    if (status == DSR1_OK)
        status = finish(&r, data, n_eval, seed);
    buffer_free(&r.tokens);
    buffer_free(&r.counts);
    buffer_free(&r.starts);
    chat_template_close(&r.template);
    tokenizer_close(r.tokenizer);
    return status;
}

void dataset_close(struct dataset *data)
{
    free(data->start);
    free(data->tokens);
    free(data->counts);
    *data = (struct dataset){0};
}

/* ------------------------------------------------------------------ */
/* Order                                                               */
/* ------------------------------------------------------------------ */

/*
 * A permutation of n numbers that can be asked for one place at a time: a small Feistel network over the next power of
 * four, walked until it falls below n.
 */
static uint64_t permute(uint64_t seed, uint64_t n, uint64_t i)
{
    unsigned half = 1;
    while (((uint64_t) 1 << (2 * half)) < n)
        half++;
    uint64_t mask = ((uint64_t) 1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t next = left ^ (rng_at(seed, round << 40 | right) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

/* Places 0 .. n_eval - 1 of this order, which never changes, are set aside. */
static int place(const struct dataset *d, uint64_t i)
{
    return (int) permute(d->hash, (uint64_t) d->n_seqs, i);
}

int dataset_eval(const struct dataset *data, int i)
{
    return place(data, (uint64_t) i);
}

void dataset_pick(const struct dataset *data, uint64_t seed, uint64_t first, int n, int *seqs)
{
    uint64_t n_train = (uint64_t) (data->n_seqs - data->n_eval);
    for (int i = 0; i < n; i++) {
        uint64_t at = first + (uint64_t) i, epoch = at / n_train;
        seqs[i] = place(data, (uint64_t) data->n_eval + permute(rng_at(seed, epoch), n_train, at % n_train));
    }
}
