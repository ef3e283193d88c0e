/*
 * wire_message.h - what client and engine say to each other
 *
 * Both sides open with HELLO; a client may send requests right behind its own.
 * Every request gets events under its id and ends with exactly one of DONE,
 * ERROR or a *_RESULT. An ERROR under id 0 speaks of the connection, which the
 * engine then closes; GOODBYE says that the engine ends on purpose, so that
 * what was unanswered may be asked again of the next one.
 *
 *     client                engine
 *     HELLO                 HELLO
 *     COMPLETE              TEXT* then DONE, or ERROR
 *     TOKENS                TOKENS_RESULT or ERROR
 *     STATS                 STATS_RESULT
 *     PING                  PONG
 *     CANCEL                (the request's own DONE, with DSR1_FINISH_CANCELLED)
 *
 * wire_put_* append one whole frame and return false when it does not fit
 * WIRE_FRAME_MAX or memory is short; the buffer is then as before. wire_get_*
 * check a payload to its last byte and return DSR1_ERR_FORMAT otherwise; texts
 * point into the payload.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

#include "wire/wire_field.h"
#include "wire/wire_frame.h"

enum {
    WIRE_MAGIC = 0x31527364,    /* "dsR1" */
    WIRE_PROTOCOL = 1
};

enum wire_type {
    WIRE_HELLO = 1,
    /* requests */
    WIRE_COMPLETE = 2,
    WIRE_TOKENS = 3,
    WIRE_CANCEL = 4,
    WIRE_STATS = 5,
    WIRE_PING = 6,
    /* events */
    WIRE_TEXT = 101,
    WIRE_DONE = 102,
    WIRE_ERROR = 103,
    WIRE_TOKENS_RESULT = 104,
    WIRE_STATS_RESULT = 105,
    WIRE_PONG = 106,
    WIRE_GOODBYE = 107
};

enum wire_peer { WIRE_PEER_ENGINE = 0, WIRE_PEER_BACKEND = 1, WIRE_PEER_OTHER = 2 };

/*
 * Who speaks. Computed prefixes are shared between connections that name the
 * same database and the same role; a client that wants to share more widely
 * leaves role, or both, zero.
 */
struct wire_hello {
    uint32_t protocol;
    enum wire_peer peer;
    uint32_t pid;
    uint32_t database, role;    /* oids of a backend, else 0 */
    struct wire_text version;   /* DSR1_VERSION of the sender */
    struct wire_text model;     /* engine: its model's path */
};

enum { WIRE_STOP_MAX = 64 };

/* One answer to one prompt. Numbers mean what they mean in dsr1_request. */
struct wire_complete {
    bool raw;                   /* the prompt is text to go on with; else one user's turn of a chat */
    bool stream;                /* TEXT events while it runs; else all text comes with DONE */
    int32_t max_tokens;
    float temperature;
    int32_t top_k;
    float top_p, min_p, repeat_penalty;
    uint64_t seed;
    int32_t priority;
    bool has_system;
    struct wire_text system;
    struct wire_text prompt;
    uint32_t n_stop;
    struct wire_text stop[WIRE_STOP_MAX];
};

struct wire_done {
    dsr1_finish finish;
    dsr1_usage usage;
    struct wire_text text;      /* all of it, or with `stream` what TEXT events have not brought yet */
};

struct wire_error {
    dsr1_status status;
    struct wire_text message;
};

struct wire_stats {
    dsr1_engine_stats engine;
    uint64_t rss;               /* bytes of the engine process in memory */
    uint32_t n_clients;
};

bool wire_put_hello(struct buffer *out, const struct wire_hello *hello);
bool wire_put_complete(struct buffer *out, uint64_t request, const struct wire_complete *complete);
bool wire_put_tokens(struct buffer *out, uint64_t request, struct wire_text text);
bool wire_put_done(struct buffer *out, uint64_t request, const struct wire_done *done);
bool wire_put_error(struct buffer *out, uint64_t request, const struct wire_error *error);
bool wire_put_text_event(struct buffer *out, uint64_t request, struct wire_text text);
bool wire_put_tokens_result(struct buffer *out, uint64_t request, uint64_t n_tokens);
bool wire_put_stats_result(struct buffer *out, uint64_t request, const struct wire_stats *stats);

/* CANCEL, STATS, PING, PONG, GOODBYE: nothing but their header. */
bool wire_put_bare(struct buffer *out, enum wire_type type, uint64_t request);

/* DSR1_ERR_UNSUPPORTED, with hello->protocol set, when the peer speaks another protocol. */
dsr1_status wire_get_hello(const struct wire_frame *frame, struct wire_hello *hello);
dsr1_status wire_get_complete(const struct wire_frame *frame, struct wire_complete *complete);
dsr1_status wire_get_tokens(const struct wire_frame *frame, struct wire_text *text);
dsr1_status wire_get_done(const struct wire_frame *frame, struct wire_done *done);
dsr1_status wire_get_error(const struct wire_frame *frame, struct wire_error *error);
dsr1_status wire_get_text_event(const struct wire_frame *frame, struct wire_text *text);
dsr1_status wire_get_tokens_result(const struct wire_frame *frame, uint64_t *n_tokens);
dsr1_status wire_get_stats_result(const struct wire_frame *frame, struct wire_stats *stats);

#endif
