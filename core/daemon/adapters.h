/*
 * adapters.h - the adapters of a served model, by name
 *
 * Adapter NAME is the file NAME.gguf in the engine's folder of adapters. It is read when it is first asked for, and
 * again when the file has become another; the least recently used one goes when there are too many. Requests that
 * use one which has gone keep it until they are over. Of the main thread alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_ADAPTERS_H
#define DAEMON_ADAPTERS_H

#include "wire/wire_field.h"

#include "dsr1.h"

/* A name may be a digest: 64 digits. */
enum { ADAPTERS_MAX = 16, ADAPTERS_NAME = 72 };

struct adapters_entry {
    char name[ADAPTERS_NAME];   /* "": free */
    dsr1_adapter *adapter;
    uint64_t version;           /* of the file: what stat() says of it, mixed */
    uint64_t used;
};

struct adapters {
    struct adapters_entry entries[ADAPTERS_MAX];
    uint64_t n_uses;
};

/*
 * The adapter of that name, valid until the next call; *adapter is NULL for an empty name. DSR1_ERR_ARGUMENT for a name
 * that there is not or cannot be, or when the engine has no folder (NULL); else as dsr1_adapter_open().
 */
dsr1_status adapters_get(struct adapters *a, const dsr1_model *model, const char *folder, struct wire_text name,
                         dsr1_adapter **adapter, dsr1_error *err);

void adapters_close(struct adapters *a);

#endif
