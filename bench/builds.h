/*
 * builds.h - builds of matmul_LEVEL.c as shared objects, which tiles.c and steps.c hold against each other
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BENCH_BUILDS_H
#define BENCH_BUILDS_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_BUILDS = 8 };

struct panel_product;
typedef void (*product_function)(const struct panel_product *product);

struct builds {
    const char *level;
    int n;
    void *handles[MOST_BUILDS];
};

static inline bool builds_open(struct builds *b, const char *level, int n, char **paths)
{
    *b = (struct builds){.level = level, .n = n};
    for (int i = 0; i < n; i++) {
        b->handles[i] = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
        if (!b->handles[i]) {
            fprintf(stderr, "%s\n", dlerror());
            return false;
        }
    }
    return true;
}

/* The product with panels of a type; NULL and a message where a build has none. */
static inline product_function builds_product(const struct builds *b, int build, const char *type)
{
    product_function product;
    char symbol[100];
    snprintf(symbol, sizeof symbol, "matmul_%s_%s", type, b->level);
    *(void **) &product = dlsym(b->handles[build], symbol);
    if (!product)
        fprintf(stderr, "build %d has no %s\n", build + 1, symbol);
    return product;
}

/* The next number of a list with commas, which *list goes on behind; 0 and a message where there is none of 1 to most. */
static inline int next_number(const char **list, int most)
{
    char *end;
    long n = strtol(*list, &end, 10);
    if (end == *list || n < 1 || n > most) {
        fprintf(stderr, "%s: must be numbers from 1 to %d\n", *list, most);
        return 0;
    }
    *list = *end == ',' ? end + 1 : end;
    return (int) n;
}

#endif
