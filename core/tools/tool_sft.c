/*
 * tool_sft.c - dsr1 sft: teach a model a text, or how to answer
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool_training.h"

int tool_sft(int argc, char **argv)
{
    struct training_flags f;
    bool router = false;
    tool_training_defaults(&f);
    f.lora = "attn,ffn,shared";
    const struct option_row rows[] = {
        TOOL_MODEL_ROW(&f.options.student),
        {0, "router", OPTION_FLAG, &router, NULL, "train the routers, too", 0, 0},
        TOOL_TRAINING_ROWS(f),
        {0},
    };
    const struct command_line line = {
        "dsr1 sft", "[-m MODEL] --data FILE... -o ADAPTER",
        "Trains an adapter on texts, or on conversations, of which it learns the assistant's part.", rows, 0};
    dsr1_error err = {0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO)
        go = tool_training_check(&line, &f);
    if (go == OPTIONS_GO && !(f.options.student = tool_model_path(f.options.student, &err)))
        go = tool_fail("sft", &err);
    if (go != OPTIONS_GO) {
        string_list_free(&f.data);
        return go;
    }
    if (router)
        f.options.trainable.whole = TRAINABLE_ROUTER;
    return tool_training_run("sft", &f, "loss");
}
