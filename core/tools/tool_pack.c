/*
 * tool_pack.c - dsr1 pack: a model's weights in the order in which they are computed with
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/clock.h"
#include "base/error.h"
#include "model/pack.h"

#include <stdio.h>
#include <sys/stat.h>

struct job {
    bool cache, check, json;
    struct gguf *gguf;
    struct model_shape shape;
    struct weights weights;
    char path[PACK_PATH];
};

static dsr1_status open_weights(struct job *job, const char *given, dsr1_error *err)
{
    const char *model = tool_model_path(given, err);
    dsr1_status status = model ? gguf_open(model, &job->gguf, err) : DSR1_ERR_IO;
    if (status == DSR1_OK)
        status = model_shape_read(job->gguf, &job->shape, err);
    if (status == DSR1_OK)
        status = weights_open(job->gguf, &job->shape, &job->weights, err);
    if (status != DSR1_OK)
        return status;
    if (job->cache ? pack_cached_path(&job->weights, job->path) : pack_beside(model, job->path))
        return DSR1_OK;
    return error_set(err, DSR1_ERR_ARGUMENT, "no place for a pack file: set DSR1_PACK_DIR");
}

static dsr1_status report(const struct job *job, double seconds, dsr1_error *err)
{
    struct stat about;
    if (stat(job->path, &about) < 0)
        return error_errno(err, DSR1_ERR_IO, "cannot read %s", job->path);
    if (job->json)
        return tool_print_json(json_pack("{s:s, s:I, s:f}", "file", job->path, "bytes", (json_int_t) about.st_size,
                                         "seconds", seconds), err);
    printf("%s, %.1f MiB in %.1f s: %s\n", job->path, (double) about.st_size / (1 << 20), seconds,
           job->check ? "belongs to the model and is whole" : "written");
    return tool_flush(err);
}

static dsr1_status run(struct job *job, const char *model, dsr1_error *err)
{
    double start = clock_seconds();
    dsr1_status status = open_weights(job, model, err);
    if (status == DSR1_OK && job->check)
        status = pack_check(&job->weights, job->path, err);
    else if (status == DSR1_OK && (status = pack_make_folders(job->path, err)) == DSR1_OK)
        status = pack_write(&job->weights, job->path, NULL, err);
    if (status == DSR1_OK)
        status = report(job, clock_seconds() - start, err);
    weights_close(&job->weights);
    gguf_close(job->gguf);
    return status;
}

int tool_pack(int argc, char **argv)
{
    struct job job = {0};
    const struct option_row rows[] = {
        {0, "cache", OPTION_FLAG, &job.cache, NULL, "into the cache directory, not beside the model", 0, 0},
        {0, "check", OPTION_FLAG, &job.check, NULL, "read the file that is there and check it", 0, 0},
        {0, "json", OPTION_FLAG, &job.json, NULL, "print one JSON object", 0, 0},
        {0},
    };
    const struct command_line line = {
        "dsr1 pack", "[MODEL] [--cache] [--check]",
        "Writes MODEL.pack: the weights in the order in which they are computed with. Programs find\n"
        "it there, start at once and share its memory.", rows, 1};
    int first, go = options_parse(&line, argc, argv, &first);
    if (go != OPTIONS_GO)
        return go;
    dsr1_error err = {0};
    return run(&job, first < argc ? argv[first] : NULL, &err) == DSR1_OK ? 0 : tool_fail("pack", &err);
}
