/*
 * fuzz_lsp_polish.c - any text of a model at any place: it only becomes shorter, and what it replaces is there
 *
 * The input is split at zero bytes: text before the cursor, behind it, and tokens.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "document.h"
#include "polish.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t part(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, 0, size);
    return end ? (size_t) (end - data) : size;
}

static void polish(const struct surroundings *around, const struct draft *draft, bool line_only)
{
    struct polish work = {.around = around, .line_only = line_only, .min_token_prob = 0.1, .min_line_prob = 0.35};
    polish_draft(&work, draft);
    if (work.text.size > draft->text.size)
        abort();
    if (draft->text.size > 0)
        polish_complete(around, line_only, draft->text.data, draft->text.size);
    polish_place(&work);
    if (work.replaced > around->rest || (line_only && memchr(work.text.data ? work.text.data : "", '\n', work.text.size)))
        abort();
    buffer_free(&work.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct document document = {.uri = ""};
    struct window window = {1000, 1000, 8};
    struct surroundings around;
    struct draft draft = {0};
    size_t before = part(data, size), skip = before < size ? before + 1 : size;
    size_t behind = part(data + skip, size - skip);
    if (!document_change(&document, 0, 0, (const char *) data, before) ||
        !document_change(&document, before, before, (const char *) data + skip, behind) ||
        !surroundings_take(&around, &document, &window, before, before, ""))
        abort();
    data += skip + behind;
    size -= skip + behind;
    while (size > 0) {
        size_t n = part(++data, --size);
        if (n > 0 && !draft_append(&draft, (const char *) data, n, -1, -(float) (data[0] % 32) / 8))
            abort();
        data += n;
        size -= n;
    }
    polish(&around, &draft, true);
    polish(&around, &draft, false);
    draft_free(&draft);
    surroundings_free(&around);
    gap_text_free(&document.text);
    return 0;
}
