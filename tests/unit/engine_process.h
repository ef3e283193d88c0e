/*
 * engine_process.h - a real dsr1-engine, its parent's socket and its clients, for tests
 *
 * The program is DSR1_ENGINE, else bin/dsr1-engine of the build folder that the
 * test itself lies in. Everything waits at most WAIT_SECONDS and then fails the
 * test.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef ENGINE_PROCESS_H
#define ENGINE_PROCESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "wire/wire_message.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_SECONDS = 60, MAX_ARGS = 24 };

#define TEST_MODEL "tests/golden/models/deepseek-f32.gguf"

struct engine_process {
    pid_t pid;
    int parent_fd;
    char folder[64];
    char socket[96];
    char line[1300];            /* the last of engine_line() */
};

struct client {
    int fd;
    struct buffer out;
    struct wire_reader reader;
    struct wire_frame frame;    /* the last of client_next() */
};

/* ---- The process ---- */

static inline const char *engine_program(void)
{
    static char path[4096];
    const char *program = getenv("DSR1_ENGINE");
    if (program && *program)
        return program;
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 40);
    path[size > 0 ? size : 0] = 0;
    for (int up = 0; up < 3 && strrchr(path, '/'); up++)
        *strrchr(path, '/') = 0;
    return strcat(path, "/bin/dsr1-engine");
}

/* In the child. No fork handlers, no cmocka: exec or exit. */
static inline void engine_exec(const char *const *args, int parent_fd)
{
    char number[16];
    const char *argv[MAX_ARGS + 4] = {engine_program()};
    size_t n = 1;
    while (args[n - 1]) {
        argv[n] = args[n - 1];
        n++;
    }
    if (parent_fd >= 0) {
        snprintf(number, sizeof number, "%d", parent_fd);
        argv[n++] = "--parent-fd";
        argv[n] = number;
    }
    execv(argv[0], (char **) argv);
    perror(argv[0]);
    _exit(127);
}

static inline void engine_place(struct engine_process *engine)
{
    memset(engine, 0, sizeof *engine);
    strcpy(engine->folder, "/tmp/dsr1-test-XXXXXX");
    assert_non_null(mkdtemp(engine->folder));
    snprintf(engine->socket, sizeof engine->socket, "%s/s", engine->folder);
}

/* Starts it with these arguments, NULL behind the last, as a child with a parent's socket. */
static inline void engine_spawn(struct engine_process *engine, const char *const *args)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    engine->pid = fork();
    assert_true(engine->pid >= 0);
    if (engine->pid == 0)
        engine_exec(args, dup(pair[1]));
    close(pair[1]);
    engine->parent_fd = pair[0];
}

/* Waits for fd to be readable; the test fails when time is up. */
static inline void wait_readable(int fd)
{
    struct pollfd poll_fd = {fd, POLLIN, 0};
    int ready;
    do
        ready = poll(&poll_fd, 1, WAIT_SECONDS * 1000);
    while (ready < 0 && errno == EINTR);
    assert_int_equal(ready, 1);
}

/* The next line for the parent, without its end; NULL when the engine has hung up. */
static inline const char *engine_line(struct engine_process *engine)
{
    size_t n = 0;
    char c;
    for (;;) {
        wait_readable(engine->parent_fd);
        ssize_t got = read(engine->parent_fd, &c, 1);
        if (got <= 0)
            return NULL;
        if (c == '\n')
            break;
        assert_true(n < sizeof engine->line - 1);
        engine->line[n++] = c;
    }
    engine->line[n] = 0;
    return engine->line;
}

/* Skips lines until one begins with this word. */
static inline const char *engine_line_with(struct engine_process *engine, const char *word)
{
    const char *line;
    while ((line = engine_line(engine)) && strncmp(line, word, strlen(word)) != 0)
        ;
    assert_non_null(line);
    return line;
}

/* Starts it on the model and waits until it is ready; more is a list of further arguments, or NULL. */
static inline void engine_start(struct engine_process *engine, const char *const *more)
{
    engine_place(engine);
    const char *args[MAX_ARGS] = {"--model", TEST_MODEL, "--socket", engine->socket};
    for (size_t n = 4; more && *more; n++)
        args[n] = *more++;
    engine_spawn(engine, args);
    assert_string_equal(engine_line(engine), "loading");
    engine_line_with(engine, "ready");
}

/* Its exit status, or minus the signal that killed it. */
static inline int engine_wait(struct engine_process *engine)
{
    double until = clock_seconds() + WAIT_SECONDS;
    int status;
    pid_t pid;
    while ((pid = waitpid(engine->pid, &status, WNOHANG)) == 0 && clock_seconds() < until)
        usleep(2000);
    assert_int_equal(pid, engine->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void engine_clean(struct engine_process *engine)
{
    close(engine->parent_fd);
    unlink(engine->socket);
    assert_int_equal(rmdir(engine->folder), 0);
}

static inline void engine_end(struct engine_process *engine)
{
    kill(engine->pid, SIGTERM);
    assert_int_equal(engine_wait(engine), 0);
    assert_int_equal(access(engine->socket, F_OK), -1);
    engine_clean(engine);
}

/* ---- A client ---- */

static inline struct client client_connect_raw(const struct engine_process *engine)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct client client = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    strcpy(address.sun_path, engine->socket);
    assert_int_equal(connect(client.fd, (struct sockaddr *) &address, sizeof address), 0);
    return client;
}

static inline void client_send_bytes(struct client *client, const void *bytes, size_t size)
{
    const char *next = bytes;
    while (size > 0) {
        ssize_t n = send(client->fd, next, size, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        assert_true(n > 0);
        next += n;
        size -= (size_t) n;
    }
}

/* Sends what the wire_put_ functions left in out. */
static inline void client_send(struct client *client)
{
    assert_false(client->out.failed);
    client_send_bytes(client, client->out.data, client->out.size);
    buffer_drop(&client->out, client->out.size);
}

/* The next frame; NULL when the engine has hung up. */
static inline const struct wire_frame *client_next(struct client *client)
{
    int got;
    while ((got = wire_reader_next(&client->reader, &client->frame)) == 0) {
        char *room = wire_reader_room(&client->reader, 65536);
        wait_readable(client->fd);
        ssize_t n = recv(client->fd, room, 65536, 0);
        if (n <= 0)
            return NULL;
        wire_reader_received(&client->reader, (size_t) n);
    }
    assert_int_equal(got, 1);
    return &client->frame;
}

static inline const struct wire_frame *client_expect(struct client *client, enum wire_type type, uint64_t request)
{
    const struct wire_frame *frame = client_next(client);
    assert_non_null(frame);
    assert_int_equal(frame->type, type);
    assert_int_equal(frame->request, request);
    return frame;
}

static inline dsr1_status client_expect_error(struct client *client, uint64_t request)
{
    struct wire_error error;
    assert_int_equal(wire_get_error(client_expect(client, WIRE_ERROR, request), &error), DSR1_OK);
    assert_true(error.message.size > 0);
    return error.status;
}

static inline struct wire_hello client_hello(void)
{
    return (struct wire_hello){.protocol = WIRE_PROTOCOL, .peer = WIRE_PEER_OTHER, .pid = (uint32_t) getpid(),
                               .version = wire_text(DSR1_VERSION), .model = wire_text("")};
}

static inline struct client client_open_as(const struct engine_process *engine, uint32_t database, uint32_t role)
{
    struct client client = client_connect_raw(engine);
    struct wire_hello ours = client_hello(), theirs;
    ours.database = database;
    ours.role = role;
    wire_put_hello(&client.out, &ours);
    client_send(&client);
    assert_int_equal(wire_get_hello(client_expect(&client, WIRE_HELLO, 0), &theirs), DSR1_OK);
    assert_int_equal(theirs.peer, WIRE_PEER_ENGINE);
    return client;
}

static inline struct client client_open(const struct engine_process *engine)
{
    return client_open_as(engine, 0, 0);
}

static inline void client_close(struct client *client)
{
    close(client->fd);
    buffer_free(&client->out);
    wire_reader_free(&client->reader);
}

static inline struct wire_stats client_stats(struct client *client)
{
    struct wire_stats stats;
    wire_put_bare(&client->out, WIRE_STATS, 9999);
    client_send(client);
    assert_int_equal(wire_get_stats_result(client_expect(client, WIRE_STATS_RESULT, 9999), &stats), DSR1_OK);
    return stats;
}

static inline struct wire_complete raw_request(const char *prompt, int max_tokens)
{
    return (struct wire_complete){.max_tokens = max_tokens,
                                  .prompt = {.n_turns = 1, .turns = {{.content = wire_text(prompt)}}}};
}

/* One request, start to end: its text goes to *text (may be NULL). */
static inline struct wire_done client_complete(struct client *client, const struct wire_complete *complete,
                                               struct buffer *text)
{
    struct wire_done done;
    assert_true(wire_put_complete(&client->out, 7777, complete));
    client_send(client);
    const struct wire_frame *frame;
    while ((frame = client_next(client)) && frame->type == WIRE_TEXT) {
        struct wire_piece piece;
        assert_int_equal(wire_get_text_event(frame, &piece), DSR1_OK);
        if (text)
            buffer_append(text, piece.text.data, piece.text.size);
    }
    assert_non_null(frame);
    assert_int_equal(frame->type, WIRE_DONE);
    assert_int_equal(wire_get_done(frame, &done), DSR1_OK);
    if (text)
        buffer_append(text, done.piece.text.data, done.piece.text.size);
    return done;
}

/* A prompt that the model goes on about, greedily, without ever ending; from find_an_endless_prompt. */
static const char *endless;

/* A group's setup. */
static inline int find_an_endless_prompt(void **state)
{
    (void) state;
    static const char *const prompts[] = {"hello world", "The quick", "xyzzy", "abc", "Once",
                                          "foo",         "bar",       "A",     "1 2 3"};
    struct engine_process engine;
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts && !endless; i++) {
        struct wire_complete complete = raw_request(prompts[i], 3000);
        if (client_complete(&client, &complete, NULL).finish == DSR1_FINISH_LENGTH)
            endless = prompts[i];
    }
    client_close(&client);
    engine_end(&engine);
    return endless ? 0 : -1;
}

#endif
