/*
 * chat.c - messages to the exact prompt a model was trained on
 *
 * One renderer per family. What comes from a message is appended by data(), which
 * notes its place: the rest is the template's own text, and only there may a
 * control token's text become that token.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/chat.h"

#include "base/error.h"
#include "base/memory.h"
#include "text/char_class.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

#define THINK "<think>"
#define THINK_END "</think>"
#define NO_THOUGHT THINK "\n\n" THINK_END "\n\n"

enum role { SYSTEM, USER, ASSISTANT, ROLES };

struct render {
    const struct chat_template *t;
    const dsr1_message *messages;
    size_t n;
    bool prompt, no_think;
    struct buffer *out;
    struct chat_segments *segments;
    bool failed;
};

struct span {
    const char *bytes;
    size_t size;
};

/* ------------------------------------------------------------------ */
/* Pieces of messages                                                  */
/* ------------------------------------------------------------------ */

static int role_of(const dsr1_message *message)
{
    static const char *const names[ROLES] = {"system", "user", "assistant"};
    for (int role = 0; role < ROLES; role++)
        if (message->role && strcmp(message->role, names[role]) == 0)
            return role;
    return -1;
}

static struct span content_of(const dsr1_message *message)
{
    return (struct span){message->content, strlen(message->content)};
}

/* Python's strip(): white space of Unicode at both ends. */
static struct span strip(struct span text)
{
    uint32_t code;
    size_t n;
    while ((n = utf8_decode((const uint8_t *) text.bytes, text.size, &code)) && char_is_space(code)) {
        text.bytes += n;
        text.size -= n;
    }
    while (text.size) {
        for (n = 1; n < 4 && n < text.size && ((uint8_t) text.bytes[text.size - n] & 0xc0) == 0x80;)
            n++;
        const uint8_t *last = (const uint8_t *) text.bytes + text.size - n;
        if (utf8_decode(last, n, &code) != n || !char_is_space(code))
            break;
        text.size -= n;
    }
    return text;
}

static struct span strip_newlines(struct span text, bool left, bool right)
{
    while (left && text.size && text.bytes[0] == '\n') {
        text.bytes++;
        text.size--;
    }
    while (right && text.size && text.bytes[text.size - 1] == '\n')
        text.size--;
    return text;
}

static const char *find(struct span in, const char *what)
{
    return memmem(in.bytes, in.size, what, strlen(what));
}

static struct span behind_last(struct span text, const char *what)
{
    for (const char *at; (at = find(text, what));) {
        at += strlen(what);
        text = (struct span){at, text.size - (size_t) (at - text.bytes)};
    }
    return text;
}

static struct span behind_first(struct span text, const char *what)
{
    const char *at = find(text, what);
    if (!at)
        return text;
    at += strlen(what);
    return (struct span){at, text.size - (size_t) (at - text.bytes)};
}

/* ------------------------------------------------------------------ */
/* Output                                                              */
/* ------------------------------------------------------------------ */

static void own(struct render *r, const char *text)
{
    buffer_string(r->out, text);
}

static void data(struct render *r, struct span text)
{
    struct chat_segments *s = r->segments;
    if (s && text.size) {
        if (s->n == s->capacity) {
            size_t capacity = s->capacity ? 2 * s->capacity : 8;
            size_t *pairs = memory_resize(s->pairs, capacity, 2 * sizeof *pairs);
            if (!pairs) {
                r->failed = true;
                return;
            }
            s->pairs = pairs;
            s->capacity = capacity;
        }
        s->pairs[2 * s->n] = r->out->size;
        s->pairs[2 * s->n + 1] = text.size;
        s->n++;
    }
    buffer_append(r->out, text.bytes, text.size);
}

static void content(struct render *r, const dsr1_message *message)
{
    struct span text = content_of(message);
    data(r, r->t->trims ? strip(text) : text);
}

/* ------------------------------------------------------------------ */
/* Families                                                            */
/* ------------------------------------------------------------------ */

/* Position of the last question; n where there is none. */
static size_t last_question(const struct render *r)
{
    size_t last = r->n;
    for (size_t i = 0; i < r->n; i++) {
        struct span text = content_of(&r->messages[i]);
        static const char open[] = "<tool_response>", close[] = "</tool_response>";
        bool is_answer_of_tool = text.size >= strlen(open) + strlen(close) &&
                                 memcmp(text.bytes, open, strlen(open)) == 0 &&
                                 memcmp(text.bytes + text.size - strlen(close), close, strlen(close)) == 0;
        if (role_of(&r->messages[i]) == USER && !is_answer_of_tool)
            last = i;
    }
    return last;
}

/* An answer's reasoning: between the last <think> and the first </think>. */
static struct span reasoning_of(struct span text)
{
    const char *end = find(text, THINK_END);
    if (!end)
        return (struct span){text.bytes, 0};
    struct span reasoning = {text.bytes, (size_t) (end - text.bytes)};
    return strip_newlines(behind_last(strip_newlines(reasoning, false, true), THINK), true, true);
}

static void chatml_answer(struct render *r, size_t i, size_t question)
{
    struct span text = content_of(&r->messages[i]);
    struct span answer = find(text, THINK_END) ? strip_newlines(behind_last(text, THINK_END), true, false) : text;
    struct span reasoning = reasoning_of(text);
    if (r->t->keeps_last_reasoning && i > question && (i + 1 == r->n || reasoning.size)) {
        own(r, THINK "\n");
        data(r, reasoning);
        own(r, "\n" THINK_END "\n\n");
        answer = strip_newlines(answer, true, false);
    }
    data(r, r->t->trims ? strip(answer) : answer);
}

static void render_chatml(struct render *r)
{
    static const char *const heads[ROLES] = {
        "<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n",
    };
    size_t question = last_question(r);
    if (r->t->writes_bos)
        own(r, r->t->bos);
    if (r->t->default_system && (r->n == 0 || role_of(&r->messages[0]) != SYSTEM)) {
        own(r, heads[SYSTEM]);
        own(r, r->t->default_system);
        own(r, "<|im_end|>\n");
    }
    for (size_t i = 0; i < r->n; i++) {
        int role = role_of(&r->messages[i]);
        own(r, heads[role]);
        if (role == ASSISTANT && r->t->drops_reasoning)
            chatml_answer(r, i, question);
        else
            content(r, &r->messages[i]);
        own(r, "<|im_end|>\n");
    }
    if (r->prompt)
        own(r, heads[ASSISTANT]);
    if (r->prompt && r->no_think && (r->t->opens_reasoning || r->t->keeps_last_reasoning))
        own(r, NO_THOUGHT);
    else if (r->prompt && r->t->opens_reasoning)
        own(r, THINK "\n");
}

static void render_llama3(struct render *r)
{
    static const char *const heads[ROLES] = {
        "<|start_header_id|>system<|end_header_id|>\n\n",
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    };
    size_t from = 0;
    if (r->t->writes_bos)
        own(r, r->t->bos);
    if (r->t->preface) {
        own(r, heads[SYSTEM]);
        own(r, r->t->preface);
        if (r->n && role_of(&r->messages[0]) == SYSTEM)
            content(r, &r->messages[from++]);
        own(r, "<|eot_id|>");
    }
    for (size_t i = from; i < r->n; i++) {
        own(r, heads[role_of(&r->messages[i])]);
        content(r, &r->messages[i]);
        own(r, "<|eot_id|>");
    }
    if (r->prompt)
        own(r, heads[ASSISTANT]);
}

static void render_coder(struct render *r)
{
    bool has_system = false;
    for (size_t i = 0; i < r->n; i++)
        has_system |= role_of(&r->messages[i]) == SYSTEM;
    own(r, r->t->bos);
    if (!has_system && r->t->default_system)
        own(r, r->t->default_system);
    for (size_t i = 0; i < r->n; i++) {
        int role = role_of(&r->messages[i]);
        own(r, role == USER ? "### Instruction:\n" : role == ASSISTANT ? "### Response:\n" : "");
        content(r, &r->messages[i]);
        own(r, role == USER ? "\n" : role == ASSISTANT ? "\n<|EOT|>\n" : "");
    }
    if (r->prompt)
        own(r, r->t->newline_at_end ? "### Response:\n" : "### Response:");
}

static void render_v2(struct render *r)
{
    own(r, r->t->bos);
    for (size_t i = 0; i < r->n; i++) {
        int role = role_of(&r->messages[i]);
        own(r, role == USER ? "User: " : role == ASSISTANT ? "Assistant: " : "");
        content(r, &r->messages[i]);
        own(r, role == ASSISTANT ? r->t->eos : "\n\n");
    }
    if (r->prompt)
        own(r, "Assistant:");
}

/* All system messages come first, wherever they stand. */
static void deepseek_system(struct render *r)
{
    size_t last = r->n;
    bool first = true;
    for (size_t i = 0; i < r->n; i++)
        if (role_of(&r->messages[i]) == SYSTEM)
            last = i;
    for (size_t i = 0; i < r->n; i++) {
        if (role_of(&r->messages[i]) != SYSTEM || (i != last && !r->t->joins_systems))
            continue;
        own(r, first ? "" : "\n\n");
        content(r, &r->messages[i]);
        first = false;
    }
}

/* V3, V3.1 and R1. Their templates name the end token themselves instead of asking the tokenizer. */
static void render_deepseek(struct render *r)
{
    own(r, r->t->bos);
    deepseek_system(r);
    for (size_t i = 0; i < r->n; i++) {
        int role = role_of(&r->messages[i]);
        struct span text = content_of(&r->messages[i]);
        if (role == USER) {
            own(r, "<｜User｜>");
            data(r, text);
        } else if (role == ASSISTANT) {
            own(r, "<｜Assistant｜>");
            own(r, r->t->closes_reasoning ? THINK_END : "");
            data(r, !r->t->drops_reasoning   ? text
                    : r->t->closes_reasoning ? behind_first(text, THINK_END)
                                             : behind_last(text, THINK_END));
            own(r, "<｜end▁of▁sentence｜>");
        }
    }
    if (!r->prompt)
        return;
    own(r, "<｜Assistant｜>");
    own(r, r->t->closes_reasoning                               ? THINK_END
           : r->no_think && r->t->family == CHAT_DEEPSEEK_R1     ? NO_THOUGHT
           : r->t->opens_reasoning                               ? THINK "\n"
                                                                 : "");
}

/* ------------------------------------------------------------------ */
/* Rendering and encoding                                              */
/* ------------------------------------------------------------------ */

static dsr1_status check_messages(const dsr1_message *messages, size_t n, dsr1_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!messages[i].role || role_of(&messages[i]) < 0)
            return error_set(err, DSR1_ERR_UNSUPPORTED, "message %zu: role \"%.40s\"; known are system, user, assistant",
                             i, messages[i].role ? messages[i].role : "");
        if (!messages[i].content)
            return error_set(err, DSR1_ERR_ARGUMENT, "message %zu: no content", i);
    }
    return DSR1_OK;
}

dsr1_status chat_render(const struct chat_template *t, const dsr1_message *messages, size_t n_messages,
                        int flags, struct buffer *out, struct chat_segments *segments, dsr1_error *err)
{
    static void (*const renderers[CHAT_FAMILIES])(struct render *) = {
        [CHAT_CHATML] = render_chatml,
        [CHAT_LLAMA3] = render_llama3,
        [CHAT_DEEPSEEK_CODER] = render_coder,
        [CHAT_DEEPSEEK_V2] = render_v2,
        [CHAT_DEEPSEEK_V3] = render_deepseek,
        [CHAT_DEEPSEEK_R1] = render_deepseek,
    };
    struct render r = {
        t, messages, n_messages, flags & DSR1_CHAT_ANSWER, flags & DSR1_CHAT_NO_THINK, out, segments, false,
    };
    if (!renderers[t->family])
        return error_set(err, DSR1_ERR_UNSUPPORTED,
                         "the model's chat template is of no known family: give the finished prompt as plain text");
    dsr1_status status = check_messages(messages, n_messages, err);
    if (status < 0)
        return status;
    renderers[t->family](&r);
    return r.failed || out->failed ? error_nomem(err, "a prompt") : DSR1_OK;
}

static ptrdiff_t encoded(ptrdiff_t n, dsr1_error *err)
{
    return n < 0 ? error_set(err, (dsr1_status) n, "a prompt cannot be tokenised: %s",
                             dsr1_status_name((dsr1_status) n))
                 : n;
}

ptrdiff_t chat_encode(const struct chat_template *t, const struct tokenizer *tokenizer, const dsr1_message *messages,
                      size_t n_messages, int flags, int32_t *tokens, size_t capacity, dsr1_error *err)
{
    struct buffer out = {0};
    struct chat_segments segments = {0};
    ptrdiff_t n = chat_render(t, messages, n_messages, flags, &out, &segments, err);
    if (n == DSR1_OK)
        n = encoded(tokenizer_encode_data(tokenizer, out.data ? out.data : "", out.size, segments.pairs, segments.n,
                                          DSR1_PARSE_SPECIAL, tokens, capacity), err);
    buffer_free(&out);
    free(segments.pairs);
    return n;
}

/* One id, or a text without special parsing, behind the n ids that are there. Returns their number or an error. */
static ptrdiff_t add_id(int32_t id, ptrdiff_t n, int32_t *tokens, size_t capacity)
{
    if ((size_t) n < capacity)
        tokens[n] = id;
    return n + 1;
}

static ptrdiff_t add_text(const struct tokenizer *tokenizer, const char *text, size_t size, ptrdiff_t n,
                          int32_t *tokens, size_t capacity)
{
    size_t room = (size_t) n < capacity ? capacity - (size_t) n : 0;
    ptrdiff_t more = tokenizer_encode(tokenizer, text, size, 0, room ? tokens + n : NULL, room);
    return more < 0 ? more : n + more;
}

/*
 * PREFIX prefix SUFFIX suffix MIDDLE, or, of the same tokens, PREFIX SUFFIX suffix MIDDLE prefix (Bavarian et al.,
 * arXiv:2207.14255, section 3: "SPM variant 2").
 */
ptrdiff_t fim_encode(const struct tokenizer *tokenizer, const char *prefix, size_t prefix_size, const char *suffix,
                     size_t suffix_size, int32_t *tokens, size_t capacity, dsr1_error *err)
{
    int32_t ids[3] = {tokenizer_fim_prefix(tokenizer), tokenizer_fim_suffix(tokenizer),
                      tokenizer_fim_middle(tokenizer)};
    bool suffix_first = tokenizer_fim_suffix_first(tokenizer);
    ptrdiff_t n = 0;
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0)
        return error_set(err, DSR1_ERR_UNSUPPORTED, "the vocabulary has no tokens for filling in the middle");
    if (tokenizer_adds_bos(tokenizer))
        n = add_id(tokenizer_bos(tokenizer), n, tokens, capacity);
    n = add_id(ids[0], n, tokens, capacity);
    if (!suffix_first)
        n = add_text(tokenizer, prefix, prefix_size, n, tokens, capacity);
    if (n >= 0) {
        n = add_id(ids[1], n, tokens, capacity);
        n = add_text(tokenizer, suffix, suffix_size, n, tokens, capacity);
    }
    if (n >= 0)
        n = add_id(ids[2], n, tokens, capacity);
    if (n >= 0 && suffix_first)
        n = add_text(tokenizer, prefix, prefix_size, n, tokens, capacity);
    return encoded(n, err);
}
