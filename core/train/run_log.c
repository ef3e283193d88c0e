/*
 * run_log.c - a run's progress as JSON lines
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/run_log.h"

#include "base/error.h"
#include "train/training.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the first line of a later step begins, or the end of the file. */
static long first_later(FILE *file, int64_t step)
{
    char *line = NULL;
    size_t room = 0;
    long at = 0;
    for (ssize_t n; (n = getline(&line, &room, file)) > 0; at += n) {
        long long found;
        const char *key = strstr(line, "\"step\":");
        if (line[n - 1] != '\n' || (key && sscanf(key + 7, "%lld", &found) == 1 && found > step))
            break;
    }
    free(line);
    return at;
}

dsr1_status run_log_open(const char *path, int64_t step, FILE **log, dsr1_error *err)
{
    *log = fopen(path, step > 0 ? "a+" : "w");
    if (!*log)
        return error_errno(err, DSR1_ERR_IO, "cannot write %s", path);
    if (step == 0)
        return DSR1_OK;
    rewind(*log);
    long keep = first_later(*log, step);
    if (ftruncate(fileno(*log), keep) == 0 && fseek(*log, 0, SEEK_END) == 0)
        return DSR1_OK;
    fclose(*log);
    *log = NULL;
    return error_errno(err, DSR1_ERR_IO, "cannot shorten %s", path);
}

dsr1_status run_log_write(FILE *log, const struct training_report *r, dsr1_error *err)
{
    fprintf(log, "{\"step\": %lld, \"loss\": %.9g, \"nll\": %.9g, \"lr\": %.6g, \"grad_norm\": %.6g, ",
            (long long) r->step, r->loss, r->nll, r->rate, r->norm);
    if (r->n_used > 0)
        fprintf(log, "\"experts\": %d, ", r->n_used);
    if (r->has_eval)
        fprintf(log, "\"eval_loss\": %.9g, \"eval_nll\": %.9g, ", r->eval_loss, r->eval_nll);
    fprintf(log, "\"tokens\": %d, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n", r->n_tokens, r->seconds,
            r->cpu_seconds);
    return fflush(log) == 0 && !ferror(log) ? DSR1_OK : error_errno(err, DSR1_ERR_IO, "cannot write the log");
}
