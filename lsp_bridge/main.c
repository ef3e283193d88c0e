/*
 * main.c - dsr1-lsp: code completion by a local model, for any editor that speaks LSP
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "dsr1.h"

#include "check.h"
#include "replay.h"
#include "server.h"

#include <fcntl.h>
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
    "  --record TRACE          write what the editor says, and when, to a file\n"
    "  --replay TRACE          say it again to a server of its own and print how long answers took\n"
    "  --status                show the model that would be used\n"
    "  --stdio                 accepted and ignored: it is the only way to serve\n"
    "  --clientProcessId=PID   end when this process ends\n"
    "  --version, --help\n";

enum flag { OPTION_MODEL = 256, OPTION_THREADS, OPTION_LOG, OPTION_LEVEL, OPTION_SET, OPTION_CHECK, OPTION_STATUS,
            OPTION_RECORD, OPTION_REPLAY,
            OPTION_STDIO, OPTION_PARENT, OPTION_VERSION, OPTION_HELP };

static const struct option options[] = {
    {"model", required_argument, NULL, OPTION_MODEL},     {"threads", required_argument, NULL, OPTION_THREADS},
    {"log", required_argument, NULL, OPTION_LOG},         {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"set", required_argument, NULL, OPTION_SET},         {"check", required_argument, NULL, OPTION_CHECK},
    {"status", no_argument, NULL, OPTION_STATUS},         {"record", required_argument, NULL, OPTION_RECORD},   {"replay", required_argument, NULL, OPTION_REPLAY},
    {"stdio", no_argument, NULL, OPTION_STDIO},
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

struct invocation {
    struct server_options server;
    const char *place;          /* --check */
    const char *trace;          /* --replay */
    bool status;                /* --status */
};

/* Reads one option. The exit status when it ends the program, else -1. */
static int read_option(struct invocation *invocation, int option)
{
    json_t *settings = invocation->server.settings;
    int number;
    switch (option) {
    case OPTION_MODEL: json_object_set_new(settings, "core.model", json_string(optarg)); return -1;
    case OPTION_THREADS:
        if (!parse_number(optarg, &number))
            return wrong("--threads %s is no number", optarg);
        json_object_set_new(settings, "core.threads", json_integer(number));
        return -1;
    case OPTION_LOG: json_object_set_new(settings, "log.file", json_string(optarg)); return -1;
    case OPTION_LEVEL: json_object_set_new(settings, "log.level", json_string(optarg)); return -1;
    case OPTION_SET: return set(settings, optarg) ? -1 : wrong("--set %s is not KEY=VALUE", optarg);
    case OPTION_CHECK: invocation->place = optarg; return -1;
    case OPTION_STATUS: invocation->status = true; return -1;
    case OPTION_REPLAY: invocation->trace = optarg; return -1;
    case OPTION_RECORD:
        invocation->server.record = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        return invocation->server.record < 0 ? wrong("--record cannot write to %s", optarg) : -1;
    case OPTION_STDIO: return -1;
    case OPTION_PARENT:
        return parse_number(optarg, &invocation->server.parent) ? -1 : wrong("--clientProcessId %s is no process", optarg);
    case OPTION_VERSION: printf("dsr1-lsp %s\n", dsr1_version()); return 0;
    case OPTION_HELP: fputs(usage, stdout); return 0;
    default: fputs("Try dsr1-lsp --help\n", stderr); return 2;
    }
}

static int run(const struct invocation *invocation)
{
    struct settings settings;
    bool wrong_setting = false;
    int result = 2;
    settings_defaults(&settings);
    settings_apply(&settings, invocation->server.settings, complain, &wrong_setting);
    if (!wrong_setting && invocation->place)
        result = check_place(&settings, invocation->place);
    else if (!wrong_setting && invocation->trace)
        result = replay_trace(invocation->trace, invocation->server.settings);
    else if (!wrong_setting && invocation->status)
        result = check_status(&settings);
    else if (!wrong_setting) {
        if (isatty(invocation->server.in))
            fputs("dsr1-lsp: waiting for an editor on standard input; --check, --status and --help are for people\n", stderr);
        result = server_run(&invocation->server);
    }
    settings_free(&settings);
    return result;
}

int main(int argc, char **argv)
{
    json_object_seed(0); /* before the first thread */
    struct invocation invocation = {.server = {.in = STDIN_FILENO, .out = STDOUT_FILENO, .settings = json_object()}};
    int result = -1;
    for (int c; result < 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        result = read_option(&invocation, c);
    if (result < 0 && optind < argc)
        result = wrong("unexpected argument %s", argv[optind]);
    if (result < 0)
        result = run(&invocation);
    json_decref(invocation.server.settings);
    return result;
}
