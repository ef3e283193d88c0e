/*
 * tool_io.c - what goes in and what comes out
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 16 };

static bool is_standard(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

dsr1_status tool_read(const char *path, struct buffer *bytes, dsr1_error *err)
{
    FILE *file = is_standard(path) ? stdin : fopen(path, "rb");
    if (!file)
        return error_errno(err, DSR1_ERR_IO, "cannot open %s", path);
    const char *name = is_standard(path) ? "standard input" : path;
    dsr1_status status = DSR1_OK;
    for (;;) {
        char *to = buffer_reserve(bytes, READ_SIZE);
        if (!to) {
            status = error_nomem(err, name);
            break;
        }
        size_t n = fread(to, 1, READ_SIZE, file);
        bytes->size += n;
        bytes->data[bytes->size] = 0;
        if (n < READ_SIZE) {
            if (ferror(file))
                status = error_errno(err, DSR1_ERR_IO, "cannot read %s", name);
            break;
        }
    }
    if (file != stdin)
        fclose(file);
    return status;
}

dsr1_status tool_write(const char *path, const void *bytes, size_t size, dsr1_error *err)
{
    if (is_standard(path)) {
        fwrite(bytes, 1, size, stdout);
        return tool_flush(err);
    }
    FILE *file = fopen(path, "wb");
    if (!file)
        return error_errno(err, DSR1_ERR_IO, "cannot create %s", path);
    bool good = fwrite(bytes, 1, size, file) == size;
    if (fclose(file) != 0)
        good = false;
    return good ? DSR1_OK : error_errno(err, DSR1_ERR_IO, "cannot write %s", path);
}

dsr1_status tool_flush(dsr1_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return DSR1_OK;
    return error_errno(err, DSR1_ERR_IO, "cannot write to standard output");
}

dsr1_status tool_print_json(json_t *value, dsr1_error *err)
{
    char *text = value ? json_dumps(value, JSON_REAL_PRECISION(8)) : NULL;
    json_decref(value);
    if (!text)
        return error_nomem(err, "the JSON output");
    puts(text);
    free(text);
    return tool_flush(err);
}

dsr1_status tool_tokens(const dsr1_model *model, const char *text, size_t size, int flags, struct int_list *list,
                        dsr1_error *err)
{
    ptrdiff_t n = dsr1_tokenize(model, text, size, flags, NULL, 0);
    if (n < 0)
        return error_set(err, (dsr1_status) n, "cannot tokenise %zu bytes", size);
    *list = (struct int_list){memory_array((size_t) n, sizeof *list->items), (size_t) n};
    if (!list->items)
        return error_nomem(err, "the tokens");
    n = dsr1_tokenize(model, text, size, flags, list->items, list->n);
    return n < 0 ? error_set(err, (dsr1_status) n, "cannot tokenise %zu bytes", size) : DSR1_OK;
}

size_t tool_cut_at_commas(char *text, const char **pieces, size_t most)
{
    size_t n = 0;
    for (char *piece = text; piece && n < most; n++) {
        char *comma = strchr(piece, ',');
        if (comma)
            *comma = 0;
        pieces[n] = piece;
        piece = comma ? comma + 1 : NULL;
    }
    return n;
}

/* Where the cursor stands in a progress line that must go before anything else is printed. */
static bool progress_shown;

void tool_progress(const char *format, ...)
{
    if (!isatty(STDERR_FILENO))
        return;
    va_list args;
    va_start(args, format);
    fputs("\r\033[K", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fflush(stderr);
    progress_shown = true;
}

void tool_progress_end(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}
