/*
 * main.c - dsr1, the command line program
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
    bool trains;                /* computes with OpenBLAS */
} tools[] = {
    {"info", tool_info, "what a model file is: architecture, tensors, sizes", false},
    {"run", tool_run, "complete a prompt or answer a question", false},
    {"batch", tool_batch, "answer many prompts at once, from a file into a file", false},
    {"tokenize", tool_tokenize, "text to token ids, and back", false},
    {"template", tool_template, "chat messages to the prompt a model was trained on", false},
    {"logits", tool_logits, "evaluate token ids and write the logits", false},
    {"perplexity", tool_perplexity, "how well a model predicts a text", false},
    {"bench", tool_bench, "prompt and generation speed", false},
    {"quantize", tool_quantize, "a model file with smaller weights", true},
    {"pack", tool_pack, "weights made ready for quick starts", false},
    {"distill", tool_distill, "teach a model what another one says", true},
    {"upcycle", tool_upcycle, "a dense model cut into experts", true},
    {"grpo", tool_grpo, "let a model learn from rewards for its own answers", true},
    {"merge", tool_merge, "an adapter made part of a model file", false},
    {"plot", tool_plot, "the curve of a run as a picture", false},
    {"sft", tool_sft, "teach a model a text, or how to answer", true},
};

enum { N_TOOLS = sizeof tools / sizeof *tools };

static void print_help(void)
{
    puts("Usage: dsr1 COMMAND [OPTION]...\n"
         "\n"
         "Runs language models from GGUF files. Commands:");
    for (size_t i = 0; i < N_TOOLS; i++)
        printf("  %-12s %s\n", tools[i].name, tools[i].about);
    puts("\n"
         "dsr1 COMMAND --help tells more. Without -m, the model is the file that DSR1_MODEL\n"
         "names, else the shipped one. DSR1_CPU=scalar|avx2|avxvnni|avx512|avx512bf16 lowers the instruction set.\n"
         "Exit status: 0 for success, 1 for a failure, 2 for wrong usage.");
}

int main(int argc, char **argv)
{
    log_set_sink(log_to_stderr, NULL, LOG_WARN);
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        fputs("dsr1: no command (see dsr1 --help)\n", stderr);
        return 2;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("dsr1 %s (%s)\n", dsr1_version(), dsr1_cpu_name());
        return 0;
    }
    for (size_t i = 0; i < N_TOOLS; i++)
        if (strcmp(name, tools[i].name) == 0) {
            if (tools[i].trains)
                tool_tune_blas(argv);
            return tools[i].run(argc - 1, argv + 1);
        }
    fprintf(stderr, "dsr1: no command %s (see dsr1 --help)\n", name);
    return 2;
}
