/*
 * ignore.h - files that must not be read: .gitignore and .dsr1ignore
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_IGNORE_H
#define LSP_IGNORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Do the lines of an ignore file name this path, given relative to the file's
 * folder? 1 yes, -1 an exception (!pattern) says no, 0 nothing fits. The last
 * pattern that fits decides, as in git.
 */
int ignore_match(const char *rules, size_t size, const char *path);

/*
 * Is a file:// URI named by one of the ignore files (an array of names) in its
 * folder or those above, up to the one with .git? Other URIs never are.
 */
bool ignore_file(json_t *names, const char *uri);

#endif
