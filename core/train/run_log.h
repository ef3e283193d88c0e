/*
 * run_log.h - a run's progress as JSON lines
 *
 * {"step": 1, "loss": .., "nll": .., "lr": .., "grad_norm": .., "tokens": .., "seconds": .., "cpu_seconds": ..},
 * with "experts" for the experts per token and "eval_loss" and "eval_nll" in the steps that have them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_RUN_LOG_H
#define TRAIN_RUN_LOG_H

#include "dsr1.h"

#include <stdio.h>

struct training_report;

/*
 * Opens for appending. Lines of steps behind `step` (a run that goes on from an older checkpoint writes them again),
 * and all lines for step 0, are dropped first.
 */
dsr1_status run_log_open(const char *path, int64_t step, FILE **log, dsr1_error *err);
dsr1_status run_log_write(FILE *log, const struct training_report *report, dsr1_error *err);

#endif
