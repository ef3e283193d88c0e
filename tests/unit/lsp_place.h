/*
 * lsp_place.h - a text with a cursor in it, as tests of the bridge write it
 *
 * For tests only, which include cmocka.h before.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_PLACE_H
#define LSP_PLACE_H

#include "document.h"
#include "surroundings.h"

#include <string.h>

/* Takes a text with | at the cursor apart. */
static inline void take_place(struct surroundings *around, const char *text)
{
    struct document document = {.uri = ""};
    struct window window = {10000, 10000, 64};
    const char *cursor = strchr(text, '|');
    size_t before = (size_t) (cursor - text), behind = strlen(cursor + 1);
    assert_true(document_change(&document, 0, 0, text, before));
    assert_true(document_change(&document, before, before, cursor + 1, behind));
    assert_true(surroundings_take(around, &document, &window, before, before, ""));
    gap_text_free(&document.text);
}

#endif
