/*
 * tool_upcycle.c - dsr1 upcycle: a dense model cut into experts
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "kernel/encode.h"
#include "train/upcycle.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct shown {
    double oracle, router;
    int n;
};

static void show(void *user, int layer, int n_layers, const struct split_report *r)
{
    struct shown *shown = user;
    shown->oracle += r->oracle;
    shown->router += r->router;
    shown->n++;
    tool_progress("layer %d of %d: %.1f %% of energy shared; of the rest the router finds %.1f %%, ridge alone %.1f %%, "
                  "the best choice has %.1f %%", layer + 1, n_layers, 100 * r->shared, 100 * r->router, 100 * r->ridge,
                  100 * r->oracle);
}

static int report(const struct upcycle_options *o, const struct shown *shown, const struct upcycle_result *r,
                  const char *path, bool json)
{
    dsr1_error err = {0};
    double n = shown->n > 0 ? shown->n : 1;
    if (json)
        return tool_print_json(json_pack("{s:s, s:i, s:f, s:f, s:f, s:o}", "model", path, "tokens", r->n_tokens,
                                         "router_energy", shown->router / n, "oracle_energy", shown->oracle / n,
                                         "dense_perplexity", exp(r->dense), "experts_perplexity",
                                         o->refit ? json_real(exp(r->experts)) : json_null()), &err) == DSR1_OK
                   ? 0 : tool_fail("upcycle", &err);
    printf("%s: the router finds %.1f %% of the routed energy, the best choice would have %.1f %%\n", path,
           100 * shown->router / n, 100 * shown->oracle / n);
    printf("perplexity on the %d tokens of calibration: dense %.3f", r->n_tokens, exp(r->dense));
    if (o->refit)
        printf(", %d experts %.3f", o->n_used, exp(r->experts));
    putchar('\n');
    return tool_flush(&err) == DSR1_OK ? 0 : tool_fail("upcycle", &err);
}

static int upcycle(struct upcycle_options *o, const char *from, const char *to, bool json)
{
    struct shown shown = {0};
    struct upcycle_result result;
    dsr1_error err = {0};
    o->progress = show;
    o->user = &shown;
    dsr1_status status = upcycle_file(from, to, o, &result, &err);
    tool_progress_end();
    return status == DSR1_OK ? report(o, &shown, &result, to, json) : tool_fail("upcycle", &err);
}

int tool_upcycle(int argc, char **argv)
{
    struct upcycle_options o = upcycle_defaults();
    struct string_list data = {0};
    const char *type = "q8_0";
    bool json = false;
    const struct option_row rows[] = {
        {'d', "data", OPTION_STRINGS, &data, "FILE", "calibration: text, or .jsonl (docs/training.md); often", 0, 0},
        {0, "tokens", OPTION_INT, &o.n_tokens, "N", "tokens of it to look at (24576)", 1, 1 << 24},
        {0, "seq", OPTION_INT, &o.seq, "N", "tokens per window (256)", 8, 65536},
        {0, "slices", OPTION_INT, &o.n_slices, "N", "slices of each layer (24)", 2, 1024},
        {0, "shared", OPTION_INT, &o.n_shared, "N", "slices that always run (8)", 0, 1022},
        {'k', "experts", OPTION_INT, &o.n_used, "K", "experts per token to cut for, of the other slices (8)", 1, 1024},
        {0, "default", OPTION_INT, &o.n_default, "K", "what the file says to use (default: as --experts)", 1, 1024},
        {0, "refit", OPTION_FLAG, &o.refit, NULL, "solve for the down matrices, layer by layer", 0, 0},
        {0, "ridge", OPTION_FLOAT, &o.ridge, "X", "with --refit: towards the dense weights (0.02)", 1e-6, 1e6},
        {0, "all-share", OPTION_FLOAT, &o.all_share, "X", "with --refit: how much all experts together count (0.1)",
         0, 1},
        {0, "grain", OPTION_INT, &o.grain, "N", "neurons that stay side by side (1)", 1, 1024},
        {0, "rounds", OPTION_INT, &o.rounds, "N", "of moving neurons between experts (4)", 0, 1000},
        {0, "epochs", OPTION_INT, &o.epochs, "N", "of improving the routers (12)", 0, 1000},
        {0, "type", OPTION_STRING, &type, "TYPE", "format of the down matrices (q8_0); keep: as they are (docs/training.md)", 0, 0},
        {0, "name", OPTION_STRING, &o.name, "TEXT", "general.name of the new file", 0, 0},
        {0, "fim", OPTION_STRING, &o.fim, "PRE,SUF,MID", "tokens that will ask for the middle of a text", 0, 0},
        {0, "fim-order", OPTION_STRING, &o.fim_order, "ORDER", "with --fim: psm (default), or spm, the suffix first", 0, 0},
        {0, "seed", OPTION_SEED, &o.seed, "N", "of windows and groups (1)", 0, 0},
        {'t', "threads", OPTION_INT, &o.threads, "N", "threads (default: the cores of this process)", 1, 1024},
        {0, "json", OPTION_FLAG, &json, NULL, "print JSON", 0, 0},
        {0},
    };
    const struct command_line line = {
        "dsr1 upcycle", "IN OUT --data FILE...",
        "Cuts each feed-forward layer of a dense llama model into shared and routed experts (DeepSeekMoE) and fits\n"
        "a router to what calibration text needs. With all experts the new model is the dense one; --refit makes\n"
        "fewer of them closer to it.", rows, 2};
    int first, known = -1, go = options_parse(&line, argc, argv, &first);
    if (go == OPTIONS_GO && argc - first != 2)
        go = options_wrong(&line, "IN and OUT are wanted");
    if (go == OPTIONS_GO && strcmp(o.fim_order, "psm") != 0 && strcmp(o.fim_order, "spm") != 0)
        go = options_wrong(&line, "--fim-order %s: must be psm or spm", o.fim_order);
    if (go == OPTIONS_GO && data.n == 0)
        go = options_wrong(&line, "--data is missing");
    bool keep = strcmp(type, "keep") == 0;
    if (go == OPTIONS_GO && !keep && ((known = tensor_type_parse(type)) < 0 || !encode_knows((enum tensor_type) known)))
        go = options_wrong(&line, "--type %s: must be keep, f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0", type);
    if (go == OPTIONS_GO) {
        o.down_type = keep ? -1 : known;
        o.data = data.items;
        o.n_data = data.n;
        go = upcycle(&o, argv[first], argv[first + 1], json);
    }
    string_list_free(&data);
    return go;
}
