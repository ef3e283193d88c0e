/*
 * probe.h - how does this model want to be asked?
 *
 * A vocabulary with fill-in-the-middle tokens does not say that the model has
 * learned them, and a chat template not that it can fill a hole. So each model
 * gets a hole with one obvious answer, which needs the text behind it, when it
 * is loaded for the first time, and probe_cache.h remembers the result.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_PROBE_H
#define LSP_PROBE_H

#include "model_host.h"

/* Sets host->prompt: the wish (enum settings_prompt) where the model can do it at all, else the first that answers right. */
dsr1_status probe_prompt(struct model_host *host, int wish, dsr1_error *err);

#endif
