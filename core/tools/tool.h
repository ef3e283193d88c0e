/*
 * tool.h - what the subcommands of dsr1 share
 *
 * A subcommand is a function that gets its own argc and argv and returns the
 * exit status: 0 for success, 1 for a failure with one line on stderr, 2 for
 * wrong usage.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include "base/buffer.h"
#include "dsr1.h"
#include "tools/options.h"

#include <jansson.h>

int tool_info(int argc, char **argv);
int tool_run(int argc, char **argv);
int tool_batch(int argc, char **argv);
int tool_tokenize(int argc, char **argv);
int tool_template(int argc, char **argv);
int tool_logits(int argc, char **argv);
int tool_perplexity(int argc, char **argv);
int tool_bench(int argc, char **argv);
int tool_quantize(int argc, char **argv);
int tool_pack(int argc, char **argv);
int tool_distill(int argc, char **argv);
int tool_grpo(int argc, char **argv);
int tool_merge(int argc, char **argv);
int tool_plot(int argc, char **argv);
int tool_sft(int argc, char **argv);
int tool_upcycle(int argc, char **argv);

/* Starts the program once more where OpenBLAS has chosen kernels far below what the CPU has; returns otherwise. */
void tool_tune_blas(char **argv);

/* ------------------------------------------------------------------ */
/* Failing (tool.c)                                                    */
/* ------------------------------------------------------------------ */

/* Prints "dsr1 NAME: REASON" on stderr and returns 1. */
int tool_fail(const char *name, const dsr1_error *err);

/* ------------------------------------------------------------------ */
/* Models (tool.c)                                                     */
/* ------------------------------------------------------------------ */

#define TOOL_MODEL_ROW(pointer) \
    {'m', "model", OPTION_STRING, pointer, "FILE", "GGUF file (default: DSR1_MODEL, else the shipped model)", 0, 0}

/*
 * The file to open: `given` if it is not NULL, else the environment's
 * DSR1_MODEL, else dsr1-default.gguf, looked for in the
 * build tree, the installed share/dsr1 and ./models. NULL with *err set when
 * there is none. The string is given or lies in static storage.
 */
const char *tool_model_path(const char *given, dsr1_error *err);

dsr1_status tool_model_open(const char *given, dsr1_model **model, dsr1_error *err);

/* ------------------------------------------------------------------ */
/* Input and output (tool_io.c)                                        */
/* ------------------------------------------------------------------ */

/* All bytes of a file, or of standard input for NULL or "-". The caller frees. */
dsr1_status tool_read(const char *path, struct buffer *bytes, dsr1_error *err);

/* Writes and closes; "-" is standard output. */
dsr1_status tool_write(const char *path, const void *bytes, size_t size, dsr1_error *err);

/* Prints and releases a JSON value on one line. A NULL value is "out of memory". */
dsr1_status tool_print_json(json_t *value, dsr1_error *err);

/* Flushes stdout; a full disk is a failure. */
dsr1_status tool_flush(dsr1_error *err);

/* Ids of a text, flags as in dsr1_tokenize. The caller frees list. */
dsr1_status tool_tokens(const dsr1_model *model, const char *text, size_t size, int flags, struct int_list *list,
                        dsr1_error *err);

enum { TOOL_MAX_CHOICES = 1000 };

/* Cuts "a,b,c" in place; the pieces, at most `most`, are pointers into it. Returns how many. */
size_t tool_cut_at_commas(char *text, const char **pieces, size_t most);

/* A progress line on stderr, when that is a terminal. Clear it before printing anything else. */
void tool_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tool_progress_end(void);

/* ------------------------------------------------------------------ */
/* Rows of logits (tool_rows.c)                                        */
/* ------------------------------------------------------------------ */

enum { TOOL_TOKEN_TEXT = 256 };

/* log of the sum of exp over a row: what turns logits into log-probabilities. */
double tool_log_sum(const float *row, int n);

/* The ids of the k largest, best first, equal ones in the order of their ids. Returns how many: min(n, k). */
int tool_top(const float *row, int n, int k, int32_t *ids);

/* {"id": .., FIGURE: value, "text": ".."}; bytes that are no UTF-8 by themselves are "hex" instead of "text". */
json_t *tool_token_json(const dsr1_model *model, int32_t token, const char *figure, double value);

/* ------------------------------------------------------------------ */
/* Engines (tool_engine.c)                                             */
/* ------------------------------------------------------------------ */

struct engine_flags {
    int threads, context, chunk, experts;
    const char *kv;
    const char *adapter;
};

#define TOOL_ADAPTER_ROW(flags) \
    {0, "adapter", OPTION_STRING, &(flags).adapter, "FILE", "with this LoRA adapter beside the weights", 0, 0}

#define TOOL_THREADS_ROW(flags) \
    {'t', "threads", OPTION_INT, &(flags).threads, "N", "threads (default: the cores of this process)", 1, 1024}
#define TOOL_EXPERTS_ROW(flags) \
    {0, "experts", OPTION_INT, &(flags).experts, "K", "experts that a token is sent to (default: as the file says)", 1, 1024}
#define TOOL_KV_ROW(flags, text) {0, "kv", OPTION_STRING, &(flags).kv, "TYPE", "KV cache: " text, 0, 0}

/* Fills options from flags; false when flags->kv names no type. */
bool tool_engine_options(const struct engine_flags *flags, dsr1_engine_options *options);

/* The adapter that the flags name, or NULL for none. dsr1_adapter_close(). */
dsr1_status tool_adapter_open(const struct engine_flags *flags, const dsr1_model *model, dsr1_adapter **adapter,
                              dsr1_error *err);

/* Steps until nothing is left to do. */
dsr1_status tool_engine_drain(dsr1_engine *engine, dsr1_error *err);

/* The same; Ctrl-C cancels the request, which then ends properly. A second one kills the program. */
dsr1_status tool_engine_drain_one(dsr1_engine *engine, uint64_t request, dsr1_error *err);

/* Has Ctrl-C come during tool_engine_drain_one? */
bool tool_interrupted(void);

/* Ends the program as Ctrl-C does where nobody catches it, so that shells know. */
void tool_die_of_interrupt(void) __attribute__((noreturn));

/* "end", "length", .. as answers in JSON say it. */
const char *tool_finish_name(dsr1_finish finish);

/* Resident memory of this process in MiB, 0 where unknown. */
double tool_resident_mib(void);

#endif
