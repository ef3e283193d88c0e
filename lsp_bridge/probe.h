/*
 * probe.h - how does this model want to be asked?
 *
 * A vocabulary with fill-in-the-middle tokens does not say that the model has
 * learned them, and a chat template not that it can fill a hole. So each model
 * fills some holes with obvious answers, which need the text behind them, when
 * it is loaded for the first time: in each way that it has, and by going on
 * behind the text above. What comes closest to the answers is how it is asked,
 * and probe_cache.h remembers it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_PROBE_H
#define LSP_PROBE_H

#include "model_host.h"

/* Sets host->prompt: the wish (enum settings_prompt) where the model can do it at all, else the best. */
dsr1_status probe_prompt(struct model_host *host, int wish, dsr1_error *err);

#endif
