/*
 * layout.h - the order in which a model reads the surroundings
 *
 * Whatever changes least comes first, so that the KV cache keeps most of it:
 * the database's tables and pieces of other files, the lines above, the lines
 * below, and at the end the typed part of the line. Models with
 * fill-in-the-middle tokens see
 *
 *     PRE <context, lines above> SUF <rest of the line, lines below> MID <typed part of the line>
 *
 * an ordinary sample whose hole starts where the line starts. Typing appends a
 * token or two at the end, and all before it stays in the KV cache; with the
 * typed part before SUF each key would have the whole suffix evaluated again.
 *
 * Chat models are asked to fill the hole, and their answer begins with the
 * typed part. The others continue the text before the cursor.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_LAYOUT_H
#define LSP_LAYOUT_H

#include "model_host.h"
#include "surroundings.h"

struct layout {
    int32_t *tokens;
    size_t n_tokens, capacity;
    enum prompt_mode mode;
    size_t n_suffix;        /* tokens that stand for the text behind the cursor */
    size_t n_dropped;       /* bytes in front that did not fit the context */
};

struct layout_parts {
    const struct buffer *context;           /* may be NULL */
    const struct surroundings *around;
    const char *known;                      /* text that the model wrote behind the cursor before */
    size_t known_size;
};

/*
 * The prompt for what follows the cursor and the known text. At most max_tokens:
 * the context and then lines at the top are left out. Start with {0}.
 */
dsr1_status layout_build(struct layout *layout, const struct model_host *host, const struct layout_parts *parts,
                         size_t max_tokens, dsr1_error *err);

/* The same for the messages of a chat, of which `known` is the beginning of the answer. */
dsr1_status layout_chat(struct layout *layout, const struct model_host *host, const char *system, const char *user,
                        const char *known, size_t known_size, dsr1_error *err);
/* Appends the tokens of a draft that was made behind this very prompt. */
dsr1_status layout_tokens(struct layout *layout, const struct draft *draft, dsr1_error *err);
void layout_free(struct layout *layout);

#endif
