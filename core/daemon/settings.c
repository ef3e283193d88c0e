/*
 * settings.c - the engine process's command line
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/settings.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "Usage: dsr1-engine --model FILE --socket PATH [OPTION]...\n"
    "\n"
    "Serves completions of one model on a Unix socket. PostgreSQL's \"dsr1 supervisor\" starts it; by hand\n"
    "it runs too. Zero is the default of every number and means that the engine chooses.\n"
    "\n"
    "Options:\n"
    "      --model FILE      the GGUF file\n"
    "      --socket PATH     where to listen; only processes of the same user may connect\n"
    "      --adapters DIR    LoRA adapters that requests may name: DIR/NAME.gguf\n"
    "      --digests FILE    notes the SHA-256 of model files, so that each is read for it once\n"
    "      --threads N       cores to use\n"
    "      --context N       tokens of one request, prompt and answer\n"
    "      --kv-size MB      memory for keys and values of all requests\n"
    "      --max-batch N     requests running at once\n"
    "      --max-queue N     requests waiting\n"
    "      --chunk N         prompt tokens computed per step\n"
    "      --experts N       experts that a token is sent to\n"
    "      --parent-fd N     a socket to the parent: states and heartbeats go out, its end ends the engine\n"
    "      --version         print the version and exit\n"
    "  -h, --help            print this help and exit\n";

enum { MODEL = 256, SOCKET, ADAPTERS, DIGESTS, THREADS, CONTEXT, KV_SIZE, MAX_BATCH, MAX_QUEUE, CHUNK, EXPERTS, PARENT_FD, VERSION };

static const struct option longs[] = {
    {"model", required_argument, NULL, MODEL},         {"socket", required_argument, NULL, SOCKET},
    {"adapters", required_argument, NULL, ADAPTERS},   {"digests", required_argument, NULL, DIGESTS},
    {"threads", required_argument, NULL, THREADS},     {"context", required_argument, NULL, CONTEXT},
    {"kv-size", required_argument, NULL, KV_SIZE},     {"max-batch", required_argument, NULL, MAX_BATCH},
    {"max-queue", required_argument, NULL, MAX_QUEUE}, {"chunk", required_argument, NULL, CHUNK},
    {"experts", required_argument, NULL, EXPERTS},     {"parent-fd", required_argument, NULL, PARENT_FD},
    {"version", no_argument, NULL, VERSION},           {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}};

static bool read_int(const char *text, int *value)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 0 || number > INT_MAX)
        return false;
    *value = (int) number;
    return true;
}

static bool set_option(struct settings *settings, int code, const char *text)
{
    int megabytes = 0;
    bool good = true;
    switch (code) {
    case MODEL: settings->model = text; break;
    case SOCKET: settings->socket = text; break;
    case ADAPTERS: settings->adapters = text; break;
    case DIGESTS: settings->digests = text; break;
    case THREADS: good = read_int(text, &settings->engine.n_threads); break;
    case CONTEXT: good = read_int(text, &settings->engine.context_size); break;
    case MAX_BATCH: good = read_int(text, &settings->engine.max_batch); break;
    case MAX_QUEUE: good = read_int(text, &settings->engine.max_queue); break;
    case CHUNK: good = read_int(text, &settings->engine.chunk_size); break;
    case EXPERTS: good = read_int(text, &settings->engine.n_experts_used); break;
    case PARENT_FD: good = read_int(text, &settings->parent_fd); break;
    case KV_SIZE:
        good = read_int(text, &megabytes);
        settings->engine.kv_cache_size = (size_t) megabytes << 20;
        break;
    }
    return good;
}

static int wrong(const char *reason, const char *what)
{
    fprintf(stderr, "dsr1-engine: %s%s (see dsr1-engine --help)\n", reason, what);
    return 2;
}

int settings_parse(struct settings *settings, int argc, char **argv)
{
    int code;
    *settings = (struct settings){.parent_fd = -1};
    opterr = 0;
    while ((code = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
        if (code == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (code == VERSION) {
            printf("dsr1-engine %s\n", dsr1_version());
            return 0;
        }
        if (code == ':')
            return wrong("no value behind ", argv[optind - 1]);
        if (code == '?')
            return wrong("unknown option ", argv[optind - 1]);
        if (!set_option(settings, code, optarg))
            return wrong("not a number that fits: ", optarg);
    }
    if (optind < argc)
        return wrong("what is ", argv[optind]);
    if (!settings->model)
        return wrong("--model", " is missing");
    if (!settings->socket)
        return wrong("--socket", " is missing");
    return SETTINGS_GO;
}
