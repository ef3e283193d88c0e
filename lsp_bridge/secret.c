/*
 * secret.c - does a text look like a key that should not be suggested?
 *
 * Models learned shapes of credentials along with everything else, and people
 * paste what they are shown. Few, narrow shapes: a wrong alarm costs a good line.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "secret.h"

#include <ctype.h>
#include <string.h>

static const struct {
    const char *start;
    size_t least;           /* letters, digits, _ and - that must follow */
} shapes[] = {
    {"AKIA", 16}, {"ASIA", 16}, {"ghp_", 30}, {"gho_", 30}, {"ghs_", 30}, {"github_pat_", 22}, {"glpat-", 18},
    {"xoxb-", 16}, {"xoxp-", 16}, {"sk-", 32}, {"sk_live_", 16}, {"AIza", 30}, {"eyJhbGciOi", 20},
    {"-----BEGIN RSA PRIVATE KEY", 0}, {"-----BEGIN PRIVATE KEY", 0}, {"-----BEGIN OPENSSH PRIVATE KEY", 0},
    {"-----BEGIN EC PRIVATE KEY", 0},
};

static size_t run_of(const char *s, size_t size)
{
    size_t n = 0;
    while (n < size && (isalnum((unsigned char) s[n]) || s[n] == '_' || s[n] == '-'))
        n++;
    return n;
}

size_t secret_find(const char *text, size_t size)
{
    size_t first = size;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t n = strlen(shapes[i].start);
        for (size_t from = 0; from < first;) {
            const char *at = memmem(text + from, size - from, shapes[i].start, n);
            if (!at)
                break;
            size_t offset = (size_t) (at - text);
            if (run_of(at + n, size - offset - n) >= shapes[i].least && offset < first)
                first = offset;
            from = offset + 1;
        }
    }
    return first;
}
