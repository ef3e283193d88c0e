/*
 * outbox.c - messages to the client, written by a thread of their own
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "outbox.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTBOX_BYTES ((size_t) 256 << 20) /* a client that lets so much pile up is not reading */

struct outbox {
    int fd;
    void (*on_broken)(void *user);
    void *user;
    pthread_t thread;
    pthread_mutex_t lock;       /* guards all below */
    pthread_cond_t posted;      /* there is something to write, or the end is near */
    pthread_cond_t written;     /* everything was written, or writing failed */
    struct buffer waiting;
    bool writing, closing, broken;
};

/* Writes all; false when the client is gone. */
static bool write_all(struct outbox *outbox, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(outbox->fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd wait = {.fd = outbox->fd, .events = POLLOUT};
            poll(&wait, 1, -1);
            continue;
        }
        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t) n;
    }
    return true;
}

static void *writer(void *argument)
{
    struct outbox *outbox = argument;
    struct buffer out = {0};
    pthread_mutex_lock(&outbox->lock);
    for (;;) {
        while (outbox->waiting.size == 0 && !outbox->closing)
            pthread_cond_wait(&outbox->posted, &outbox->lock);
        if (outbox->waiting.size == 0 || outbox->broken)
            break;
        struct buffer swap = out;
        out = outbox->waiting;
        outbox->waiting = swap;
        outbox->waiting.size = 0;
        outbox->writing = true;
        pthread_mutex_unlock(&outbox->lock);
        bool good = write_all(outbox, out.data, out.size);
        out.size = 0;
        if (out.capacity > (1u << 20))
            buffer_free(&out);
        pthread_mutex_lock(&outbox->lock);
        outbox->writing = false;
        if (!good)
            outbox->broken = true;
        if (outbox->waiting.size == 0 || !good)
            pthread_cond_broadcast(&outbox->written);
        if (!good)
            break;
    }
    bool tell = outbox->broken && !outbox->closing;
    pthread_mutex_unlock(&outbox->lock);
    buffer_free(&out);
    if (tell)
        outbox->on_broken(outbox->user);
    return NULL;
}

static void monotonic_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

dsr1_status outbox_open(int fd, void (*on_broken)(void *user), void *user, struct outbox **outbox, dsr1_error *err)
{
    struct outbox *box = memory_array(1, sizeof *box);
    if (!box)
        return error_nomem(err, "outbox");
    box->fd = fd;
    box->on_broken = on_broken;
    box->user = user;
    pthread_mutex_init(&box->lock, NULL);
    monotonic_condition(&box->posted);
    monotonic_condition(&box->written);
    int failed = pthread_create(&box->thread, NULL, writer, box);
    if (failed) {
        errno = failed;
        error_errno(err, DSR1_ERR_NOMEM, "cannot start the writer thread");
        free(box);
        return DSR1_ERR_NOMEM;
    }
    *outbox = box;
    return DSR1_OK;
}

/* False: the writer is in write() to a client that does not read. The lock is held. */
static bool wait_written(struct outbox *outbox, double seconds)
{
    double end = clock_seconds() + seconds;
    struct timespec until = {.tv_sec = (time_t) end, .tv_nsec = (long) ((end - (double) (time_t) end) * 1e9)};
    int late = 0;
    while ((outbox->waiting.size > 0 || outbox->writing) && !outbox->broken && late == 0)
        late = pthread_cond_timedwait(&outbox->written, &outbox->lock, &until);
    return !outbox->writing;
}

void outbox_flush(struct outbox *outbox, double seconds)
{
    pthread_mutex_lock(&outbox->lock);
    wait_written(outbox, seconds);
    pthread_mutex_unlock(&outbox->lock);
}

void outbox_close(struct outbox *outbox, double seconds)
{
    if (!outbox)
        return;
    pthread_mutex_lock(&outbox->lock);
    outbox->closing = true;
    pthread_cond_signal(&outbox->posted);
    bool stuck = !wait_written(outbox, seconds);
    pthread_mutex_unlock(&outbox->lock);
    if (stuck) { /* in write() to a client that does not read: the process is about to end, which frees all */
        pthread_detach(outbox->thread);
        return;
    }
    pthread_join(outbox->thread, NULL);
    pthread_cond_destroy(&outbox->posted);
    pthread_cond_destroy(&outbox->written);
    pthread_mutex_destroy(&outbox->lock);
    buffer_free(&outbox->waiting);
    free(outbox);
}

static void post(struct outbox *outbox, const struct buffer *body)
{
    if (body->failed)
        return; /* no memory for the message: the request stays open, the server lives */
    pthread_mutex_lock(&outbox->lock);
    if (outbox->waiting.size < OUTBOX_BYTES && !outbox->broken) {
        size_t before = outbox->waiting.size;
        buffer_printf(&outbox->waiting, "Content-Length: %zu\r\n\r\n", body->size);
        buffer_append(&outbox->waiting, body->data, body->size);
        if (outbox->waiting.failed) { /* half a message would desynchronise the client */
            outbox->waiting.size = before;
            outbox->waiting.failed = false;
        }
        pthread_cond_signal(&outbox->posted);
    }
    pthread_mutex_unlock(&outbox->lock);
}

/* Appends JSON as text and gives the reference back. */
static void append_json(struct buffer *body, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    buffer_string(body, text ? text : "null");
    free(text);
    json_decref(json);
}

void outbox_result(struct outbox *outbox, const char *id, json_t *result)
{
    struct buffer body = {0};
    buffer_printf(&body, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":", id);
    append_json(&body, result);
    buffer_string(&body, "}");
    post(outbox, &body);
    buffer_free(&body);
}

void outbox_error(struct outbox *outbox, const char *id, int code, const char *message)
{
    struct buffer body = {0};
    buffer_printf(&body, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,\"message\":", id, code);
    append_json(&body, json_string(message));
    buffer_string(&body, "}}");
    post(outbox, &body);
    buffer_free(&body);
}

static void post_call(struct outbox *outbox, const char *id, const char *method, json_t *params)
{
    struct buffer body = {0};
    buffer_string(&body, "{\"jsonrpc\":\"2.0\",");
    if (id)
        buffer_printf(&body, "\"id\":%s,", id);
    buffer_printf(&body, "\"method\":\"%s\",\"params\":", method);
    append_json(&body, params);
    buffer_string(&body, "}");
    post(outbox, &body);
    buffer_free(&body);
}

void outbox_notify(struct outbox *outbox, const char *method, json_t *params)
{
    post_call(outbox, NULL, method, params);
}

void outbox_request(struct outbox *outbox, const char *id, const char *method, json_t *params)
{
    post_call(outbox, id, method, params);
}
