/*
 * json_text.c - bytes of a model as a JSON string
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train/json_text.h"

#include "base/buffer.h"

#include <string.h>

json_t *json_text(const char *text, size_t size)
{
    json_t *value = memchr(text, 0, size) ? NULL : json_stringn(text, size);
    if (value)
        return value;
    struct buffer clean = {0};
    for (size_t i = 0; i < size;) {
        /* The sequence that begins here, where one does: jansson knows which are well-formed. */
        size_t n = (unsigned char) text[i] < 0x80 ? 1 : 2;
        json_t *one = NULL;
        for (; text[i] && n <= 4 && i + n <= size && !(one = json_stringn(text + i, n)); n++)
            ;
        if (one)
            buffer_append(&clean, text + i, n);
        else
            buffer_append(&clean, "\xef\xbf\xbd", 3);
        i += one ? n : 1;
        json_decref(one);
    }
    value = json_stringn(clean.data ? clean.data : "", clean.size);
    buffer_free(&clean);
    return value;
}
