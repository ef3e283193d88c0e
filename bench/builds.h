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

/* The product with panels of a type; NULL where a build has none. */
static inline product_function builds_product(const struct builds *b, int build, const char *type)
{
    product_function product;
    char symbol[100];
    snprintf(symbol, sizeof symbol, "matmul_%s_%s", type, b->level);
    *(void **) &product = dlsym(b->handles[build], symbol);
    return product;
}

#endif
