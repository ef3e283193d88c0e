/*
 * layout.h - the order in which a model reads the surroundings
 *
 * Models with fill-in-the-middle tokens see
 *
 *     PRE <lines above> SUF <rest of the line, lines below> MID <typed part of the line>
 *
 * an ordinary sample whose hole starts where the line starts. Typing appends a
 * token or two at the end, and all before it stays in the KV cache; with the
 * typed part before SUF each key would have the whole suffix evaluated again.
 * Other models continue the text before the cursor.
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
    bool fim;
    size_t n_dropped;       /* bytes of the prefix that did not fit the context */
};

/*
 * The prompt for what follows the cursor and `known`, text that the model wrote
 * there before. At most max_tokens: lines at the top are left out. Start with {0}.
 */
dsr1_status layout_build(struct layout *layout, const struct model_host *host, const struct surroundings *around,
                         const char *known, size_t known_size, size_t max_tokens, dsr1_error *err);
void layout_free(struct layout *layout);

#endif
