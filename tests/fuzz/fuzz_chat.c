/*
 * fuzz_chat.c - any template with any messages: what is recognised renders, and messages stay data
 *
 * The input is flags, the template up to a byte 0xFE, then messages: a byte for the
 * role and the text up to a zero. All is also read as a model's answer, once whole
 * and once in pieces, to see that its reasoning is taken apart alike.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/chat.h"

#include "fuzz/fuzz_input.h"
#include "text/reasoning.h"
#include "unit/chat_templates.h"
#include "unit/gguf_bytes.h"

#include <stdlib.h>

enum { MESSAGES_MAX = 6, FIRST_SPECIAL = 256 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gguf *vocabulary;
static struct tokenizer *tokenizer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static struct buffer file;
    gguf_bytes_begin(&file);
    gguf_bytes_tokenizer(&file, "deepseek-v3", chat_specials, CHAT_SPECIALS, 3);
    gguf_bytes_int(&file, "tokenizer.ggml.bos_token_id", FIRST_SPECIAL);
    gguf_bytes_int(&file, "tokenizer.ggml.eos_token_id", FIRST_SPECIAL + 1);
    if (gguf_open_memory(file.data, file.size, &vocabulary, NULL) != DSR1_OK ||
        tokenizer_open(vocabulary, &tokenizer, NULL) != DSR1_OK)
        abort();
    return 0;
}

/* Room of its own for each text, so that a read behind its end is seen. */
static size_t read_messages(struct fuzz_input *in, dsr1_message *messages)
{
    static const char *const roles[] = {"user", "assistant", "system", "user", "assistant", "tool", "", NULL};
    size_t n = 0;
    for (; n < MESSAGES_MAX && in->left; n++) {
        size_t size;
        const char *role = roles[fuzz_input_byte(in) % 8];
        const uint8_t *text = fuzz_input_until(in, 0, &size);
        char *content = malloc(size + 1);
        if (!content)
            abort();
        memcpy(content, text, size);
        content[size] = 0;
        messages[n] = (dsr1_message){role, content};
    }
    return n;
}

/* Pieces lie in order inside of the prompt, each a part of a message. */
static void check_segments(const struct buffer *out, const struct chat_segments *segments,
                           const dsr1_message *messages, size_t n)
{
    size_t end = 0;
    for (size_t i = 0; i < segments->n; i++) {
        size_t at = segments->pairs[2 * i], size = segments->pairs[2 * i + 1];
        bool found = false;
        if (at < end || size == 0 || at + size > out->size)
            abort();
        for (size_t m = 0; m < n && !found; m++)
            found = memmem(messages[m].content, strlen(messages[m].content), out->data + at, size);
        if (!found)
            abort();
        end = at + size;
    }
}

static void check_ids(const struct chat_template *t, const dsr1_message *messages, size_t n, int flags,
                      const struct buffer *out, const struct chat_segments *segments)
{
    static const char empty[] = "";
    const char *text = out->size ? out->data : empty;
    ptrdiff_t n_ids = chat_encode(t, tokenizer, messages, n, flags, NULL, 0, NULL);
    if (n_ids < 0)
        abort();
    int32_t *ids = malloc(((size_t) n_ids + 1) * sizeof *ids);
    if (!ids || chat_encode(t, tokenizer, messages, n, flags, ids, (size_t) n_ids, NULL) != n_ids)
        abort();
    /* No special token has a byte of a message in it. */
    size_t at = 0, s = 0;
    bool exact = tokenizer_decode(tokenizer, ids, (size_t) n_ids, true, NULL, 0) == out->size;
    for (ptrdiff_t i = 0; i < n_ids && exact; i++) {
        size_t size = tokenizer_token_bytes(tokenizer, ids[i], true, NULL, 0);
        while (s < segments->n && segments->pairs[2 * s] + segments->pairs[2 * s + 1] <= at)
            s++;
        if (ids[i] >= FIRST_SPECIAL && s < segments->n && segments->pairs[2 * s] < at + size)
            abort();
        at += size;
    }
    if (tokenizer_encode_data(tokenizer, text, out->size, NULL, 0, DSR1_PARSE_SPECIAL, NULL, 0) < 0)
        abort();
    free(ids);
}

static void check_chat(const struct chat_template *t, const dsr1_message *messages, size_t n, int flags)
{
    struct buffer out = {0};
    struct chat_segments segments = {0};
    dsr1_error err = {0};
    dsr1_status status = chat_render(t, messages, n, flags, &out, &segments, &err);
    if (status == DSR1_OK) {
        check_segments(&out, &segments, messages, n);
        check_ids(t, messages, n, flags, &out, &segments);
    } else if (status != DSR1_ERR_UNSUPPORTED || err.message[0] == 0) {
        abort();
    }
    free(segments.pairs);
    buffer_free(&out);
}

static void check_reasoning(const uint8_t *data, size_t size, bool inside)
{
    struct reasoning whole, pieces;
    struct buffer thought[2] = {{0}, {0}}, answer[2] = {{0}, {0}};
    const char *text = (const char *) data;
    reasoning_begin(&whole, inside);
    reasoning_feed(&whole, text, size, &thought[0], &answer[0]);
    bool over = reasoning_end(&whole, &thought[0], &answer[0]);
    reasoning_begin(&pieces, inside);
    for (size_t at = 0, n; at < size; at += n) {
        n = data[at] % 5;
        n = n < size - at ? n : size - at;
        reasoning_feed(&pieces, text + at, n, &thought[1], &answer[1]);
        reasoning_feed(&pieces, text + at + n, n < size - at, &thought[1], &answer[1]);
        n += n < size - at;
    }
    if (reasoning_end(&pieces, &thought[1], &answer[1]) != over || thought[0].size != thought[1].size ||
        answer[0].size != answer[1].size || thought[0].size + answer[0].size > size)
        abort();
    if (thought[0].size && memcmp(thought[0].data, thought[1].data, thought[0].size) != 0)
        abort();
    if (answer[0].size && memcmp(answer[0].data, data + size - answer[0].size, answer[0].size) != 0)
        abort();
    for (int i = 0; i < 2; i++) {
        buffer_free(&thought[i]);
        buffer_free(&answer[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buffer file;
    struct fuzz_input in = {data, size};
    dsr1_message messages[MESSAGES_MAX];
    struct gguf *gguf;
    struct chat_template t;
    size_t n_template;
    int flags = fuzz_input_byte(&in) & (DSR1_CHAT_ANSWER | DSR1_CHAT_NO_THINK);
    const uint8_t *template = fuzz_input_until(&in, 0xfe, &n_template);
    check_reasoning(data, size, flags & DSR1_CHAT_ANSWER);

    gguf_bytes_begin(&file);
    gguf_bytes_text(&file, "tokenizer.chat_template", template, n_template);
    if (file.failed || gguf_open_memory(file.data, file.size, &gguf, NULL) != DSR1_OK ||
        chat_template_open(gguf, tokenizer, &t, NULL) != DSR1_OK)
        abort();
    size_t n = read_messages(&in, messages);
    check_chat(&t, messages, n, flags);
    for (size_t i = 0; i < n; i++)
        free((void *) (uintptr_t) messages[i].content);
    chat_template_close(&t);
    gguf_close(gguf);
    return 0;
}
