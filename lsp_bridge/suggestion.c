/*
 * suggestion.c - the answer of a job as the client wants to see it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "suggestion.h"

#include "codepoint.h"

#include <string.h>

#define LABEL_COLUMNS 60

json_t *suggestion_nothing(enum job_kind kind)
{
    if (kind == JOB_COMPLETION)
        return json_pack("{s: b, s: []}", "isIncomplete", 1, "items");
    return json_pack("{s: []}", "items");
}

/* Lead and text, with the document's own line ends. */
static void insert_text(const struct job *job, const char *s, size_t size, struct buffer *out)
{
    buffer_string(out, job->lead);
    for (size_t i = 0; i < size; i++) {
        if (s[i] == '\n')
            buffer_string(out, job->around.line_end);
        else
            buffer_append(out, s + i, 1);
    }
}

static json_t *range(const struct job *job, size_t replaced)
{
    size_t end = job->end + position_units(job->encoding, job->around.suffix.data, replaced);
    return json_pack("{s: {s: I, s: I}, s: {s: I, s: I}}", "start", "line", (json_int_t) job->line, "character",
                     (json_int_t) job->start, "end", "line", (json_int_t) job->line, "character", (json_int_t) end);
}

/* The first line, at most LABEL_COLUMNS code points of it. */
static json_t *label(const char *text)
{
    size_t line = strcspn(text, "\r\n"), i = 0;
    for (int columns = 0; i < line && columns < LABEL_COLUMNS; columns++) {
        uint32_t codepoint;
        i += codepoint_next(text + i, line - i, &codepoint);
    }
    bool more = text[i] != 0;
    struct buffer out = {0};
    buffer_append(&out, text, i);
    buffer_string(&out, more ? "\xe2\x80\xa6" : "");
    json_t *json = out.failed ? NULL : json_stringn(out.data, out.size);
    buffer_free(&out);
    return json;
}

static json_t *completion_item(const struct job *job, const char *text, size_t replaced)
{
    enum { KIND_SNIPPET = 15, INSERT_AS_IS = 1 };
    json_t *item = json_pack("{s: o, s: {s: s}, s: i, s: s, s: s, s: s, s: {s: o, s: s}, s: i}",
                             "label", label(text),
                             "labelDetails", "description", "dsr1",
                             "kind", KIND_SNIPPET,
                             "detail", "dsr1",
                             "sortText", "\xef\xbf\xad", /* U+FFED: behind everything else */
                             "documentation", text,
                             "textEdit", "range", range(job, replaced), "newText", text,
                             "insertTextMode", INSERT_AS_IS);
    /* Without one, clients match what was typed against the label. */
    if (item && *job->lead)
        json_object_set_new(item, "filterText", json_string(job->lead));
    return item;
}

static json_t *inline_item(const struct job *job, const char *text, size_t replaced)
{
    return json_pack("{s: s, s: s, s: o, s: {s: s, s: s, s: [{s: s}]}}",
                     "insertText", text,
                     "filterText", text,
                     "range", range(job, replaced),
                     "command", "title", "dsr1: accepted", "command", "dsr1.accepted", "arguments", "uri", job->uri);
}

/* One more item, unless there is nothing of it, or an equal one. */
static void add_item(const struct job *job, const struct buffer *from, size_t replaced, json_t *items)
{
    size_t size = from->size;
    if (job->fixed_range && replaced > 0) {
        /* The range must stay as it is, so what stands behind it is left out of the text instead. */
        bool at_end = replaced <= size && memcmp(from->data + size - replaced, job->around.suffix.data, replaced) == 0;
        size = at_end ? size - replaced : 0;
        replaced = 0;
    }
    if (size == 0)
        return;
    struct buffer text = {0};
    insert_text(job, from->data, size, &text);
    json_t *item = text.failed ? NULL
                   : job->kind == JOB_COMPLETION ? completion_item(job, text.data, replaced)
                                                 : inline_item(job, text.data, replaced);
    buffer_free(&text);
    size_t i;
    json_t *other;
    json_array_foreach(items, i, other) {
        if (json_equal(json_object_get(item, "insertText"), json_object_get(other, "insertText"))) {
            json_decref(item);
            return;
        }
    }
    if (item)
        json_array_append_new(items, item);
}

json_t *suggestion_result(const struct job *job)
{
    json_t *result = suggestion_nothing(job->kind), *items = json_object_get(result, "items");
    if (!result)
        return result;
    add_item(job, &job->text, job->replaced, items);
    for (int i = 0; i < job->n_choices; i++)
        add_item(job, &job->choices[i].text, job->choices[i].replaced, items);
    return result;
}
