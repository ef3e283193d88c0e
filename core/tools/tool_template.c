/*
 * tool_template.c - dsr1 template: chat messages to the prompt a model was trained on
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "base/memory.h"
#include "gguf/gguf.h"
#include "text/chat.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static const char *string_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    /* A message is a C string to the core: a zero inside would silently cut it. */
    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

/* The strings belong to root. The caller frees *messages. */
static dsr1_status read_messages(const json_t *root, dsr1_message **messages, size_t *n_messages, dsr1_error *err)
{
    const json_t *array = json_is_object(root) ? json_object_get(root, "messages") : root;
    if (!json_is_array(array))
        return error_set(err, DSR1_ERR_ARGUMENT, "the input is neither an array of messages nor an object with one");
    size_t n = json_array_size(array);
    *messages = memory_array(n, sizeof **messages);
    if (!*messages)
        return error_nomem(err, "the messages");
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(array, i);
        (*messages)[i] = (dsr1_message){string_of(message, "role"), string_of(message, "content")};
        if (!(*messages)[i].role || !(*messages)[i].content)
            return error_set(err, DSR1_ERR_ARGUMENT, "message %zu: role and content must be strings without zeros", i);
    }
    *n_messages = n;
    return DSR1_OK;
}

static dsr1_status render(const struct gguf *gguf, const json_t *root, int flags, dsr1_error *err)
{
    struct tokenizer *tokenizer = NULL;
    struct chat_template template = {0};
    struct buffer out = {0};
    dsr1_message *messages = NULL;
    size_t n_messages = 0;
    dsr1_status status = tokenizer_open(gguf, &tokenizer, err);
    if (status == DSR1_OK)
        status = chat_template_open(gguf, tokenizer, &template, err);
    if (status == DSR1_OK)
        status = read_messages(root, &messages, &n_messages, err);
    if (status == DSR1_OK)
        status = chat_render(&template, messages, n_messages, flags, &out, NULL, err);
    if (status == DSR1_OK && out.failed)
        status = error_nomem(err, "the prompt");
    if (status == DSR1_OK)
        status = tool_write("-", out.data, out.size, err);
    free(messages);
    buffer_free(&out);
    chat_template_close(&template);
    tokenizer_close(tokenizer);
    return status;
}

int tool_template(int argc, char **argv)
{
    const char *model = NULL;
    bool no_prompt = false;
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&model),
        {0, "no-generation-prompt", OPTION_FLAG, &no_prompt, NULL, "do not open the assistant's turn at the end", 0,
         0},
        {0},
    };
    const struct command_line line = {
        "dsr1 template", "[-m MODEL] [--no-generation-prompt] <MESSAGES.json",
        "Reads [{\"role\": \"user\", \"content\": \"...\"}, ...], or an object that has this as\n"
        "\"messages\" (and perhaps \"add_generation_prompt\": false), and prints the prompt,\n"
        "byte for byte, without a line end of its own.", rows, 0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go != OPTIONS_GO)
        return go;

    dsr1_error err = {0};
    struct gguf *gguf = NULL;
    struct buffer input = {0};
    json_t *root = NULL;
    json_error_t where;
    const char *path = tool_model_path(model, &err);
    dsr1_status status = path ? gguf_open(path, &gguf, &err) : DSR1_ERR_IO;
    if (status == DSR1_OK)
        status = tool_read(NULL, &input, &err);
    if (status == DSR1_OK) {
        root = json_loadb(input.data ? input.data : "", input.size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
        if (!root)
            status = error_set(&err, DSR1_ERR_FORMAT, "standard input, line %d: %s", where.line, where.text);
    }
    if (status == DSR1_OK) {
        bool closed = no_prompt || json_is_false(json_object_get(root, "add_generation_prompt"));
        status = render(gguf, root, closed ? 0 : DSR1_CHAT_ANSWER, &err);
    }
    json_decref(root);
    buffer_free(&input);
    gguf_close(gguf);
    return status == DSR1_OK ? 0 : tool_fail("template", &err);
}
