/*
 * json_text.h - bytes of a model as a JSON string
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_JSON_TEXT_H
#define TRAIN_JSON_TEXT_H

#include <jansson.h>
#include <stddef.h>

/* JSON has no bytes that are no UTF-8, and databases have no zeros: such become U+FFFD. */
json_t *json_text(const char *text, size_t size);

#endif
