/*
 * wire_codec.h - one description of a message serves writing and reading
 *
 * A message is a function that names its fields in order; the codec it is given
 * either appends them to a frame or takes them from one. So what is written and
 * what is read cannot differ.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef WIRE_WIRE_CODEC_H
#define WIRE_WIRE_CODEC_H

#include "wire/wire_field.h"

struct wire_codec {
    struct buffer *out;         /* writing: the message itself is only looked at; NULL: reading */
    struct wire_cursor in;      /* in.failed in either direction */
};

#define WIRE_CODEC_FIELD(NAME, TYPE)                                        \
    static inline void wire_codec_##NAME(struct wire_codec *c, TYPE *value) \
    {                                                                       \
        if (c->out)                                                         \
            wire_put_##NAME(c->out, *value);                                \
        else                                                                \
            *value = wire_get_##NAME(&c->in);                               \
    }

WIRE_CODEC_FIELD(u32, uint32_t)
WIRE_CODEC_FIELD(u64, uint64_t)
WIRE_CODEC_FIELD(i32, int32_t)
WIRE_CODEC_FIELD(f32, float)
WIRE_CODEC_FIELD(f64, double)
WIRE_CODEC_FIELD(text, struct wire_text)

#undef WIRE_CODEC_FIELD

static inline int wire_codec_get_small(struct wire_codec *c, int most)
{
    int got = wire_get_u8(&c->in);
    if (got > most)
        c->in.failed = true;
    return c->in.failed ? 0 : got;
}

/* An enum or a truth as one byte; one above `most` is not one of ours. A macro, for each enum is a type of its own. */
#define wire_codec_small(c, field, most)                \
    do {                                                \
        if ((c)->out)                                   \
            wire_put_u8((c)->out, (uint8_t) (field));   \
        else                                            \
            (field) = wire_codec_get_small((c), (most));\
    } while (0)

/* How many of something follow, at most `most`. Returns 0 after a failure, which is one in either direction. */
static inline uint32_t wire_codec_count(struct wire_codec *c, uint32_t *n, uint32_t most)
{
    wire_codec_u32(c, n);
    if (*n > most)
        c->in.failed = true;
    if (c->in.failed && !c->out)
        *n = 0;
    return c->in.failed ? 0 : *n;
}

static inline void wire_codec_texts(struct wire_codec *c, uint32_t *n, struct wire_text *texts, uint32_t most)
{
    uint32_t count = wire_codec_count(c, n, most);
    for (uint32_t i = 0; i < count; i++)
        wire_codec_text(c, &texts[i]);
}

#endif
