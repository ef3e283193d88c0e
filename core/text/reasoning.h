/*
 * reasoning.h - an answer that thinks aloud, taken apart as it arrives
 *
 * Models of the R1 kind write their reasoning, then </think>, then the answer.
 * The prompt usually ends in <think> already; where it does not, the model may
 * open the reasoning itself or skip it. Text comes in pieces of any size, and a
 * tag may lie across several.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_REASONING_H
#define TEXT_REASONING_H

#include "base/buffer.h"

struct reasoning {
    enum reasoning_state {
        REASONING_START,        /* nothing came yet: <think> or the answer */
        REASONING_START_INSIDE, /* the same behind a prompt that ended in <think> */
        REASONING_OPENED,       /* behind <think>: its newline may follow */
        REASONING_INSIDE,
        REASONING_CLOSED,       /* behind </think>: newlines may follow */
        REASONING_ANSWER
    } state;
    char held[8];               /* the beginning of what may become a tag */
    size_t n_held;
};

/* inside: the prompt ended in <think> (chat_template.opens_reasoning), so everything up to </think> is reasoning. */
void reasoning_begin(struct reasoning *r, bool inside);

/*
 * Appends what is certain by now to one of the two. What only sets the parts
 * apart belongs to neither: one <think> in front with its newline, and </think>
 * with the newline before it and all newlines behind it.
 */
void reasoning_feed(struct reasoning *r, const char *text, size_t size, struct buffer *thought,
                    struct buffer *answer);

/* The text has ended: appends what was held back. False when it ended inside the reasoning, which was cut off. */
bool reasoning_end(struct reasoning *r, struct buffer *thought, struct buffer *answer);

#endif
