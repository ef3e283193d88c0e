/*
 * probe_cache.h - how a model wants to be asked, remembered by what is in its file
 *
 * One line of text a model in $DSR1_PROBE_DIR, $XDG_CACHE_HOME/dsr1/probes or
 * ~/.cache/dsr1/probes. A file that cannot be read or written costs a probe, nothing else.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_PROBE_CACHE_H
#define LSP_PROBE_CACHE_H

#include "model_host.h"

/* False where nothing is known about the model file at this path, or it has changed since. */
bool probe_cache_find(const char *model, enum prompt_mode *mode);

void probe_cache_store(const char *model, enum prompt_mode mode);

#endif
