/*
 * recall.c - what the model wrote lately, to be shown again without it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "recall.h"

#include "base/memory.h"
#include "blank.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *bytes;                /* prefix, suffix, text */
    size_t prefix, suffix, text;
    bool line_only, careful, finished;
    uint64_t used;              /* the clock when it was used last */
};

struct recall {
    pthread_mutex_t lock;
    struct entry *entries;
    size_t n_entries, limit;
    uint64_t clock;
};

struct recall *recall_open(size_t limit)
{
    struct recall *recall = memory_array(1, sizeof *recall);
    if (!recall)
        return NULL;
    pthread_mutex_init(&recall->lock, NULL);
    recall_limit(recall, limit);
    return recall;
}

static void clear(struct recall *recall)
{
    for (size_t i = 0; i < recall->n_entries; i++)
        free(recall->entries[i].bytes);
    recall->n_entries = 0;
}

void recall_clear(struct recall *recall)
{
    pthread_mutex_lock(&recall->lock);
    clear(recall);
    pthread_mutex_unlock(&recall->lock);
}

void recall_limit(struct recall *recall, size_t limit)
{
    pthread_mutex_lock(&recall->lock);
    if (limit != recall->limit) {
        clear(recall);
        free(recall->entries);
        recall->entries = limit > 0 ? memory_array(limit, sizeof *recall->entries) : NULL;
        recall->limit = recall->entries ? limit : 0;
    }
    pthread_mutex_unlock(&recall->lock);
}

void recall_close(struct recall *recall)
{
    if (!recall)
        return;
    clear(recall);
    free(recall->entries);
    pthread_mutex_destroy(&recall->lock);
    free(recall);
}

static bool same_kind(const struct entry *entry, const struct recall_key *key)
{
    return entry->careful == key->careful && entry->suffix == key->around->suffix.size &&
           memcmp(entry->bytes + entry->prefix, key->around->suffix.data, entry->suffix) == 0;
}

/* How many bytes of the entry's text were typed since, or -1 when it does not fit. */
static ptrdiff_t typed_since(const struct entry *entry, const struct recall_key *key)
{
    const struct buffer *prefix = &key->around->prefix;
    if (!same_kind(entry, key) || prefix->size < entry->prefix || prefix->size - entry->prefix > entry->text)
        return -1;
    size_t typed = prefix->size - entry->prefix;
    const char *text = entry->bytes + entry->prefix + entry->suffix;
    if (memcmp(prefix->data + entry->prefix, text, typed) != 0 || memcmp(prefix->data, entry->bytes, entry->prefix) != 0)
        return -1;
    return (ptrdiff_t) typed;
}

/* Is what is left of the entry all there is to show? One line of a block is, as long as there is something of it. */
static bool says_all(const struct entry *entry, const struct recall_key *key, size_t left)
{
    if (!entry->finished)
        return false;
    const char *rest = entry->bytes + entry->prefix + entry->suffix + entry->text - left;
    return !entry->line_only || key->line_only || !is_blank(rest, left);
}

bool recall_find(struct recall *recall, const struct recall_key *key, struct buffer *text, bool *finished)
{
    pthread_mutex_lock(&recall->lock);
    struct entry *best = NULL;
    size_t best_left = 0, best_typed = 0;
    for (size_t i = 0; i < recall->n_entries; i++) {
        struct entry *entry = &recall->entries[i];
        ptrdiff_t typed = typed_since(entry, key);
        if (typed < 0)
            continue;
        size_t left = entry->text - (size_t) typed;
        bool known_end = entry->finished && (left > 0 || typed == 0);
        if (!known_end && left == 0)
            continue;
        if (!best || left > best_left || (left == best_left && entry->finished && !best->finished)) {
            best = entry;
            best_left = left;
            best_typed = (size_t) typed;
        }
    }
    if (best) {
        best->used = ++recall->clock;
        *finished = says_all(best, key, best_left);
        buffer_append(text, best->bytes + best->prefix + best->suffix + best_typed, best_left);
    }
    pthread_mutex_unlock(&recall->lock);
    return best != NULL;
}

/* A place for a new entry: that of the same surroundings, a free one, or the one unused for the longest time. */
static struct entry *entry_for(struct recall *recall, const struct recall_key *key)
{
    struct entry *oldest = NULL;
    for (size_t i = 0; i < recall->n_entries; i++) {
        struct entry *entry = &recall->entries[i];
        if (entry->prefix == key->around->prefix.size && typed_since(entry, key) == 0)
            return entry;
        if (!oldest || entry->used < oldest->used)
            oldest = entry;
    }
    return recall->n_entries < recall->limit ? &recall->entries[recall->n_entries] : oldest;
}

void recall_store(struct recall *recall, const struct recall_key *key, const char *text, size_t size, bool finished)
{
    const struct buffer *prefix = &key->around->prefix, *suffix = &key->around->suffix;
    struct buffer bytes = {0};
    buffer_append(&bytes, prefix->data, prefix->size);
    buffer_append(&bytes, suffix->data, suffix->size);
    buffer_append(&bytes, text, size);
    pthread_mutex_lock(&recall->lock);
    struct entry *entry = bytes.failed || recall->limit == 0 ? NULL : entry_for(recall, key);
    if (!entry) {
        buffer_free(&bytes);
    } else {
        if (entry == &recall->entries[recall->n_entries])
            recall->n_entries++;
        else
            free(entry->bytes);
        *entry = (struct entry){.bytes = bytes.data, .prefix = prefix->size, .suffix = suffix->size, .text = size,
                                .line_only = key->line_only, .careful = key->careful, .finished = finished,
                                .used = ++recall->clock};
    }
    pthread_mutex_unlock(&recall->lock);
}
