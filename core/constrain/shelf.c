/*
 * shelf.c - the constraints that were compiled last, by their text
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/shelf.h"

#include "base/error.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SHELF_SIZE = 16 };

struct shelf_item {
    struct buffer key;
    struct constraint *constraint;      /* NULL: empty */
    uint64_t used;
};

struct constraint_shelf {
    pthread_mutex_t lock;       /* guards all below */
    struct shelf_item items[SHELF_SIZE];
    uint64_t clock;
};

dsr1_status shelf_open(struct constraint_shelf **result, dsr1_error *err)
{
    struct constraint_shelf *shelf = memory_array(1, sizeof *shelf);
    *result = shelf;
    if (!shelf)
        return error_nomem(err, "a table of tokens");
    pthread_mutex_init(&shelf->lock, NULL);
    return DSR1_OK;
}

void shelf_close(struct constraint_shelf *shelf)
{
    if (!shelf)
        return;
    for (int i = 0; i < SHELF_SIZE; i++) {
        constraint_close(shelf->items[i].constraint);
        buffer_free(&shelf->items[i].key);
    }
    pthread_mutex_destroy(&shelf->lock);
    free(shelf);
}

static struct shelf_item *find(struct constraint_shelf *shelf, const struct buffer *key)
{
    for (int i = 0; i < SHELF_SIZE; i++) {
        struct shelf_item *item = &shelf->items[i];
        if (item->constraint && item->key.size == key->size && memcmp(item->key.data, key->data, key->size) == 0) {
            item->used = ++shelf->clock;
            return item;
        }
    }
    return NULL;
}

struct constraint *shelf_find(struct constraint_shelf *shelf, const struct buffer *key)
{
    pthread_mutex_lock(&shelf->lock);
    struct shelf_item *item = find(shelf, key);
    struct constraint *constraint = item ? constraint_hold(item->constraint) : NULL;
    pthread_mutex_unlock(&shelf->lock);
    return constraint;
}

void shelf_put(struct constraint_shelf *shelf, struct buffer *key, struct constraint *constraint)
{
    pthread_mutex_lock(&shelf->lock);
    struct shelf_item *item = find(shelf, key), old = {0};
    if (!item) {
        item = &shelf->items[0];
        for (int i = 1; i < SHELF_SIZE; i++)
            if (shelf->items[i].used < item->used)
                item = &shelf->items[i];
        old = *item;
        *item = (struct shelf_item){*key, constraint_hold(constraint), ++shelf->clock};
        *key = (struct buffer){0};
    }
    pthread_mutex_unlock(&shelf->lock);
    constraint_close(old.constraint);
    buffer_free(&old.key);
}
