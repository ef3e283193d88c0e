/*
 * tool_merge.c - dsr1 merge: an adapter made part of a model file
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "kernel/encode.h"
#include "train/merge.h"

#include <stdio.h>

static void show(void *user, int done, int n, const char *name)
{
    (void) user;
    tool_progress("%d of %d matrices, %s", done + 1, n, name);
}

int tool_merge(int argc, char **argv)
{
    const char *type = NULL;
    struct merge_options options = {.type = -1, .strength = 1, .progress = show};
    const struct option_row rows[] = {
        {0, "type", OPTION_STRING, &type, "TYPE", "format of the changed matrices (default: as they are)", 0, 0},
        {0, "strength", OPTION_FLOAT, &options.strength, "X", "multiplies the adapter (1)", -100, 100},
        {0},
    };
    const struct command_line line = {
        "dsr1 merge", "MODEL ADAPTER OUT [--type TYPE]",
        "Writes MODEL with ADAPTER added to its weights. A quantised matrix that changes is quantised\n"
        "anew; --type f16 or q8_0 loses less.", rows, 3};
    struct merge_result result;
    dsr1_error err = {0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go != OPTIONS_GO)
        return go;
    if (argc - first != 3)
        return options_wrong(&line, "MODEL, ADAPTER and OUT are wanted");
    if (type && ((options.type = tensor_type_parse(type)) < 0 || !encode_knows((enum tensor_type) options.type)))
        return options_wrong(&line, "--type %s: must be f32, f16, bf16, q8_0, q6_k, q5_0, q4_k, q4_1 or q4_0", type);
    dsr1_status status = merge_files(argv[first], argv[first + 1], argv[first + 2], &options, &result, &err);
    tool_progress_end();
    if (status == DSR1_OK) {
        printf("%s: %d matrices changed\n", argv[first + 2], result.n_changed);
        status = tool_flush(&err);
    }
    return status == DSR1_OK ? 0 : tool_fail("merge", &err);
}
