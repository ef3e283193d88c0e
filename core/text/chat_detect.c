/*
 * chat_detect.c - which family of templates a file's chat template belongs to
 *
 * Templates are programs in Jinja. None is run here: what a family's templates
 * have in common is known, and what they differ in stands in them as texts that
 * can be looked for. Newlines inside of a template's strings are written as
 * themselves or as \n; both are found.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/chat.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define USER "<｜User｜>"
#define ASSISTANT "<｜Assistant｜>"
#define END "<｜end▁of▁sentence｜>"

static const char *find(struct gguf_string in, const char *what)
{
    return in.size ? memmem(in.bytes, in.size, what, strlen(what)) : NULL;
}

static bool has(struct gguf_string in, const char *what)
{
    return find(in, what) != NULL;
}

/* What follows the first `what`; empty where it is absent. */
static struct gguf_string behind(struct gguf_string in, const char *what)
{
    const char *at = find(in, what);
    if (!at)
        return (struct gguf_string){in.bytes + in.size, 0};
    at += strlen(what);
    return (struct gguf_string){at, in.size - (size_t) (at - in.bytes)};
}

static bool begins(struct gguf_string text, const char *with)
{
    size_t size = strlen(with);
    return text.size >= size && memcmp(text.bytes, with, size) == 0;
}

/* The bytes that a newline has here: itself or \n; 0 for none. */
static size_t newline(struct gguf_string text)
{
    return begins(text, "\n") ? 1 : begins(text, "\\n") ? 2 : 0;
}

/* `what` and a newline somewhere in the template. */
static bool has_line(struct gguf_string in, const char *what)
{
    for (in = behind(in, what); in.size; in = behind(in, what))
        if (newline(in))
            return true;
    return false;
}

/*
 * A template's string from its first character to the quote that ends it, with
 * escapes resolved; quote 0: bare text, up to a brace. *size becomes the bytes
 * read. NULL when memory is short.
 */
static char *unquote(struct gguf_string text, char quote, size_t *size)
{
    size_t n = 0;
    while (n < text.size && text.bytes[n] != (quote ? quote : '{'))
        n += quote && text.bytes[n] == '\\' && n + 1 < text.size ? 2 : 1;
    char *result = malloc(n + 1), *to = result;
    if (!result)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        char c = text.bytes[i];
        if (quote && c == '\\' && i + 1 < n) {
            c = text.bytes[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        *to++ = c;
    }
    *to = 0;
    *size = n;
    return result;
}

/*
 * The text between <|im_start|>system\n and <|im_end|> where both stand in one
 * string: the message that the template brings itself. Where the string ends
 * before, a message of the caller's is put in.
 */
static dsr1_status find_default_system(struct chat_template *t, struct gguf_string source, dsr1_error *err)
{
    static const char start[] = "<|im_start|>system", end[] = "<|im_end|>";
    const char *begin = source.bytes;
    for (struct gguf_string rest = behind(source, start); rest.size; rest = behind(rest, start)) {
        const char *open = rest.bytes - strlen(start) - 1;
        char quote = open >= begin && (*open == '\'' || *open == '"') ? *open : 0;
        size_t skip = newline(rest);
        if (!skip)
            continue;
        size_t size;
        char *text = unquote((struct gguf_string){rest.bytes + skip, rest.size - skip}, quote, &size);
        if (!text)
            return error_nomem(err, "a chat template");
        char *stop = strstr(text, end);
        if (stop && stop != text) {
            *stop = 0;
            t->default_system = text;
            return DSR1_OK;
        }
        free(text);
        /* On behind this string, so that no byte is read twice whatever it holds. */
        rest = (struct gguf_string){rest.bytes + skip + size, rest.size - skip - size};
    }
    return DSR1_OK;
}

/*
 * Llama 3.1 and later: "Cutting Knowledge Date: ..\nToday Date: ..\n\n". The date is
 * the one that stands in the template, never today's: the same request must give
 * the same prompt tomorrow.
 */
static dsr1_status find_preface(struct chat_template *t, struct gguf_string source, dsr1_error *err)
{
    static const char cutting[] = "Cutting Knowledge Date: ";
    struct gguf_string after = behind(source, cutting);
    struct gguf_string date = behind(source, "date_string = \"");
    struct buffer preface = {0};
    size_t size;
    if (!after.size)
        return DSR1_OK;
    char *cut = unquote(after, '"', &size);
    char *today = unquote(date, '"', &size);
    if (cut)
        cut[strcspn(cut, "\n")] = 0;
    if (cut && today)
        buffer_printf(&preface, "%s%s\nToday Date: %s\n\n", cutting, cut, *today ? today : "26 Jul 2024");
    free(cut);
    free(today);
    t->preface = preface.data;
    return t->preface && !preface.failed ? DSR1_OK : error_nomem(err, "a chat template");
}

static dsr1_status detect_chatml(struct chat_template *t, struct gguf_string source, dsr1_error *err)
{
    t->family = CHAT_CHATML;
    t->writes_bos = has(source, "bos_token");
    t->trims = has(source, "content'] | trim") || has(source, "content']|trim") || has(source, "content | trim") ||
               has(source, "content|trim");
    t->drops_reasoning = has(source, ".split('</think>')");
    t->keeps_last_reasoning = t->drops_reasoning && has(source, "last_query_index");
    t->opens_reasoning = has_line(source, "<|im_start|>assistant\\n<think>") ||
                         has_line(source, "<|im_start|>assistant\n<think>");
    return find_default_system(t, source, err);
}

static dsr1_status detect_deepseek(struct chat_template *t, struct gguf_string source)
{
    t->writes_bos = true;
    t->joins_systems = has(source, "ns.system_prompt + ");
    t->family = CHAT_DEEPSEEK_V3;
    if (!has(source, "</think>"))
        return DSR1_OK;
    t->drops_reasoning = true;
    t->closes_reasoning = has(source, "not thinking");
    t->opens_reasoning = has_line(source, ASSISTANT "<think>");
    if (!t->closes_reasoning)
        t->family = CHAT_DEEPSEEK_R1;
    return DSR1_OK;
}

static dsr1_status detect_coder(struct chat_template *t, struct gguf_string source, dsr1_error *err)
{
    t->family = CHAT_DEEPSEEK_CODER;
    t->writes_bos = true;
    t->newline_at_end = begins(behind(source, "'### Response:'}}"), "\n");
    struct gguf_string text = behind(behind(behind(source, "not ns.found"), "{{"), "'");
    size_t size;
    if (text.size && !(t->default_system = unquote(text, '\'', &size)))
        return error_nomem(err, "a chat template");
    return DSR1_OK;
}

static dsr1_status detect(struct chat_template *t, struct gguf_string source, dsr1_error *err)
{
    if (has(source, USER) && has(source, ASSISTANT) && has(source, END))
        return detect_deepseek(t, source);
    if (has(source, "<|im_start|>") && has(source, "<|im_end|>") && !has(source, "<|im_sep|>"))
        return detect_chatml(t, source, err);
    if (has(source, "<|start_header_id|>") && has(source, "<|end_header_id|>")) {
        t->family = CHAT_LLAMA3;
        t->writes_bos = has(source, "bos_token");
        t->trims = true;
        return find_preface(t, source, err);
    }
    if (has(source, "### Instruction:") && has(source, "<|EOT|>"))
        return detect_coder(t, source, err);
    if (has(source, "'Assistant: ' + message['content'] + eos_token")) {
        t->family = CHAT_DEEPSEEK_V2;
        t->writes_bos = true;
    }
    return DSR1_OK;
}

/* bos and eos as C strings; a zero inside of one ends it. */
static dsr1_status copy_texts(struct chat_template *t, const struct tokenizer *tokenizer, dsr1_error *err)
{
    struct gguf_string bos = tokenizer_token_text(tokenizer, tokenizer_bos(tokenizer));
    struct gguf_string eos = tokenizer_token_text(tokenizer, tokenizer_eos(tokenizer));
    t->texts = memory_array(bos.size + eos.size + 2, 1);
    if (!t->texts)
        return error_nomem(err, "a chat template");
    memcpy(t->texts, bos.bytes, bos.size);
    memcpy(t->texts + bos.size + 1, eos.bytes, eos.size);
    t->bos = t->texts;
    t->eos = t->texts + bos.size + 1;
    return DSR1_OK;
}

dsr1_status chat_template_open(const struct gguf *gguf, const struct tokenizer *tokenizer, struct chat_template *t,
                               dsr1_error *err)
{
    struct gguf_string source = {"", 0};
    *t = (struct chat_template){.family = CHAT_UNKNOWN, .bos = "", .eos = ""};
    dsr1_status status = gguf_get_string(gguf, "tokenizer.chat_template", &source, err);
    if (status == DSR1_OK)
        status = copy_texts(t, tokenizer, err);
    if (status == DSR1_OK && source.size)
        status = detect(t, source, err);
    if (status < 0)
        chat_template_close(t);
    return status;
}

void chat_template_close(struct chat_template *t)
{
    free(t->default_system);
    free(t->preface);
    free(t->texts);
    *t = (struct chat_template){.family = CHAT_UNKNOWN, .bos = "", .eos = ""};
}

const char *chat_family_name(enum chat_family family)
{
    static const char *const names[CHAT_FAMILIES] = {
        [CHAT_UNKNOWN] = "",
        [CHAT_CHATML] = "chatml",
        [CHAT_LLAMA3] = "llama3",
        [CHAT_DEEPSEEK_CODER] = "deepseek-coder",
        [CHAT_DEEPSEEK_V2] = "deepseek-v2",
        [CHAT_DEEPSEEK_V3] = "deepseek-v3",
        [CHAT_DEEPSEEK_R1] = "deepseek-r1",
    };
    return names[family];
}
