/*
 * ignore.c - files that must not be read: .gitignore and .dsr1ignore
 *
 * The rules of git's manual for the patterns that people write: comments, !, a
 * slash in front or within that binds a pattern to its folder, one behind for
 * folders, ** for any number of folders. fnmatch() does the rest.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "ignore.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define RULES_BYTES (256 << 10)

/* Does the pattern fit the path's beginning, which ends at a slash or the path's end? */
static bool fits_part(const char *pattern, const char *path, bool folders_only)
{
    char part[PATH_BYTES];
    for (size_t n = 1; n <= strlen(path) && n < sizeof part; n++) {
        if (path[n] != '/' && path[n] != 0)
            continue;
        if (folders_only && path[n] == 0)
            continue; /* the file itself is no folder */
        memcpy(part, path, n);
        part[n] = 0;
        if (fnmatch(pattern, part, FNM_PATHNAME) == 0)
            return true;
    }
    return false;
}

static bool fits(const char *pattern, const char *path, bool anchored, bool folders_only)
{
    const char *tail = strstr(pattern, "/**");
    if (strncmp(pattern, "**/", 3) == 0)
        return fits(pattern + 3, path, false, folders_only);
    if (tail && tail[3] == 0 && tail > pattern) {
        char folder[PATH_BYTES];
        snprintf(folder, sizeof folder, "%.*s", (int) (tail - pattern), pattern);
        return fits(folder, path, anchored, true);
    }
    if (fits_part(pattern, path, folders_only))
        return true;
    for (const char *slash = path; !anchored && (slash = strchr(slash, '/'));) {
        if (fits_part(pattern, ++slash, folders_only))
            return true;
    }
    return false;
}

int ignore_match(const char *rules, size_t size, const char *path)
{
    int result = 0;
    for (size_t at = 0; at < size;) {
        const char *line = rules + at, *end = memchr(line, '\n', size - at);
        size_t n = end ? (size_t) (end - line) : size - at;
        at += n + 1;
        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\r' || line[n - 1] == '\t'))
            n--;
        if (n == 0 || *line == '#')
            continue;
        bool exception = *line == '!';
        line += exception;
        n -= exception;
        bool folders_only = n > 0 && line[n - 1] == '/';
        n -= folders_only;
        char pattern[PATH_BYTES];
        if (n == 0 || n >= sizeof pattern || memchr(line, 0, n))
            continue;
        memcpy(pattern, line, n);
        pattern[n] = 0;
        bool anchored = strchr(pattern, '/') != NULL;
        if (fits(pattern + (*pattern == '/'), path, anchored, folders_only))
            result = exception ? -1 : 1;
    }
    return result;
}

/* The path of a file:// URI with %XX decoded; false for another kind. */
static bool uri_path(const char *uri, char *path, size_t size)
{
    if (strncmp(uri, "file:///", 8) != 0)
        return false;
    size_t n = 0;
    for (const char *s = uri + 7; *s && n + 1 < size; s++) {
        char hex[3] = {s[0], s[0] ? s[1] : 0, 0}, *end;
        if (*s == '%' && s[1] && s[2]) {
            hex[0] = s[1];
            hex[1] = s[2];
            long byte = strtol(hex, &end, 16);
            if (*end == 0 && byte > 0) {
                path[n++] = (char) byte;
                s += 2;
                continue;
            }
        }
        path[n++] = *s;
    }
    path[n] = 0;
    return true;
}

static int match_in(const char *folder, const char *name, const char *relative)
{
    char path[PATH_BYTES + 300];
    snprintf(path, sizeof path, "%s/%.255s", folder, name);
    FILE *in = fopen(path, "rbe");
    char *rules = in ? malloc(RULES_BYTES) : NULL;
    int result = 0;
    if (rules)
        result = ignore_match(rules, fread(rules, 1, RULES_BYTES, in), relative);
    free(rules);
    if (in)
        fclose(in);
    return result;
}

bool ignore_file(json_t *names, const char *uri)
{
    char path[PATH_BYTES], folder[PATH_BYTES], git[PATH_BYTES + 8];
    if (json_array_size(names) == 0 || !uri_path(uri, path, sizeof path))
        return false;
    memcpy(folder, path, sizeof folder);
    /* From the file's own folder up: the nearest file that says something decides. */
    for (char *slash; (slash = strrchr(folder, '/')) && slash > folder;) {
        *slash = 0;
        const char *relative = path + (slash - folder) + 1;
        size_t i;
        json_t *name;
        json_array_foreach(names, i, name) {
            int said = json_is_string(name) ? match_in(folder, json_string_value(name), relative) : 0;
            if (said != 0)
                return said > 0;
        }
        snprintf(git, sizeof git, "%s/.git", folder);
        if (access(git, F_OK) == 0)
            break;
    }
    return false;
}
