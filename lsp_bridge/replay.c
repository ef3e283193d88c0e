/*
 * replay.c - what an editor said once, said again, with a watch in hand
 *
 * A trace has a JSON object a line: {"at": milliseconds, "message": {..}}. The
 * server runs in a thread, at the other end of a pair of sockets. Answers of the
 * recorded client to the server's questions are left out: this server asks its own.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "replay.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "header_reader.h"
#include "rpc.h"
#include "server.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define LAST_WAIT_S 15.0        /* for answers, after the last message */
#define LOAD_WAIT_S 120.0
#define MESSAGE_BYTES (64 << 20)

struct asked {
    char *id;
    double sent_at;
    double took_ms;             /* until the first answer; -1: none yet */
    int answers;
    bool completion;            /* a suggestion was asked for */
};

struct replay {
    int fd;
    struct header_reader reader;
    struct asked *asked;
    size_t n_asked, capacity;
    bool ready;
    int rounds;                 /* of asking whether the model is there */
};

struct server_thread {
    struct server_options options;
    int status;
};

static void *serve(void *argument)
{
    struct server_thread *thread = argument;
    thread->status = server_run(&thread->options);
    close(thread->options.in);
    return NULL;
}

/* ------------------------------------------------------------------ */
/* The wire                                                            */
/* ------------------------------------------------------------------ */

static void send_message(struct replay *replay, json_t *message)
{
    char *body = json_dumps(message, JSON_COMPACT), head[40];
    size_t size = body ? strlen(body) : 0;
    int n = snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", size);
    struct buffer all = {0};
    buffer_append(&all, head, (size_t) n);
    buffer_append(&all, body, size);
    for (size_t at = 0; !all.failed && at < all.size;) {
        ssize_t written = send(replay->fd, all.data + at, all.size - at, MSG_NOSIGNAL);
        if (written <= 0)
            break;
        at += (size_t) written;
    }
    buffer_free(&all);
    free(body);
}

static void note_question(struct replay *replay, const char *id, const char *method)
{
    if (replay->n_asked == replay->capacity) {
        size_t capacity = replay->capacity * 2 + 256;
        struct asked *asked = memory_resize(replay->asked, capacity, sizeof *asked);
        if (!asked)
            return;
        replay->asked = asked;
        replay->capacity = capacity;
    }
    bool completion = strcmp(method, "textDocument/inlineCompletion") == 0 || strcmp(method, "textDocument/completion") == 0;
    replay->asked[replay->n_asked++] = (struct asked){strdup(id), clock_seconds(), -1, 0, completion};
}

static void note_answer(struct replay *replay, const char *id)
{
    for (size_t i = replay->n_asked; i-- > 0;) {
        struct asked *asked = &replay->asked[i];
        if (asked->id && strcmp(asked->id, id) == 0) {
            if (asked->answers++ == 0)
                asked->took_ms = 1e3 * (clock_seconds() - asked->sent_at);
            return;
        }
    }
}

/* Answers to questions of ours, which are "replay-N", and those of the server to us. */
static void take_message(struct replay *replay, const char *body, size_t size)
{
    struct rpc_message message;
    rpc_parse(&message, body, size);
    if (message.kind == RPC_RESPONSE && strncmp(message.id, "\"replay-", 8) == 0) {
        const char *state = rpc_string(message.result, "state");
        replay->ready |= state && strcmp(state, "ready") == 0;
    } else if (message.kind == RPC_RESPONSE) {
        note_answer(replay, message.id);
    } else if (message.kind == RPC_REQUEST) {
        json_t *id = json_loads(message.id, JSON_DECODE_ANY, NULL);
        json_t *answer = json_pack("{s: s, s: o, s: n}", "jsonrpc", "2.0", "id", id, "result");
        send_message(replay, answer);
        json_decref(answer);
    }
    rpc_free(&message);
}

/* Reads what comes until a time. */
static void listen_until(struct replay *replay, double when)
{
    for (;;) {
        double left = when - clock_seconds();
        struct pollfd fd = {.fd = replay->fd, .events = POLLIN};
        if (left <= 0 || poll(&fd, 1, (int) (1e3 * left) + 1) <= 0)
            return;
        char *room = header_reader_room(&replay->reader, 65536);
        ssize_t n = room ? read(replay->fd, room, 65536) : 0;
        if (n <= 0)
            return;
        header_reader_filled(&replay->reader, (size_t) n);
        const char *body;
        size_t size;
        while (header_reader_next(&replay->reader, &body, &size) == HEADER_MESSAGE)
            take_message(replay, body, size);
    }
}

/* ------------------------------------------------------------------ */
/* The session                                                         */
/* ------------------------------------------------------------------ */

static void send_new(struct replay *replay, const char *method, const char *id, json_t *params)
{
    json_t *message = json_pack("{s: s, s: s, s: o}", "jsonrpc", "2.0", "method", method, "params", params);
    if (id)
        json_object_set_new(message, "id", json_string(id));
    send_message(replay, message);
    json_decref(message);
}

static bool wait_for_model(struct replay *replay)
{
    for (double until = clock_seconds() + LOAD_WAIT_S; !replay->ready && clock_seconds() < until;) {
        char id[40];
        snprintf(id, sizeof id, "replay-%d", replay->rounds++);
        send_new(replay, "workspace/executeCommand", id, json_pack("{s: s}", "command", "dsr1.status"));
        listen_until(replay, clock_seconds() + 0.05);
    }
    return replay->ready;
}

/* The client's own beginning, without the process that it wants us to end with. */
static void begin(struct replay *replay, json_t *trace)
{
    json_t *params = NULL, *line;
    size_t i;
    json_array_foreach(trace, i, line) {
        const char *method = rpc_string(json_object_get(line, "message"), "method");
        if (!params && method && strcmp(method, "initialize") == 0)
            params = json_deep_copy(rpc_path(line, "message.params"));
    }
    if (!params)
        params = json_pack("{s: {s: {s: {}}}}", "capabilities", "textDocument", "inlineCompletion");
    json_object_set_new(params, "processId", json_null());
    json_object_del(params, "initializationOptions");
    json_t *workspace = rpc_path(params, "capabilities.workspace");
    json_object_del(workspace, "configuration");
    send_new(replay, "initialize", "replay-initialize", params);
    send_new(replay, "initialized", NULL, json_object());
}

/* Is it part of the session, or of its beginning and end? */
static bool is_said(const char *method)
{
    static const char *const own[] = {"initialize", "initialized", "shutdown", "exit", "workspace/didChangeConfiguration"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (strcmp(method, own[i]) == 0)
            return false;
    }
    return true;
}

static void play(struct replay *replay, json_t *trace)
{
    json_t *line;
    size_t i;
    double start = clock_seconds(), first = -1;
    json_array_foreach(trace, i, line) {
        json_t *message = json_object_get(line, "message");
        const char *method = rpc_string(message, "method");
        double at = json_number_value(json_object_get(line, "at")) / 1e3;
        if (!method || !is_said(method))
            continue;
        if (first < 0)
            first = at;
        listen_until(replay, start + at - first);
        char *id = rpc_id(json_object_get(message, "id"));
        if (id)
            note_question(replay, id, method);
        free(id);
        send_message(replay, message);
    }
    for (double until = clock_seconds() + LAST_WAIT_S; clock_seconds() < until;) {
        bool open = false;
        for (size_t k = 0; k < replay->n_asked; k++)
            open |= replay->asked[k].answers == 0;
        if (!open)
            break;
        listen_until(replay, clock_seconds() + 0.05);
    }
}

/* ------------------------------------------------------------------ */
/* Figures                                                             */
/* ------------------------------------------------------------------ */

struct figures {
    double *values;
    size_t n;
};

static void add(struct figures *figures, double value)
{
    double *values = memory_resize(figures->values, figures->n + 1, sizeof *values);
    if (values) {
        figures->values = values;
        values[figures->n++] = value;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void print_figures(const char *what, struct figures *figures, const char *unit)
{
    if (figures->n > 0) {
        qsort(figures->values, figures->n, sizeof *figures->values, compare);
        const double *v = figures->values;
        size_t last = figures->n - 1;
        printf("%-44s %5zu  median %8.2f  p95 %8.2f  p99 %8.2f %s\n", what, figures->n, v[last / 2],
               v[(size_t) (0.95 * (double) last + 0.5)], v[(size_t) (0.99 * (double) last + 0.5)], unit);
    }
    free(figures->values);
    *figures = (struct figures){0};
}

/* From the server's own lines, one a request (stats.file). */
static void print_costs(int fd)
{
    struct figures bridge = {0}, bridge_cpu = {0}, recall_cpu = {0}, model = {0}, recall = {0}, idle = {0};
    struct figures evaluated = {0}, known = {0}, other = {0};
    bool answered = false;
    FILE *in = fdopen(fd, "r");
    char *line = NULL;
    size_t capacity = 0;
    rewind(in);
    while (getline(&line, &capacity, in) > 0) {
        json_t *json = json_loads(line, 0, NULL);
        const char *source = rpc_string(json, "source"), *outcome = rpc_string(json, "outcome");
        double total = json_number_value(json_object_get(json, "totalMs"));
        double tokens = (double) rpc_integer(json, "evaluatedTokens", 0);
        bool by_model = source && strcmp(source, "recall") != 0, dropped = outcome && strcmp(outcome, "dropped") == 0;
        add(&bridge, json_number_value(json_object_get(json, "bridgeMs")));
        add(by_model ? &bridge_cpu : &recall_cpu, json_number_value(json_object_get(json, "bridgeCpuMs")));
        if (!by_model)
            add(&recall, total);
        else if (!dropped)
            add(&model, total);
        if (by_model && rpc_integer(json, "promptTokens", 0) > 0) {
            add(&evaluated, tokens);
            add(&other, tokens + (double) rpc_integer(json, "suffixTokens", 0));
            /* What was cancelled before had its part of the first, long prompt. */
            if (answered)
                add(&known, tokens);
            answered |= !dropped;
        }
        if (json_object_get(json, "idleMs"))
            add(&idle, json_number_value(json_object_get(json, "idleMs")));
        json_decref(json);
    }
    free(line);
    fclose(in);
    print_figures("change and request, until queued", &bridge, "ms");
    print_figures("  its CPU time", &bridge_cpu, "ms");
    print_figures("answered from memory", &recall, "ms");
    print_figures("  its CPU time, parsing included", &recall_cpu, "ms");
    print_figures("answered by the model, debounce included", &model, "ms");
    print_figures("cancelled while it ran, until idle", &idle, "ms");
    print_figures("prompt tokens evaluated a request", &evaluated, "tokens");
    print_figures("  the same, once one has its answer", &known, "tokens");
    print_figures("  the same, typed part before the suffix", &other, "tokens");
}

/* False when a request has no answer, or more than one. */
static bool print_answers(const struct replay *replay)
{
    struct figures all = {0};
    size_t bad = 0;
    for (size_t i = 0; i < replay->n_asked; i++) {
        bad += replay->asked[i].answers != 1;
        if (replay->asked[i].completion && replay->asked[i].answers > 0)
            add(&all, replay->asked[i].took_ms);
    }
    printf("%zu requests, %zu without exactly one answer\n", replay->n_asked, bad);
    print_figures("suggestions, request to answer", &all, "ms");
    return bad == 0;
}

/* ------------------------------------------------------------------ */

static json_t *read_trace(const char *path)
{
    FILE *in = fopen(path, "r");
    json_t *trace = json_array();
    char *line = NULL;
    size_t capacity = 0;
    if (!in) {
        json_decref(trace);
        return NULL;
    }
    while (getline(&line, &capacity, in) > 0) {
        json_t *json = json_loads(line, JSON_ALLOW_NUL, NULL);
        if (json_is_object(json_object_get(json, "message")))
            json_array_append(trace, json);
        json_decref(json);
    }
    free(line);
    fclose(in);
    return trace;
}

int replay_trace(const char *path, json_t *settings)
{
    int ends[2], stats = memfd_create("stats", MFD_CLOEXEC);
    json_t *trace = read_trace(path);
    if (!trace || json_array_size(trace) == 0 || stats < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        fprintf(stderr, "dsr1-lsp: cannot read a trace from %s\n", path);
        json_decref(trace);
        return 1;
    }
    char name[60];
    snprintf(name, sizeof name, "/proc/self/fd/%d", stats);
    json_object_set_new(settings, "stats.file", json_string(name));
    struct server_thread thread = {.options = {.in = ends[1], .out = ends[1], .settings = settings}};
    struct replay replay = {.fd = ends[0]};
    pthread_t id;
    bool good = pthread_create(&id, NULL, serve, &thread) == 0;
    header_reader_open(&replay.reader, MESSAGE_BYTES);
    if (good) {
        begin(&replay, trace);
        good = wait_for_model(&replay);
        if (good)
            play(&replay, trace);
        else
            fprintf(stderr, "dsr1-lsp: the model did not load\n");
        send_new(&replay, "shutdown", "replay-end", json_object());
        send_new(&replay, "exit", NULL, json_object());
        listen_until(&replay, clock_seconds() + 0.2);
        shutdown(ends[0], SHUT_RDWR);
        pthread_join(id, NULL);
        good = print_answers(&replay) && good;
        print_costs(stats);
    }
    header_reader_close(&replay.reader);
    for (size_t i = 0; i < replay.n_asked; i++)
        free(replay.asked[i].id);
    free(replay.asked);
    close(ends[0]);
    json_decref(trace);
    return good ? 0 : 1;
}
