/*
 * fuzz_lsp_change.c - any edits: the text stays what a plain string would be, and lines are where they are
 *
 * Each edit is five bytes (kind and size, line, column, line, column) and the
 * bytes that are put in.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "document.h"
#include "surroundings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LARGEST 4096

struct plain {
    char bytes[LARGEST];
    size_t size;
};

static void check(const struct document *document, const struct plain *plain)
{
    const struct gap_text *text = &document->text;
    struct buffer copy = {0};
    gap_text_append(text, 0, text->size, &copy);
    if (copy.size != plain->size || (copy.size && memcmp(copy.data, plain->bytes, plain->size) != 0))
        abort();
    buffer_free(&copy);
    size_t line = 0;
    const char *bytes = plain->bytes;
    for (size_t at = 0; at < plain->size; at++) {
        bool break_here = bytes[at] == '\n' || (bytes[at] == '\r' && (at + 1 == plain->size || bytes[at + 1] != '\n'));
        if (break_here && gap_text_line_start(text, ++line) != at + 1)
            abort();
    }
    if (gap_text_lines(text) != line + 1)
        abort();
}

/* What lies around an offset never leaves the document. */
static void look_around(struct document *document, size_t offset)
{
    struct window window = {64, 32, 4};
    struct surroundings around;
    if (!surroundings_take(&around, document, &window, offset, offset, ""))
        return;
    if (around.typed > around.prefix.size || around.rest > around.suffix.size || around.word > around.typed)
        abort();
    surroundings_free(&around);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct document document = {.uri = ""};
    static struct plain plain;
    plain.size = 0;
    while (size >= 5) {
        enum position_encoding encoding = (enum position_encoding) ((data[0] >> 6) % 3);
        bool whole = (data[0] & 63) == 63;
        size_t n = data[0] & 31, from = document_offset(&document, encoding, data[1], data[2]);
        size_t to = document_offset(&document, encoding, data[3], data[4]);
        data += 5;
        size -= 5;
        n = n < size ? n : size;
        if (from > document.text.size || to > document.text.size)
            abort();
        if (whole ? n > LARGEST : plain.size + n > LARGEST)
            break;
        bool good = whole ? document_set(&document, (const char *) data, n)
                          : document_change(&document, from, to, (const char *) data, n);
        if (!good)
            break;
        size_t low = whole ? 0 : from < to ? from : to, high = whole ? plain.size : from < to ? to : from;
        memmove(plain.bytes + low + n, plain.bytes + high, plain.size - high);
        memcpy(plain.bytes + low, data, n);
        plain.size += n - (high - low);
        data += n;
        size -= n;
        check(&document, &plain);
        look_around(&document, low + n);
        if (document.anchor > document.text.size)
            abort();
    }
    gap_text_free(&document.text);
    return 0;
}
