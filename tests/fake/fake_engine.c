/*
 * fake_engine.c - an engine without a model, that does what the prompt orders
 *
 * Speaks the frames of core/wire and the lines of core/daemon/parent.h as
 * dsr1-engine does, and takes its options. It echoes what it is asked, unless
 * the text holds orders (script.h): so a test says in its own query how the
 * engine shall fail, and waits for nothing. Tokens are words.
 *
 *     complete     the last turn's text; of choices the first that stands in it, else the first
 *     score        -1 for the first continuation, -2 for the second, ...
 *     embed        the shares of eight kinds of bytes
 *     detokenize   the ids as numbers
 *     stats        requests that wait for an answer are "running"
 *     model        named by --model, of which the digest is made
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "script.h"
#include "wire/wire_message.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CLIENT_MAX = 512, RECEIVE = 64 << 10 };

struct client {
    int fd;                     /* -1: a free place */
    uint32_t pid;
    struct wire_reader reader;
};

/* A request that is not answered yet. */
struct pending {
    struct pending *next;
    int client;
    uint64_t request;
    double due;                 /* INFINITY: never */
    bool complete;              /* a cancel is answered with DONE */
    struct buffer frames;
    bool then_hang_up;
};

static struct client clients[CLIENT_MAX];
static struct pending *pending;
static const char *model = "fake";
static int parent = -1;
static bool frozen;
static volatile sig_atomic_t ending;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static int count_words(const char *data, size_t size)
{
    int words = 0;
    for (size_t i = 0; i < size; i++)
        words += data[i] > ' ' && (i == 0 || data[i - 1] <= ' ');
    return words;
}

static void say_parent(const char *line)
{
    if (parent >= 0)
        (void) send(parent, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- clients ---- */

static void hang_up(int c)
{
    if (clients[c].fd < 0)
        return;
    close(clients[c].fd);
    wire_reader_free(&clients[c].reader);
    clients[c] = (struct client){.fd = -1};
    for (struct pending **p = &pending; *p;) {
        struct pending *gone = *p;
        if (gone->client != c) {
            p = &gone->next;
            continue;
        }
        *p = gone->next;
        buffer_free(&gone->frames);
        free(gone);
    }
}

static void put(int c, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(clients[c].fd, data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;             /* it has gone; reading will notice */
        data += n;
        size -= (size_t) n;
    }
}

static void put_buffer(int c, struct buffer *frames)
{
    put(c, frames->data, frames->size);
    buffer_free(frames);
    *frames = (struct buffer){0};
}

static struct pending *later(int c, uint64_t request, double delay)
{
    struct pending *p = calloc(1, sizeof *p), **end = &pending;
    if (!p)
        abort();
    *p = (struct pending){.client = c, .request = request, .due = now_ms() + delay};
    while (*end)
        end = &(*end)->next;
    return *end = p;
}

static void answer_due(void)
{
    double now = now_ms();
    for (struct pending *p = pending; p; p = p->next) {
        if (p->due > now)
            continue;
        int c = p->client;
        bool then_hang_up = p->then_hang_up;
        struct buffer frames = p->frames;
        p->frames = (struct buffer){0};
        for (struct pending **q = &pending; *q; q = &(*q)->next)
            if (*q == p) {
                *q = p->next;
                free(p);
                break;
            }
        put_buffer(c, &frames);
        if (then_hang_up)
            hang_up(c);
        answer_due();           /* the list is another now */
        return;
    }
}

/* ---- answers ---- */

static void end_in_good_order(void)
{
    struct buffer out = {0};
    wire_put_bare(&out, WIRE_GOODBYE, 0);
    for (int c = 0; c < CLIENT_MAX; c++)
        if (clients[c].fd >= 0)
            put(c, out.data, out.size);
    exit(0);
}

/* Of the name that --model gives. */
static uint64_t model_hash(void)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *at = model; *at; at++)
        hash = (hash ^ (unsigned char) *at) * 1099511628211u;
    return hash;
}

static uint64_t model_of(const struct script *script)
{
    return script && script->model ? (uint64_t) script->model : model_hash();
}

static void put_done(struct buffer *out, uint64_t request, const struct script *script, struct wire_text text, int prompt,
                     int words, dsr1_finish finish)
{
    struct wire_done done = {.finish = finish, .model = model_of(script), .piece.text = text};
    done.usage = (dsr1_usage){.prompt_tokens = prompt, .completion_tokens = words, .decode_ms = words};
    wire_put_done(out, request, &done);
}

/* Pieces of two bytes each, the last of them whole characters or not. */
static size_t put_pieces(struct buffer *out, uint64_t request, struct wire_text text, int most)
{
    size_t at = 0;
    for (int n = 0; at < text.size && n < most; n++) {
        size_t size = 2;
        while (at + size < text.size && ((unsigned char) text.data[at + size] & 0xc0) == 0x80)
            size++;
        if (size > text.size - at)
            size = text.size - at;
        struct wire_piece piece = {.text = {text.data + at, size}};
        wire_put_text_event(out, request, &piece);
        at += size;
    }
    return at;
}

/*
 * What remains to be done when the answer's frames stand in p->frames. An
 * engine that dies does so here, with what it had said before on its way.
 */
static void carry_out(struct pending *p, const struct script *script)
{
    struct wire_error error = {(dsr1_status) script->number, {script->answer.data, script->answer.size}};
    switch (script->order) {
    case SCRIPT_ANSWER:
        break;
    case SCRIPT_HANG:
        p->due = 1e300;
        break;
    case SCRIPT_DIE:
        put_buffer(p->client, &p->frames);
        kill(getpid(), SIGKILL);
        break;
    case SCRIPT_GARBAGE:
        p->frames.size = 0;
        buffer_string(&p->frames, "This is not a frame, nor does it begin like one.");
        break;
    case SCRIPT_CUT:
        p->frames.size /= 2;
        p->then_hang_up = true;
        break;
    case SCRIPT_GOODBYE:
        end_in_good_order();
        break;
    case SCRIPT_FREEZE:
        frozen = true;
        break;
    case SCRIPT_ERROR:
        p->frames.size = 0;
        wire_put_error(&p->frames, p->request, &error);
        break;
    case SCRIPT_WRONG:
        p->frames.size = 0;
        wire_put_bare(&p->frames, WIRE_PONG, p->request);
        break;
    case SCRIPT_TWICE:
        buffer_append(&p->frames, p->frames.data, p->frames.size);
        break;
    }
}

static const struct wire_text *choose(const struct wire_complete *complete, struct wire_text text)
{
    for (uint32_t i = 0; i < complete->n_constraint; i++)
        if (memmem(text.data, text.size, complete->constraint_texts[i].data, complete->constraint_texts[i].size))
            return &complete->constraint_texts[i];
    return &complete->constraint_texts[0];
}

static void take_complete(int c, const struct wire_frame *frame)
{
    static struct wire_complete complete;
    if (wire_get_complete(frame, &complete) < 0 || complete.prompt.n_turns == 0) {
        hang_up(c);
        return;
    }
    struct script script;
    script_read(&script, complete.prompt.turns[complete.prompt.n_turns - 1].content);
    struct wire_text text = {script.answer.data ? script.answer.data : "", script.answer.size};
    int prompt = 0;
    for (uint32_t i = 0; i < complete.prompt.n_turns; i++)
        prompt += count_words(complete.prompt.turns[i].content.data, complete.prompt.turns[i].content.size);
    if (complete.constraint == DSR1_CONSTRAINT_CHOICES && !script.said && script.order != SCRIPT_ERROR)
        text = *choose(&complete, text);
    struct pending *p = later(c, frame->request, script.delay_ms);
    p->complete = true;
    size_t sent = 0;
    if (complete.stream)
        sent = put_pieces(&p->frames, frame->request, text, script.order == SCRIPT_DIE ? script.number : 1 << 30);
    if (script.order != SCRIPT_DIE)
        put_done(&p->frames, frame->request, &script, (struct wire_text){text.data + sent, text.size - sent}, prompt,
                 count_words(text.data, text.size), DSR1_FINISH_END);
    carry_out(p, &script);
    buffer_free(&script.answer);
}

static void take_score(int c, const struct wire_frame *frame)
{
    static struct wire_score score;
    static struct wire_score_result result;
    if (wire_get_score(frame, &score) < 0 || score.prompt.n_turns == 0) {
        hang_up(c);
        return;
    }
    struct script script;
    struct wire_text text = score.prompt.turns[score.prompt.n_turns - 1].content;
    script_read(&script, text);
    struct pending *p = later(c, frame->request, script.delay_ms);
    result = (struct wire_score_result){.model = model_of(&script), .n = score.n_continuations};
    result.usage.prompt_tokens = count_words(text.data, text.size);
    for (uint32_t i = 0; i < result.n; i++) {
        result.scores[i] = -1.0 - i;
        result.n_tokens[i] = 1;
    }
    wire_put_score_result(&p->frames, frame->request, &result);
    carry_out(p, &script);
    buffer_free(&script.answer);
}

static void take_embed(int c, const struct wire_frame *frame)
{
    static struct wire_embed_result result;
    struct wire_embed embed;
    if (wire_get_embed(frame, &embed) < 0) {
        hang_up(c);
        return;
    }
    struct script script;
    script_read(&script, embed.text);
    struct pending *p = later(c, frame->request, script.delay_ms);
    result = (struct wire_embed_result){.model = model_of(&script), .n = 8};
    result.usage.prompt_tokens = count_words(embed.text.data, embed.text.size);
    for (size_t i = 0; i < embed.text.size; i++)
        result.values[embed.text.data[i] & 7] += 1.0f / (float) embed.text.size;
    wire_put_embed_result(&p->frames, frame->request, &result);
    carry_out(p, &script);
    buffer_free(&script.answer);
}

static void take_tokens(int c, const struct wire_frame *frame)
{
    struct wire_tokens tokens;
    if (wire_get_tokens(frame, &tokens) < 0) {
        hang_up(c);
        return;
    }
    struct script script;
    script_read(&script, tokens.text);
    int n = count_words(tokens.text.data, tokens.text.size);
    int32_t *ids = calloc((size_t) n + 1, sizeof *ids);
    for (int i = 0; ids && i < n; i++)
        ids[i] = i;
    struct pending *p = later(c, frame->request, script.delay_ms);
    wire_put_tokens_result(&p->frames, frame->request, (uint64_t) n, tokens.want_ids ? ids : NULL);
    free(ids);
    carry_out(p, &script);
    buffer_free(&script.answer);
}

static void take_detokenize(int c, const struct wire_frame *frame)
{
    struct wire_ids ids;
    struct buffer text = {0};
    if (wire_get_detokenize(frame, &ids) < 0) {
        hang_up(c);
        return;
    }
    for (uint32_t i = 0; i < ids.n; i++)
        buffer_printf(&text, "%s%d", i ? " " : "", wire_id(&ids, i));
    struct pending *p = later(c, frame->request, 0);
    wire_put_text_result(&p->frames, frame->request, (struct wire_text){text.data ? text.data : "", text.size});
    buffer_free(&text);
}

static void take_model(int c, const struct wire_frame *frame)
{
    char digest[65];
    uint64_t hash = model_hash();
    for (int i = 0; i < 4; i++)
        snprintf(digest + 16 * i, 17, "%016jx", (uintmax_t) (hash + (uint64_t) i));
    struct wire_model answer = {.path = wire_text(model), .name = wire_text("fake"), .architecture = wire_text("fake"),
                                .file_type = wire_text("none"), .template_name = wire_text("none"),
                                .digest = wire_text(digest), .id = hash, .n_vocab = 1000, .context_size = 4096};
    struct pending *p = later(c, frame->request, 0);
    wire_put_model_result(&p->frames, frame->request, &answer);
}

static void take_stats(int c, const struct wire_frame *frame)
{
    struct wire_stats stats = {.engine.context_size = 4096, .engine.max_batch = 16};
    for (struct pending *p = pending; p; p = p->next)
        stats.engine.n_running++;
    for (int i = 0; i < CLIENT_MAX; i++)
        stats.n_clients += clients[i].fd >= 0;
    struct pending *p = later(c, frame->request, 0);
    wire_put_stats_result(&p->frames, frame->request, &stats);
}

/* Every request that it holds is at its third token. */
static void take_requests(int c, const struct wire_frame *frame)
{
    static struct wire_requests list;
    list.n = 0;
    for (struct pending *p = pending; p && list.n < WIRE_REQUESTS_MAX; p = p->next)
        list.list[list.n++] = (struct wire_progress){clients[p->client].pid, p->request, {DSR1_PHASE_DECODE, 20, 10, 3}};
    struct pending *p = later(c, frame->request, 0);
    wire_put_requests_result(&p->frames, frame->request, &list);
}

static void take_cancel(int c, const struct wire_frame *frame)
{
    for (struct pending *p = pending; p; p = p->next)
        if (p->client == c && p->request == frame->request && p->due > now_ms()) {
            buffer_free(&p->frames);
            p->frames = (struct buffer){0};
            put_done(&p->frames, p->request, NULL, wire_text(""), 0, 0, DSR1_FINISH_CANCELLED);
            p->due = 0;
            p->then_hang_up = false;
        }
}

static void take_hello(int c, const struct wire_frame *frame)
{
    struct wire_hello theirs;
    if (wire_get_hello(frame, &theirs) == DSR1_OK)
        clients[c].pid = theirs.pid;
    struct buffer out = {0};
    struct wire_hello hello = {.protocol = WIRE_PROTOCOL, .peer = WIRE_PEER_ENGINE, .pid = (uint32_t) getpid(),
                               .version = wire_text(DSR1_VERSION), .model = wire_text(model)};
    wire_put_hello(&out, &hello);
    put_buffer(c, &out);
}

static void take_frame(int c, const struct wire_frame *frame)
{
    enum wire_type simple = frame->type == WIRE_PING ? WIRE_PONG : WIRE_RELOAD_RESULT;
    switch (frame->type) {
    case WIRE_HELLO: take_hello(c, frame); break;
    case WIRE_COMPLETE: take_complete(c, frame); break;
    case WIRE_SCORE: take_score(c, frame); break;
    case WIRE_EMBED: take_embed(c, frame); break;
    case WIRE_TOKENS: take_tokens(c, frame); break;
    case WIRE_DETOKENIZE: take_detokenize(c, frame); break;
    case WIRE_MODEL: take_model(c, frame); break;
    case WIRE_STATS: take_stats(c, frame); break;
    case WIRE_REQUESTS: take_requests(c, frame); break;
    case WIRE_CANCEL: take_cancel(c, frame); break;
    case WIRE_PING:
    case WIRE_RELOAD: wire_put_bare(&later(c, frame->request, 0)->frames, simple, frame->request); break;
    default: hang_up(c);
    }
}

/* ---- the loop ---- */

static void receive(int c)
{
    char *room = wire_reader_room(&clients[c].reader, RECEIVE);
    ssize_t n = room ? recv(clients[c].fd, room, RECEIVE, MSG_DONTWAIT) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(c);
        return;
    }
    wire_reader_received(&clients[c].reader, (size_t) n);
    struct wire_frame frame;
    int got = 0;
    while (!frozen && clients[c].fd >= 0 && (got = wire_reader_next(&clients[c].reader, &frame)) > 0)
        take_frame(c, &frame);
    if (got < 0)
        hang_up(c);
}

static void take_client(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (int c = 0; fd >= 0 && c < CLIENT_MAX; c++)
        if (clients[c].fd < 0) {
            clients[c] = (struct client){.fd = fd};
            return;
        }
    if (fd >= 0)
        close(fd);
}

static int open_listener(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    unlink(path);
    umask(0177);
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address) < 0 || listen(fd, 512) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static void turn(int listener)
{
    struct pollfd fds[CLIENT_MAX + 2] = {{listener, POLLIN, 0}, {parent, POLLIN, 0}};
    int which[CLIENT_MAX + 2], n = 2;
    double wait = 500, now = now_ms();
    for (int c = 0; c < CLIENT_MAX; c++)
        if (clients[c].fd >= 0) {
            fds[n] = (struct pollfd){clients[c].fd, POLLIN, 0};
            which[n++] = c;
        }
    for (struct pending *p = pending; p; p = p->next)
        if (p->due - now < wait)
            wait = p->due > now ? p->due - now : 0;
    poll(fds, (nfds_t) n, (int) wait + (wait > 0));
    char byte;
    if (parent >= 0 && fds[1].revents && recv(parent, &byte, 1, MSG_DONTWAIT) == 0)
        exit(0);
    if (frozen)
        return;
    if (fds[0].revents)
        take_client(listener);
    for (int i = 2; i < n; i++)
        if (fds[i].revents && clients[which[i]].fd == fds[i].fd)
            receive(which[i]);
    answer_due();
}

static void on_term(int signo)
{
    ending = signo;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--socket") == 0)
            path = argv[i + 1];
        else if (strcmp(argv[i], "--parent-fd") == 0)
            parent = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--model") == 0)
            model = argv[i + 1];
    }
    if (!path) {
        fputs("fake_engine: --socket PATH is missing\n", stderr);
        return 2;
    }
    for (int c = 0; c < CLIENT_MAX; c++)
        clients[c].fd = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, on_term);
    signal(SIGINT, SIG_IGN);
    say_parent("loading\n");
    int listener = open_listener(path);
    say_parent("ready\n");
    for (double beat = now_ms(); !ending;) {
        turn(listener);
        if (!frozen && now_ms() - beat > 500) {
            say_parent("beat\n");
            beat = now_ms();
        }
    }
    end_in_good_order();
}
