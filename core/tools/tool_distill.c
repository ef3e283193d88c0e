/*
 * tool_distill.c - dsr1 distill: teach a model what another one says
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool_training.h"

int tool_distill(int argc, char **argv)
{
    struct training_flags f;
    bool router = false;
    tool_training_defaults(&f);
    f.lora = "attn,ffn,shared,experts";
    const struct option_row rows[] = {
        {0, "teacher", OPTION_STRING, &f.options.teacher, "MODEL", "the model to learn from", 0, 0},
        {0, "student", OPTION_STRING, &f.options.student, "MODEL", "the model that learns", 0, 0},
        {0, "router", OPTION_FLAG, &router, NULL, "train the routers, too", 0, 0},
        TOOL_TRAINING_ROWS(f),
        {0},
    };
    const struct command_line line = {
        "dsr1 distill", "--teacher MODEL --student MODEL --data FILE... -o ADAPTER",
        "Trains an adapter for the student, so that it gives the teacher's probabilities for every next\n"
        "token of the data (Kullback-Leibler divergence over the whole vocabulary), and, of texts with a\n"
        "hole, what fills it.", rows, 0};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO && (!f.options.teacher || !f.options.student))
        go = options_wrong(&line, "--teacher and --student are wanted");
    if (go == OPTIONS_GO)
        go = tool_training_check(&line, &f);
    if (go != OPTIONS_GO) {
        string_list_free(&f.data);
        return go;
    }
    if (router)
        f.options.trainable.whole = TRAINABLE_ROUTER;
    return tool_training_run("distill", &f, "KL");
}
