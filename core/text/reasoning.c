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
static const char closing[] = "\n</think>";     /* the newline may be missing */

void reasoning_begin(struct reasoning *r, bool inside)
{
    *r = (struct reasoning){.state = inside ? REASONING_START_INSIDE : REASONING_START};
}

static bool at_start(const struct reasoning *r)
{
    return r->state == REASONING_START || r->state == REASONING_START_INSIDE;
}

/* What did not become a tag is text of the state we are in. */
static void release(struct reasoning *r, struct buffer *thought, struct buffer *answer)
{
    buffer_append(r->state == REASONING_ANSWER ? answer : thought, r->held, r->n_held);
    r->n_held = 0;
}

/* Its first two bytes stand nowhere else in the tag: a failed match begins again with the byte that failed or not. */
static void step_inside(struct reasoning *r, char c, struct buffer *thought, struct buffer *answer)
{
    size_t missing = r->n_held ? r->held[0] != closing[0] : c == closing[1];
    if (c == closing[missing + r->n_held]) {
        if (closing[missing + r->n_held + 1] == 0) {
            r->n_held = 0;
            r->state = REASONING_CLOSED;
        } else {
            r->held[r->n_held++] = c;
        }
        return;
    }
    release(r, thought, answer);
    if (c == closing[0] || c == closing[1])
        r->held[r->n_held++] = c;
    else
        buffer_append(thought, &c, 1);
}

static void step(struct reasoning *r, char c, struct buffer *thought, struct buffer *answer);

/* Without <think>, the bytes held back are looked at again as what they are: they may begin </think>. */
static void step_start(struct reasoning *r, char c, struct buffer *thought, struct buffer *answer)
{
    if (c == opening[r->n_held]) {
        r->held[r->n_held++] = c;
        if (opening[r->n_held] == 0) {
            r->n_held = 0;
            r->state = REASONING_OPENED;
        }
        return;
    }
    struct reasoning before = *r;
    r->n_held = 0;
    r->state = r->state == REASONING_START ? REASONING_ANSWER : REASONING_INSIDE;
    for (size_t i = 0; i < before.n_held; i++)
        step(r, before.held[i], thought, answer);
    step(r, c, thought, answer);
}

static void step(struct reasoning *r, char c, struct buffer *thought, struct buffer *answer)
{
    if (at_start(r)) {
        step_start(r, c, thought, answer);
    } else if (r->state == REASONING_ANSWER) {
        buffer_append(answer, &c, 1);
    } else if (r->state == REASONING_CLOSED) {
        if (c == '\n')
            return;
        r->state = REASONING_ANSWER;
        buffer_append(answer, &c, 1);
    } else {
        bool newline_of_tag = r->state == REASONING_OPENED && c == '\n';
        r->state = REASONING_INSIDE;
        if (!newline_of_tag)
            step_inside(r, c, thought, answer);
    }
}

void reasoning_feed(struct reasoning *r, const char *text, size_t size, struct buffer *thought, struct buffer *answer)
{
    while (size && r->state != REASONING_ANSWER) {
        step(r, *text++, thought, answer);
        size--;
    }
    if (size)
        buffer_append(answer, text, size);
}

bool reasoning_end(struct reasoning *r, struct buffer *thought, struct buffer *answer)
{
    if (at_start(r))
        r->state = r->state == REASONING_START ? REASONING_ANSWER : REASONING_INSIDE;
    release(r, thought, answer);
    return r->state == REASONING_ANSWER || r->state == REASONING_CLOSED;
}
