/*
 * main.c - dsr1-lsp: code completion by a local model, for any editor that speaks LSP
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "dsr1.h"

#include "check.h"
#include "server.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "dsr1-lsp - code completion by a local language model, over the Language Server Protocol\n"
    "\n"
    "Usage: dsr1-lsp [OPTION]...\n"
    "\n"
    "Without --check or --status it serves an editor on standard input and output.\n"
    "\n"
    "  --model FILE            GGUF model; default: $DSR1_MODEL, else the one that came with dsr1\n"
    "  --threads N             threads of the model; default: all cores\n"
    "  --log FILE              write the log there, not to standard error\n"
    "  --log-level LEVEL       debug, info, warn (default) or error\n"
    "  --set KEY=VALUE         any setting of docs/lsp.md: --set maxTokens=24 --set mode=line\n"
    "  --check FILE:LINE:COL   complete there (counted from 1), show what the model saw and wrote\n"
    "  --status                show the model that would be used\n"
    "  --stdio                 accepted and ignored: it is the only way to serve\n"
    "  --clientProcessId=PID   end when this process ends\n"
    "  --version, --help\n";

enum flag { OPTION_MODEL = 256, OPTION_THREADS, OPTION_LOG, OPTION_LEVEL, OPTION_SET, OPTION_CHECK, OPTION_STATUS,
            OPTION_STDIO, OPTION_PARENT, OPTION_VERSION, OPTION_HELP };

static const struct option options[] = {
    {"model", required_argument, NULL, OPTION_MODEL},     {"threads", required_argument, NULL, OPTION_THREADS},
    {"log", required_argument, NULL, OPTION_LOG},         {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"set", required_argument, NULL, OPTION_SET},         {"check", required_argument, NULL, OPTION_CHECK},
    {"status", no_argument, NULL, OPTION_STATUS},         {"stdio", no_argument, NULL, OPTION_STDIO},
    {"clientProcessId", required_argument, NULL, OPTION_PARENT}, {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},             {NULL, 0, NULL, 0}};

static int wrong(const char *format, const char *argument)
{
    fputs("dsr1-lsp: ", stderr);
    fprintf(stderr, format, argument);
    fputs("; try --help\n", stderr);
    return 2;
}

/* KEY=VALUE: the value is JSON if it can be read so, else a string. */
static bool set(json_t *chosen, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair)
        return false;
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
    if (!value)
        value = json_string(equals + 1);
    return value && json_object_setn_new(chosen, pair, (size_t) (equals - pair), value) == 0;
}

static void complain(const char *line, void *user)
{
    fprintf(stderr, "dsr1-lsp: %s\n", line);
    *(bool *) user = true;
}

static bool parse_number(const char *text, int *number)
{
    char *end;
    long value = strtol(text, &end, 10);
    *number = (int) value;
    return *text && !*end && value > 0 && value < 1 << 30;
}

int main(int argc, char **argv)
{
    struct server_options server = {.in = STDIN_FILENO, .out = STDOUT_FILENO, .settings = json_object()};
    const char *place = NULL;
    bool status = false, wrong_setting = false;
    int number;
    json_object_seed(0); /* before the first thread */
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case OPTION_MODEL: json_object_set_new(server.settings, "core.model", json_string(optarg)); break;
        case OPTION_THREADS:
            if (!parse_number(optarg, &number))
                return wrong("--threads %s is no number", optarg);
            json_object_set_new(server.settings, "core.threads", json_integer(number));
            break;
        case OPTION_LOG: json_object_set_new(server.settings, "log.file", json_string(optarg)); break;
        case OPTION_LEVEL: json_object_set_new(server.settings, "log.level", json_string(optarg)); break;
        case OPTION_SET:
            if (!set(server.settings, optarg))
                return wrong("--set %s is not KEY=VALUE", optarg);
            break;
        case OPTION_CHECK: place = optarg; break;
        case OPTION_STATUS: status = true; break;
        case OPTION_STDIO: break;
        case OPTION_PARENT:
            if (!parse_number(optarg, &server.parent))
                return wrong("--clientProcessId %s is no process", optarg);
            break;
        case OPTION_VERSION: printf("dsr1-lsp %s\n", dsr1_version()); return 0;
        case OPTION_HELP: fputs(usage, stdout); return 0;
        default: fputs("Try dsr1-lsp --help\n", stderr); return 2;
        }
    }
    if (optind < argc)
        return wrong("unexpected argument %s", argv[optind]);

    struct settings settings;
    settings_defaults(&settings);
    settings_apply(&settings, server.settings, complain, &wrong_setting);
    int result = wrong_setting ? 2 : place ? check_place(&settings, place) : status ? check_status(&settings) : server_run(&server);
    settings_free(&settings);
    json_decref(server.settings);
    return result;
}
