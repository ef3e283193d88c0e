/*
 * tool_tokenize.c - dsr1 tokenize: text to token ids, and back
 *
 * Needs the vocabulary of a file, not its weights, so that files which hold
 * nothing else work too.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"
#include "base/memory.h"
#include "gguf/gguf.h"
#include "text/tokenizer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct tokenize {
    const char *model;
    bool decode, parse_special, no_bos;
};

static dsr1_status encode(const struct tokenizer *tokenizer, const struct tokenize *o, const struct buffer *input,
                          dsr1_error *err)
{
    int flags = (o->parse_special ? DSR1_PARSE_SPECIAL : 0) | (o->no_bos ? 0 : DSR1_ADD_BOS);
    ptrdiff_t n = tokenizer_encode(tokenizer, input->data, input->size, flags, NULL, 0);
    int32_t *tokens = n < 0 ? NULL : memory_array((size_t) n, sizeof *tokens);
    if (!tokens)
        return error_nomem(err, "the tokens");
    n = tokenizer_encode(tokenizer, input->data, input->size, flags, tokens, (size_t) n);
    for (ptrdiff_t i = 0; i < n; i++)
        printf("%d\n", tokens[i]);
    free(tokens);
    return n < 0 ? error_nomem(err, "the tokens") : tool_flush(err);
}

/* Ids may be separated by blanks, line ends or commas. */
static dsr1_status read_ids(const struct buffer *input, int n_vocab, struct int_list *list, dsr1_error *err)
{
    list->items = memory_array(input->size / 2 + 1, sizeof *list->items);
    if (!list->items)
        return error_nomem(err, "the tokens");
    const char *at = input->data, *stop = input->data + input->size;
    for (;;) {
        while (at < stop && (isspace((unsigned char) *at) || *at == ','))
            at++;
        if (at == stop)
            return DSR1_OK;
        char *end;
        errno = 0;
        long id = strtol(at, &end, 10);
        if (end == at)
            return error_set(err, DSR1_ERR_ARGUMENT, "byte %td of the input is not part of a token id",
                             at - input->data);
        if (errno || id < 0 || id >= n_vocab)
            return error_set(err, DSR1_ERR_ARGUMENT, "token %.*s: the vocabulary has 0 to %d", (int) (end - at), at,
                             n_vocab - 1);
        list->items[list->n++] = (int32_t) id;
        at = end;
    }
}

static dsr1_status decode(const struct tokenizer *tokenizer, const struct tokenize *o, const struct buffer *input,
                          dsr1_error *err)
{
    struct int_list ids = {0};
    char *bytes = NULL;
    dsr1_status status = read_ids(input, tokenizer_n_vocab(tokenizer), &ids, err);
    if (status == DSR1_OK) {
        size_t size = tokenizer_decode(tokenizer, ids.items, ids.n, o->parse_special, NULL, 0);
        bytes = memory_array(size, 1);
        if (bytes) {
            tokenizer_decode(tokenizer, ids.items, ids.n, o->parse_special, bytes, size);
            status = tool_write("-", bytes, size, err);
        } else {
            status = error_nomem(err, "the text");
        }
    }
    free(bytes);
    int_list_free(&ids);
    return status;
}

int tool_tokenize(int argc, char **argv)
{
    struct tokenize o = {0};
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&o.model),
        {'d', "decode", OPTION_FLAG, &o.decode, NULL, "the other way: ids on standard input, bytes out", 0, 0},
        {0, "parse-special", OPTION_FLAG, &o.parse_special, NULL, "text of control tokens becomes (and shows) them",
         0, 0},
        {0, "no-bos", OPTION_FLAG, &o.no_bos, NULL, "no BOS in front where the model wants one", 0, 0},
        {0},
    };
    const struct command_line line = {
        "dsr1 tokenize", "[-m MODEL] [--parse-special] [--no-bos] <TEXT    |    --decode <IDS",
        "Reads bytes from standard input and prints the id of one token a line, with BOS\n"
        "in front (and EOS behind) where the model wants that. Every byte counts, the last\n"
        "line end too. Files that hold only a vocabulary will do.", rows, 0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go != OPTIONS_GO)
        return go;

    dsr1_error err = {0};
    struct gguf *gguf = NULL;
    struct tokenizer *tokenizer = NULL;
    struct buffer input = {0};
    const char *path = tool_model_path(o.model, &err);
    dsr1_status status = path ? gguf_open(path, &gguf, &err) : DSR1_ERR_IO;
    if (status == DSR1_OK)
        status = tokenizer_open(gguf, &tokenizer, &err);
    if (status == DSR1_OK)
        status = tool_read(NULL, &input, &err);
    if (status == DSR1_OK)
        status = o.decode ? decode(tokenizer, &o, &input, &err) : encode(tokenizer, &o, &input, &err);
    buffer_free(&input);
    tokenizer_close(tokenizer);
    gguf_close(gguf);
    return status == DSR1_OK ? 0 : tool_fail("tokenize", &err);
}
