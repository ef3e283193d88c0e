/*
 * script.c - what a text tells the fake engine to do with it
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "script.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ORDER_MAX = 1000 };

static const struct {
    const char *name;
    enum script_order order;
} orders[] = {
    {"hang", SCRIPT_HANG},   {"die", SCRIPT_DIE},       {"garbage", SCRIPT_GARBAGE},
    {"cut", SCRIPT_CUT},     {"goodbye", SCRIPT_GOODBYE}, {"freeze", SCRIPT_FREEZE},
    {"error", SCRIPT_ERROR}, {"wrong", SCRIPT_WRONG},   {"twice", SCRIPT_TWICE},
};

static void say(struct script *script, const char *text)
{
    buffer_free(&script->answer);
    script->answer = (struct buffer){0};
    script->said = true;
    for (; *text; text++) {
        unsigned byte;
        if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1) {
            buffer_append(&script->answer, &(char){(char) byte}, 1);
            text += 2;
        } else {
            buffer_append(&script->answer, text, 1);
        }
    }
}

static void say_long(struct script *script, int size)
{
    buffer_free(&script->answer);
    script->answer = (struct buffer){0};
    script->said = true;
    for (int i = 0; i < size; i++)
        buffer_append(&script->answer, i % 6 == 5 ? " " : "x", 1);
}

/* True the first time that anybody asks for the name. */
static bool first_time(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* "NAME REST" behind an order with -once: is it still to be obeyed? *rest moves behind the name. */
static bool wanted(char **rest)
{
    char *name = *rest;
    char *end = name + strcspn(name, " ");
    char file[ORDER_MAX + 20];
    *rest = *end ? end + 1 : end;
    *end = '\0';
    snprintf(file, sizeof file, "fake_once.%s", name);
    return !strchr(name, '/') && first_time(file);
}

/* The first word, its "-once" taken off, and what follows it. Returns false for what is no order. */
static bool obey(struct script *script, char *text)
{
    char *rest = text + strcspn(text, " ");
    if (*rest)
        *rest++ = '\0';
    char *once = strstr(text, "-once");
    bool go = true;
    if (once) {
        *once = '\0';
        go = wanted(&rest);
    }
    if (strcmp(text, "as") == 0) {
        script->model = go ? atoi(rest) : script->model;
        return true;
    }
    if (strcmp(text, "delay") == 0) {
        script->delay_ms = go ? atoi(rest) : script->delay_ms;
        return true;
    }
    if (strcmp(text, "say") == 0 || strcmp(text, "long") == 0) {
        if (go && *text == 's')
            say(script, rest);
        else if (go)
            say_long(script, atoi(rest));
        return true;
    }
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        if (strcmp(text, orders[i].name) != 0)
            continue;
        if (!go)
            return true;
        script->order = orders[i].order;
        script->number = atoi(rest);
        if (script->order == SCRIPT_ERROR)
            say(script, strchr(rest, ' ') ? strchr(rest, ' ') + 1 : rest);
        return true;
    }
    return false;
}

void script_read(struct script *script, struct wire_text text)
{
    const char *end = text.data + text.size;
    *script = (struct script){.order = SCRIPT_ANSWER};
    struct buffer echo = {0};
    for (const char *at = text.data; at < end; at++) {
        const char *close = *at == '[' ? memchr(at, ']', (size_t) (end - at)) : NULL;
        char order[ORDER_MAX];
        if (close && close - at <= ORDER_MAX) {
            snprintf(order, sizeof order, "%.*s", (int) (close - at - 1), at + 1);
            if (obey(script, order)) {
                at = close;
                continue;
            }
        }
        buffer_append(&echo, at, 1);
    }
    if (script->said) {
        buffer_free(&echo);
    } else {
        script->answer = echo;
    }
}
