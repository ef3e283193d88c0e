/*
 * adapters.c - the adapters of a served model, by name
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/adapters.h"

#include "base/error.h"
#include "base/rng.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Letters, digits, _ and -, and dots but in front: no way out of the folder. */
static bool good_name(struct wire_text name)
{
    if (name.size >= ADAPTERS_NAME || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (!isalnum((unsigned char) name.data[i]) && !strchr("_-.", name.data[i]))
            return false;
    return memchr(name.data, 0, name.size) == NULL;
}

static uint64_t version_of(const struct stat *file)
{
    uint64_t parts[] = {(uint64_t) file->st_dev, (uint64_t) file->st_ino, (uint64_t) file->st_size,
                        (uint64_t) file->st_mtim.tv_sec, (uint64_t) file->st_mtim.tv_nsec};
    uint64_t version = 1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        version = rng_mix(version ^ rng_mix(parts[i] + i));
    return version;
}

static void drop(struct adapters_entry *entry)
{
    dsr1_adapter_close(entry->adapter);
    *entry = (struct adapters_entry){0};
}

/* The entry of that name, else a free one, else the least recently used. */
static struct adapters_entry *place_for(struct adapters *a, const char *name)
{
    struct adapters_entry *best = &a->entries[0];
    for (int i = 0; i < ADAPTERS_MAX; i++) {
        struct adapters_entry *e = &a->entries[i];
        if (e->adapter && strcmp(e->name, name) == 0)
            return e;
        if (e->used < best->used)
            best = e;
    }
    return best;
}

dsr1_status adapters_get(struct adapters *a, const dsr1_model *model, const char *folder, struct wire_text name,
                         dsr1_adapter **adapter, dsr1_error *err)
{
    char text[ADAPTERS_NAME], path[4096];
    struct stat file;
    *adapter = NULL;
    if (name.size == 0)
        return DSR1_OK;
    if (!good_name(name))
        return error_set(err, DSR1_ERR_ARGUMENT, "an adapter cannot have this name");
    snprintf(text, sizeof text, "%.*s", (int) name.size, name.data);
    struct adapters_entry *entry = place_for(a, text);
    bool known = entry->adapter && strcmp(entry->name, text) == 0;
    int length = folder ? snprintf(path, sizeof path, "%s/%s.gguf", folder, text) : -1;
    if (length < 0 || length >= (int) sizeof path || stat(path, &file) != 0 || !S_ISREG(file.st_mode)) {
        if (known)
            drop(entry);
        return error_set(err, DSR1_ERR_ARGUMENT, "there is no adapter \"%s\"", text);
    }
    uint64_t version = version_of(&file);
    if (!known || entry->version != version) {
        dsr1_adapter *opened;
        dsr1_status status = dsr1_adapter_open(model, path, &opened, err);
        if (status != DSR1_OK)
            return status;
        drop(entry);
        *entry = (struct adapters_entry){.adapter = opened, .version = version};
        memcpy(entry->name, text, sizeof text);
    }
    entry->used = ++a->n_uses;
    *adapter = entry->adapter;
    return DSR1_OK;
}

void adapters_close(struct adapters *a)
{
    for (int i = 0; i < ADAPTERS_MAX; i++)
        drop(&a->entries[i]);
}
