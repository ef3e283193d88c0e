/*
 * char_class.h - from text to one class byte a character
 *
 * The pre-tokenisers' expressions run over class bytes instead of UTF-8: ASCII
 * stands for itself, every other character for the set of Unicode classes that
 * it is in (make_char_class.py). The expressions thereby use the Unicode version
 * the vocabularies were checked with, whatever version PCRE2 was built with, and
 * a bracket expression is a bitmap of 256 bits instead of a walk over ranges.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TEXT_CHAR_CLASS_H
#define TEXT_CHAR_CLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint8_t char_class(uint32_t code);

/*
 * Class bytes of text's characters into classes (room for size). Returns their
 * number, or SIZE_MAX when text is not in its one canonical form, that is, holds
 * ill-formed or overlong sequences: char_normalize() it first.
 */
size_t char_classify(const uint8_t *text, size_t size, uint8_t *classes);

/*
 * Canonical form: bytes that begin no sequence become U+FFFD, overlong forms the
 * character they compute to. Room for 3 * size bytes in to; returns the bytes written.
 */
size_t char_normalize(const uint8_t *text, size_t size, uint8_t *to);

/* White space, as regular expressions and Python's strip() see it. */
bool char_is_space(uint32_t code);

#endif
