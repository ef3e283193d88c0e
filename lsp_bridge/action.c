/*
 * action.c - work on a piece of code that was asked for: explain, document, test, fix, rewrite
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "action.h"

#include <stdlib.h>
#include <string.h>

const struct action_about action_about[ACTION_KINDS] = {
    {"dsr1.explain", "dsr1: explain", "refactor.dsr1.explain"},
    {"dsr1.document", "dsr1: document", "refactor.rewrite.dsr1.document"},
    {"dsr1.tests", "dsr1: write tests", "refactor.dsr1.tests"},
    {"dsr1.fix", "dsr1: fix", "quickfix"},
    {"dsr1.rewrite", "dsr1: rewrite as the comment says", "refactor.rewrite.dsr1.rewrite"},
};

int action_find(const char *name)
{
    for (int i = 0; i < ACTION_KINDS; i++) {
        if (strcmp(action_about[i].name, name) == 0)
            return i;
    }
    return -1;
}

void action_free(struct action *action)
{
    if (!action)
        return;
    json_decref(action->range);
    json_decref(action->original);
    json_decref(action->token);
    buffer_free(&action->code);
    buffer_free(&action->nearby);
    draft_free(&action->draft);
    free(action->uri);
    free(action->language);
    free(action->wish);
    free(action->indent);
    free(action->line_end);
    free(action);
}

/* ------------------------------------------------------------------ */
/* The question                                                        */
/* ------------------------------------------------------------------ */

void action_messages(const struct action *action, struct buffer *system, struct buffer *user)
{
    static const char *const tasks[ACTION_KINDS] = {
        "Explain what this code does, in a few plain sentences.",
        "Write the documentation comment for this code. Answer with the comment only, in one code block.",
        "Write tests for this code. Answer with the test code only, in one code block.",
        "Correct the mistakes in this code. Answer with the whole corrected code only, in one code block.",
        "Change this code as asked. Answer with the whole changed code only, in one code block.",
    };
    const char *language = *action->language ? action->language : "code";
    buffer_string(system, "You are a careful programmer. You answer briefly and exactly.");
    buffer_printf(user, "%s\n", tasks[action->kind]);
    if (*action->wish)
        buffer_printf(user, action->kind == ACTION_FIX ? "The mistake: %s\n" : "What to change: %s\n", action->wish);
    if (action->nearby.size > 0) {
        buffer_printf(user, "\nIt follows these lines:\n```%s\n", language);
        buffer_append(user, action->nearby.data, action->nearby.size);
        buffer_string(user, "```\n");
    }
    buffer_printf(user, "\nThe code:\n```%s\n", language);
    buffer_append(user, action->code.data, action->code.size);
    buffer_string(user, "```\n");
}

/* ------------------------------------------------------------------ */
/* The answer                                                          */
/* ------------------------------------------------------------------ */

void action_answer(const struct action *action, const char *text, size_t size, struct buffer *out)
{
    const char *fence = action->kind == ACTION_EXPLAIN ? NULL : memmem(text, size, "```", 3);
    if (fence) {
        const char *line = memchr(fence, '\n', size - (size_t) (fence - text));
        const char *start = line ? line + 1 : text + size;
        size_t left = size - (size_t) (start - text);
        const char *end = memmem(start, left, "```", 3);
        text = start;
        size = end ? (size_t) (end - start) : left;
    }
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' '))
        size--;
    while (size > 0 && *text == '\n')
        text++, size--;
    buffer_append(out, text, size);
    if (action->kind != ACTION_EXPLAIN && size > 0)
        buffer_string(out, "\n");
}

/* White space that each line of a text begins with, at least. */
static size_t common_indent(const char *text)
{
    size_t least = SIZE_MAX;
    for (const char *line = text; *line;) {
        size_t lead = strspn(line, " \t"), n = strcspn(line, "\n");
        if (lead < n && lead < least)
            least = lead;
        line += n + (line[n] == '\n');
    }
    return least == SIZE_MAX ? 0 : least;
}

/* The answer moved to the indentation of the code it stands for, with the document's line ends. */
static void place(const struct action *action, const char *answer, struct buffer *out)
{
    size_t common = common_indent(answer);
    for (const char *line = answer; *line;) {
        size_t n = strcspn(line, "\n"), lead = strspn(line, " \t");
        if (lead < n) {
            buffer_string(out, action->indent);
            buffer_append(out, line + common, n - common);
        }
        buffer_string(out, action->line_end);
        line += n + (line[n] == '\n');
    }
}

static json_t *insertion(json_t *position, const char *text)
{
    return json_pack("{s: {s: O, s: O}, s: s}", "range", "start", position, "end", position, "newText", text);
}

/* The name of a file for tests beside this one: the languages' own habits. */
static void test_uri(const struct action *action, struct buffer *out)
{
    const char *slash = strrchr(action->uri, '/'), *name = slash ? slash + 1 : action->uri;
    const char *dot = strrchr(name, '.');
    size_t stem = dot ? (size_t) (dot - name) : strlen(name);
    bool before = strcmp(action->language, "python") == 0 || strcmp(action->language, "c") == 0 ||
                  strcmp(action->language, "cpp") == 0;
    bool script = strncmp(action->language, "javascript", 10) == 0 || strncmp(action->language, "typescript", 10) == 0;
    buffer_append(out, action->uri, (size_t) (name - action->uri));
    buffer_printf(out, "%s%.*s%s%s", before ? "test_" : "", (int) stem, name, before ? "" : script ? ".test" : "_test",
                  dot ? dot : "");
}

static json_t *one_change(const struct action *action, json_t *edit, bool versioned)
{
    if (!versioned)
        return json_pack("{s: {s: [o]}}", "changes", action->uri, edit);
    return json_pack("{s: [{s: {s: s, s: I}, s: [o]}]}", "documentChanges", "textDocument", "uri", action->uri, "version",
                     (json_int_t) action->version, "edits", edit);
}

json_t *action_edit(const struct action *action, const char *answer, bool can_create, bool versioned)
{
    json_t *start = json_object_get(action->range, "start"), *end = json_object_get(action->range, "end"), *edit = NULL;
    struct buffer text = {0}, uri = {0};
    if (action->kind == ACTION_EXPLAIN || !*answer)
        return NULL;
    if (action->kind == ACTION_TESTS && can_create) {
        test_uri(action, &uri);
        json_t *zero = json_pack("{s: i, s: i}", "line", 0, "character", 0);
        edit = json_pack("{s: [{s: s, s: s, s: {s: b}}, {s: {s: s, s: n}, s: [o]}]}", "documentChanges", "kind", "create",
                         "uri", uri.data, "options", "ignoreIfExists", 1, "textDocument", "uri", uri.data, "version",
                         "edits", insertion(zero, answer));
        json_decref(zero);
        buffer_free(&uri);
        return edit;
    }
    if (action->kind == ACTION_TESTS)
        buffer_string(&text, action->line_end);
    place(action, answer, &text);
    if (!text.failed && action->kind == ACTION_DOCUMENT)
        edit = insertion(start, text.data);
    else if (!text.failed && action->kind == ACTION_TESTS)
        edit = insertion(end, text.data);
    else if (!text.failed)
        edit = json_pack("{s: O, s: s}", "range", action->range, "newText", text.data);
    buffer_free(&text);
    return edit ? one_change(action, edit, versioned) : NULL;
}
