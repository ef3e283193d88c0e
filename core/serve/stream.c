/*
 * stream.c - token bytes to text that may be shown
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/stream.h"

#include <string.h>

static bool continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/*
 * Length of the character at p: positive when well-formed, 0 when size ends
 * within it, negative (-n) for n ill-formed bytes to replace (Unicode 15, table 3-7).
 */
static int character(const unsigned char *p, size_t size)
{
    int n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
            : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : -1;
    if (n <= 1)
        return n;
    unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i < n; i++) {
        if ((size_t) i >= size)
            return 0;
        if (!continuation(p[i]) || (i == 1 && (p[1] < low || p[1] > high)))
            return -i;
    }
    return n;
}

/* Moves up to limit pending bytes to ready, character by character. */
static void give_out(struct stream *s, size_t limit, bool last)
{
    size_t at = 0;
    while (at < limit) {
        int n = character((const unsigned char *) s->pending.data + at, s->pending.size - at);
        if (n == 0 && !last)
            break;
        if (n > 0 && at + (size_t) n > limit && !last)
            break;
        if (n > 0) {
            buffer_append(&s->ready, s->pending.data + at, (size_t) n);
            at += (size_t) n;
        } else {
            buffer_append(&s->ready, "\xef\xbf\xbd", 3);
            at += n < 0 ? (size_t) -n : s->pending.size - at;
        }
    }
    buffer_drop(&s->pending, at);
}

/* The longest end of pending that begins a stop string. */
static size_t held_back(const struct stream *s)
{
    size_t most = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = s->stops[i].size - 1;
        if (n > s->pending.size)
            n = s->pending.size;
        while (n > most && memcmp(s->pending.data + s->pending.size - n, s->stops[i].data, n) != 0)
            n--;
        if (n > most)
            most = n;
    }
    return most;
}

static bool find_stop(const struct stream *s, size_t *at)
{
    bool found = false;
    for (size_t i = 0; i < s->n_stops; i++) {
        const char *hit = memmem(s->pending.data, s->pending.size, s->stops[i].data, s->stops[i].size);
        if (hit && (!found || (size_t) (hit - s->pending.data) < *at)) {
            *at = (size_t) (hit - s->pending.data);
            found = true;
        }
    }
    return found;
}

void stream_push(struct stream *s, const char *bytes, size_t size)
{
    size_t at = 0;
    buffer_append(&s->pending, bytes, size);
    if (s->stopped || s->pending.failed || s->pending.size == 0)
        return;
    if (find_stop(s, &at)) {
        s->pending.size = at;
        s->stopped = true;
        give_out(s, at, true);
        return;
    }
    give_out(s, s->pending.size - held_back(s), false);
}

void stream_finish(struct stream *s)
{
    if (!s->stopped && s->pending.size > 0)
        give_out(s, s->pending.size, true);
}

bool stream_ok(const struct stream *s)
{
    return !s->pending.failed && !s->ready.failed;
}

void stream_free(struct stream *s)
{
    buffer_free(&s->pending);
    buffer_free(&s->ready);
}
