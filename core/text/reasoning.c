/*
 * reasoning.c - an answer that thinks aloud, taken apart as it arrives
 *
 * Byte by byte: at each state there is at most one tag that may come next, and
 * the bytes held back are always a beginning of it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/reasoning.h"

#include <string.h>

static const char opening[] = "<think>";
static const char closing[] = "</think>";

void reasoning_begin(struct reasoning *r, bool inside)
{
    *r = (struct reasoning){.state = inside ? REASONING_START_INSIDE : REASONING_START};
}

/* What did not become a tag is text of the state that follows. */
static void release(struct reasoning *r, struct buffer *thought, struct buffer *answer)
{
    if (r->state == REASONING_START)
        r->state = REASONING_ANSWER;
    else if (r->state == REASONING_START_INSIDE || r->state == REASONING_OPENED)
        r->state = REASONING_INSIDE;
    buffer_append(r->state == REASONING_ANSWER ? answer : thought, r->held, r->n_held);
    r->n_held = 0;
}

/* In </think> only the first byte is '<', so a failed match can begin again with the byte that failed, or not at all. */
static void step(struct reasoning *r, char c, struct buffer *thought, struct buffer *answer)
{
    if (r->state == REASONING_OPENED) {
        r->state = REASONING_INSIDE;
        if (c == '\n')
            return;
    }
    bool at_start = r->state == REASONING_START || r->state == REASONING_START_INSIDE;
    const char *tag = at_start ? opening : closing;
    if (r->state != REASONING_ANSWER && c == tag[r->n_held]) {
        r->held[r->n_held++] = c;
        if (tag[r->n_held] == 0) {
            r->n_held = 0;
            r->state = at_start ? REASONING_OPENED : REASONING_ANSWER;
        }
        return;
    }
    if (at_start) {
        /* The bytes held back may begin </think>: they are looked at again as reasoning. */
        char held[sizeof r->held];
        size_t n = r->n_held;
        memcpy(held, r->held, n);
        r->n_held = 0;
        r->state = r->state == REASONING_START ? REASONING_ANSWER : REASONING_INSIDE;
        for (size_t i = 0; i < n; i++)
            step(r, held[i], thought, answer);
        step(r, c, thought, answer);
        return;
    }
    release(r, thought, answer);
    if (r->state == REASONING_INSIDE && c == closing[0])
        r->held[r->n_held++] = c;
    else
        buffer_append(r->state == REASONING_ANSWER ? answer : thought, &c, 1);
}

void reasoning_feed(struct reasoning *r, const char *text, size_t size, struct buffer *thought, struct buffer *answer)
{
    while (size && r->state != REASONING_ANSWER) {
        step(r, *text++, thought, answer);
        size--;
    }
    buffer_append(answer, text, size);
}

bool reasoning_end(struct reasoning *r, struct buffer *thought, struct buffer *answer)
{
    release(r, thought, answer);
    return r->state == REASONING_ANSWER;
}
