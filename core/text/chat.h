/*
 * chat.h - messages to the exact prompt a model was trained on
 *
 * The file's Jinja template is data: it is recognised, never run. Each known
 * family has a renderer here; an unknown template is an error that says so.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "base/buffer.h"
#include "text/tokenizer.h"

enum chat_family {
    CHAT_UNKNOWN, CHAT_CHATML, CHAT_LLAMA3, CHAT_DEEPSEEK_CODER, CHAT_DEEPSEEK_V2, CHAT_DEEPSEEK_V3, CHAT_DEEPSEEK_R1,
    CHAT_FAMILIES
};

struct chat_template {
    enum chat_family family;
    char *default_system;       /* what the template says without a system message; NULL for none */
    const char *bos, *eos;      /* texts, "" where absent */
    char *texts;                /* the memory of bos and eos */
    char *preface;              /* Llama 3.1: the lines in front of every system text; NULL for none */
    bool writes_bos;
    bool trims;                 /* contents lose white space at both ends */
    bool joins_systems;         /* DeepSeek: several system messages are joined by an empty line; else the last counts */
    bool drops_reasoning;       /* earlier answers lose what stands before their last </think> */
    bool keeps_last_reasoning;  /* Qwen3: answers behind the last question show their reasoning, or an empty one */
    bool opens_reasoning;       /* the generation prompt ends in <think>\n: the answer begins inside the reasoning */
    bool closes_reasoning;      /* DeepSeek-V3.1 without thinking: every answer begins with </think> */
    bool newline_at_end;        /* DeepSeek-Coder: the generation prompt ends its line */
};

/* Recognises tokenizer.chat_template. A missing or unknown one gives CHAT_UNKNOWN and DSR1_OK. */
dsr1_status chat_template_open(const struct gguf *gguf, const struct tokenizer *tokenizer,
                               struct chat_template *template, dsr1_error *err);
void chat_template_close(struct chat_template *template);

const char *chat_family_name(enum chat_family family);  /* "chatml", "deepseek-r1", ...; "" for unknown */

/*
 * Appends the prompt to out; flags as in dsr1_chat_render. Where segments is not NULL it receives, in pairs
 * of (offset, size), the pieces of out that are message content and so must be
 * tokenised without special parsing.
 */
struct chat_segments {
    size_t *pairs;              /* the caller's to free() */
    size_t n, capacity;         /* pairs */
};
dsr1_status chat_render(const struct chat_template *template, const dsr1_message *messages, size_t n_messages,
                        int flags, struct buffer *out, struct chat_segments *segments, dsr1_error *err);

/* Contract of dsr1_chat_tokens and dsr1_fim_tokens. */
ptrdiff_t chat_encode(const struct chat_template *template, const struct tokenizer *tokenizer,
                      const dsr1_message *messages, size_t n_messages, int flags, int32_t *tokens, size_t capacity,
                      dsr1_error *err);
ptrdiff_t fim_encode(const struct tokenizer *tokenizer, const char *prefix, size_t prefix_size, const char *suffix,
                     size_t suffix_size, int32_t *tokens, size_t capacity, dsr1_error *err);

#endif
