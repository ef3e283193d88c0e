/*
 * report.h - why a suggestion looks as it does, as one JSON object
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_REPORT_H
#define LSP_REPORT_H

#include "job.h"

#include <jansson.h>

/* Place, prompt, tokens, times, what the model wrote, what was cut and what was shown. */
json_t *report_json(const struct job *job);

#endif
