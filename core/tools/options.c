/*
 * options.c - command lines as tables, over getopt_long
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/options.h"

#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 64, HELP_LETTER = 1, FIRST_LONG = 256 };

int options_wrong(const struct command_line *line, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", line->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, " (see %s --help)\n", line->command);
    return 2;
}

static void print_row(const struct option_row *row)
{
    char left[80];
    int n = row->letter ? snprintf(left, sizeof left, "  -%c, --%s", row->letter, row->name)
                        : snprintf(left, sizeof left, "      --%s", row->name);
    if (row->argument && n > 0 && (size_t) n < sizeof left)
        snprintf(left + n, sizeof left - (size_t) n, " %s", row->argument);
    printf("%-30s %s\n", left, row->help);
}

static void print_help(const struct command_line *line)
{
    static const struct option_row help = {'h', "help", OPTION_FLAG, NULL, NULL, "print this help and exit", 0, 0};
    printf("Usage: %s %s\n\n%s\n\nOptions:\n", line->command, line->synopsis, line->about);
    for (const struct option_row *row = line->rows; row->name; row++)
        print_row(row);
    print_row(&help);
}

static bool read_number(const char *text, double min, double max, double *number)
{
    char *end;
    errno = 0;
    *number = strtod(text, &end);
    if (errno || end == text || *end || !isfinite(*number))
        return false;
    return min == max || (*number >= min && *number <= max);
}

static bool read_whole(const char *text, double min, double max, int *whole)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < INT32_MIN || value > INT32_MAX)
        return false;
    *whole = (int) value;
    return min == max || ((double) value >= min && (double) value <= max);
}

static bool read_seed(const char *text, uint64_t *seed)
{
    char *end;
    errno = 0;
    *seed = strtoull(text, &end, 0);
    return !errno && end != text && !*end && !strchr(text, '-');
}

bool options_read_ints(const char *text, double min, double max, struct int_list *list)
{
    size_t n = 1, i = 0;
    for (const char *c = text; *c; c++)
        n += *c == ',';
    *list = (struct int_list){memory_array(n, sizeof *list->items), n};
    char *copy = strdup(text), *rest = copy, *word;
    bool good = list->items && copy;
    while (good && (word = strsep(&rest, ","))) {
        while (isspace((unsigned char) *word))
            word++;
        int value = 0;
        good = read_whole(word, min, max, &value);
        list->items[i++] = value;
    }
    free(copy);
    if (!good)
        int_list_free(list);
    return good;
}

static bool add_string(struct string_list *list, const char *text)
{
    const char **items = memory_resize(list->items, list->n + 1, sizeof *items);
    if (!items)
        return false;
    list->items = items;
    list->items[list->n++] = text;
    return true;
}

/* Returns 0, or 2 after saying what is wrong. */
static int set_value(const struct command_line *line, const struct option_row *row, const char *text)
{
    double number;
    bool good = true;
    switch (row->type) {
    case OPTION_FLAG:
        *(bool *) row->value = true;
        break;
    case OPTION_STRING:
        *(const char **) row->value = text;
        break;
    case OPTION_STRINGS:
        good = add_string(row->value, text);
        break;
    case OPTION_INT:
        good = read_whole(text, row->min, row->max, row->value);
        break;
    case OPTION_FLOAT:
        good = read_number(text, row->min, row->max, &number);
        if (good)
            *(float *) row->value = (float) number;
        break;
    case OPTION_SEED:
        good = read_seed(text, row->value);
        break;
    case OPTION_INTS:
        int_list_free(row->value);
        good = options_read_ints(text, row->min, row->max, row->value);
        break;
    }
    if (good)
        return 0;
    const char *commas = row->type == OPTION_INTS ? ", separated by commas" : "";
    if (row->min != row->max && row->max == INT32_MAX)
        return options_wrong(line, "--%s %s: must be a whole number from %g%s", row->name, text, row->min, commas);
    if (row->min != row->max)
        return options_wrong(line, "--%s %s: must be %g to %g%s", row->name, text, row->min, row->max, commas);
    return options_wrong(line, "--%s %s: not a number", row->name, text);
}

/* Long options come back as FIRST_LONG + row, so that a row needs no letter. */
static void fill_tables(const struct command_line *line, struct option *longs, char *shorts)
{
    size_t i = 0, s = 0;
    shorts[s++] = ':';
    for (const struct option_row *row = line->rows; row->name && i < MAX_ROWS; row++, i++) {
        longs[i] = (struct option){row->name, row->argument ? required_argument : no_argument, NULL,
                                   FIRST_LONG + (int) i};
        if (row->letter) {
            shorts[s++] = row->letter;
            if (row->argument)
                shorts[s++] = ':';
        }
    }
    longs[i++] = (struct option){"help", no_argument, NULL, HELP_LETTER};
    longs[i] = (struct option){NULL, 0, NULL, 0};
    shorts[s++] = 'h';
    shorts[s] = 0;
}

static const struct option_row *find_row(const struct command_line *line, int code)
{
    if (code >= FIRST_LONG)
        return &line->rows[code - FIRST_LONG];
    for (const struct option_row *row = line->rows; row->name; row++)
        if (row->letter == code)
            return row;
    return NULL;
}

int options_parse(const struct command_line *line, int argc, char **argv, int *first)
{
    struct option longs[MAX_ROWS + 2];
    char shorts[2 * MAX_ROWS + 4];
    fill_tables(line, longs, shorts);
    optind = 0;
    opterr = 0;
    for (;;) {
        int code = getopt_long(argc, argv, shorts, longs, NULL);
        if (code == -1)
            break;
        if (code == HELP_LETTER || code == 'h') {
            print_help(line);
            return 0;
        }
        if (code == ':')
            return options_wrong(line, "%s needs a value", argv[optind - 1]);
        if (code == '?') {
            if (optopt && optopt < FIRST_LONG)
                return options_wrong(line, "no option -%c", optopt);
            return options_wrong(line, "no option %s", argv[optind - 1]);
        }
        int status = set_value(line, find_row(line, code), optarg);
        if (status)
            return status;
    }
    if (argc - optind > line->max_arguments)
        return options_wrong(line, "unexpected argument %s", argv[optind + line->max_arguments]);
    *first = optind;
    return OPTIONS_GO;
}

void int_list_free(struct int_list *list)
{
    free(list->items);
    *list = (struct int_list){0};
}

void string_list_free(struct string_list *list)
{
    free(list->items);
    *list = (struct string_list){0};
}
