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
 *     COMPLETE              TEXT* PHASE* then DONE, or ERROR
 *     SCORE                 PHASE* then SCORE_RESULT, or ERROR
 *     EMBED                 PHASE* then EMBED_RESULT, or ERROR
 *     TOKENS                TOKENS_RESULT or ERROR
 *     DETOKENIZE            TEXT_RESULT or ERROR
 *     MODEL                 MODEL_RESULT
 *     ADAPTER               ADAPTER_RESULT or ERROR
 *     RELOAD                RELOAD_RESULT or ERROR
 *     STATS                 STATS_RESULT
 *     REQUESTS              REQUESTS_RESULT
 *     PING                  PONG
 *     CANCEL                (the request's own DONE, with DSR1_FINISH_CANCELLED, or ERROR)
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
    WIRE_PROTOCOL = 8
};

enum wire_type {
    WIRE_HELLO = 1,
    /* requests */
    WIRE_COMPLETE = 2,
    WIRE_TOKENS = 3,
    WIRE_CANCEL = 4,
    WIRE_STATS = 5,
    WIRE_PING = 6,
    WIRE_SCORE = 7,
    WIRE_EMBED = 8,
    WIRE_DETOKENIZE = 9,
    WIRE_MODEL = 10,
    WIRE_RELOAD = 11,
    WIRE_ADAPTER = 12,
    WIRE_REQUESTS = 13,
    /* events */
    WIRE_TEXT = 101,
    WIRE_DONE = 102,
    WIRE_ERROR = 103,
    WIRE_TOKENS_RESULT = 104,
    WIRE_STATS_RESULT = 105,
    WIRE_PONG = 106,
    WIRE_GOODBYE = 107,
    WIRE_SCORE_RESULT = 108,
    WIRE_EMBED_RESULT = 109,
    WIRE_TEXT_RESULT = 110,
    WIRE_MODEL_RESULT = 111,
    WIRE_RELOAD_RESULT = 112,
    WIRE_ADAPTER_RESULT = 113,
    WIRE_REQUESTS_RESULT = 114,
    WIRE_PHASE = 115
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
    bool phases;                /* client: wants PHASE events */
};

enum { WIRE_STOP_MAX = 64, WIRE_TURN_MAX = 256, WIRE_LIST_MAX = 1024 };

enum wire_prompt_kind {
    WIRE_PROMPT_RAW = 0,        /* turn 0: text to go on with */
    WIRE_PROMPT_CHAT = 1,       /* turns of a conversation */
    WIRE_PROMPT_FIM = 2         /* turns 0 and 1: what stands before and behind the gap */
};

enum wire_think { WIRE_THINK_DEFAULT = 0, WIRE_THINK_OFF = 1, WIRE_THINK_ON = 2 };

struct wire_turn {
    struct wire_text role, content;     /* role: empty but in a chat */
};

struct wire_prompt {
    enum wire_prompt_kind kind;
    enum wire_think think;      /* ON is refused by a model that does not reason */
    uint32_t n_turns;
    struct wire_turn turns[WIRE_TURN_MAX];
    struct wire_text opening;   /* how the answer begins; no part of the text that comes back */
};

/* What every request that computes has. */
struct wire_terms {
    int32_t priority;           /* larger runs first; interactive 0, batch -1 */
    double timeout_ms;          /* 0: none */
    struct wire_text adapter;   /* its name in the engine's folder; empty: none */
};

/* One answer to one prompt. Numbers mean what they mean in dsr1_request. */
struct wire_complete {
    struct wire_terms terms;
    struct wire_prompt prompt;
    bool stream;                /* TEXT events while it runs; else all comes with DONE */
    int32_t max_tokens;
    float temperature;
    int32_t top_k;
    float top_p, min_p, repeat_penalty;
    uint64_t seed;
    bool heal, want_logprobs;   /* want_logprobs: tokens come with their log-probabilities */
    int32_t n_top;
    dsr1_constraint_kind constraint;
    uint32_t n_constraint;
    struct wire_text constraint_texts[WIRE_LIST_MAX];
    bool open_end;              /* of the constraint: see dsr1_constraint */
    uint32_t n_stop;
    struct wire_text stop[WIRE_STOP_MAX];
};

/* How likely each continuation of the prompt is. */
struct wire_score {
    struct wire_terms terms;
    struct wire_prompt prompt;
    uint32_t n_continuations;
    struct wire_text continuations[WIRE_LIST_MAX];
};

struct wire_embed {
    struct wire_terms terms;
    dsr1_pooling pooling;
    struct wire_text text;
};

struct wire_tokens {
    bool parse_special;         /* the text of control tokens becomes those tokens */
    bool want_ids;              /* else their number alone */
    struct wire_text text;
};

/* Some token ids, as they lie in the frame. */
struct wire_ids {
    uint32_t n;
    struct wire_text bytes;
};

/* What an answer grew by. */
struct wire_piece {
    struct wire_text text, reasoning;   /* reasoning: what stood within <think></think> */
    uint32_t n_tokens;                  /* want_logprobs: the tokens, one after the other in `tokens` */
    struct wire_text tokens;
};

struct wire_token {
    int32_t id;
    float logprob;              /* NAN where nobody asked for it */
    struct wire_text bytes;     /* perhaps part of a character only */
    int n_top;
    dsr1_top top[DSR1_TOP_MAX];
};

/* What the engine does for a request from now on; it is queued before the first one. */
struct wire_phase {
    dsr1_phase phase;
};

struct wire_done {
    dsr1_finish finish;
    dsr1_usage usage;
    uint64_t model;             /* that answered: wire_model.id */
    struct wire_piece piece;    /* all of it, or with `stream` what TEXT events have not brought yet */
};

struct wire_score_result {
    dsr1_usage usage;
    uint64_t model;             /* as in wire_done */
    uint32_t n;
    double scores[WIRE_LIST_MAX];       /* natural logarithms, in the order of the continuations */
    int32_t n_tokens[WIRE_LIST_MAX];
};

enum { WIRE_EMBED_MAX = 16384 };

struct wire_embed_result {
    dsr1_usage usage;
    uint64_t model;             /* as in wire_done */
    uint32_t n;
    float values[WIRE_EMBED_MAX];
};

struct wire_model {
    struct wire_text path, name, architecture, file_type, template_name, digest;    /* digest: SHA-256, "" until known */
    uint64_t id;                /* of its file, known at once */
    uint64_t n_parameters, size;
    int32_t n_layers, n_embd, n_vocab, n_experts, n_experts_used, n_context_train, context_size;
    bool has_fim, opens_reasoning;
};

/* An adapter that the served model can use: dsr1_adapter_info, and what the model is. */
struct wire_adapter {
    struct wire_text architecture;
    int32_t rank, n_matrices;
    float alpha;
    uint64_t n_parameters;
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

enum { WIRE_REQUESTS_MAX = 4096 };

/* How far somebody's request is. */
struct wire_progress {
    uint32_t pid;               /* of its client's HELLO */
    uint64_t request;           /* the client's id */
    dsr1_progress progress;
};

/* The requests of all clients; no more than there is room for. */
struct wire_requests {
    uint32_t n;
    struct wire_progress list[WIRE_REQUESTS_MAX];
};

/* Writes nothing and returns false where a count is larger than the message allows. */
bool wire_put_hello(struct buffer *out, const struct wire_hello *hello);
bool wire_put_complete(struct buffer *out, uint64_t request, const struct wire_complete *complete);
bool wire_put_score(struct buffer *out, uint64_t request, const struct wire_score *score);
bool wire_put_embed(struct buffer *out, uint64_t request, const struct wire_embed *embed);
bool wire_put_tokens(struct buffer *out, uint64_t request, const struct wire_tokens *tokens);
bool wire_put_detokenize(struct buffer *out, uint64_t request, const int32_t *ids, uint32_t n);
bool wire_put_reload(struct buffer *out, uint64_t request, struct wire_text model);
bool wire_put_adapter(struct buffer *out, uint64_t request, struct wire_text name);
bool wire_put_done(struct buffer *out, uint64_t request, const struct wire_done *done);
bool wire_put_error(struct buffer *out, uint64_t request, const struct wire_error *error);
bool wire_put_text_event(struct buffer *out, uint64_t request, const struct wire_piece *piece);
bool wire_put_phase(struct buffer *out, uint64_t request, const struct wire_phase *phase);
bool wire_put_tokens_result(struct buffer *out, uint64_t request, uint64_t n_tokens, const int32_t *ids);
bool wire_put_text_result(struct buffer *out, uint64_t request, struct wire_text text);
bool wire_put_score_result(struct buffer *out, uint64_t request, const struct wire_score_result *result);
bool wire_put_embed_result(struct buffer *out, uint64_t request, const struct wire_embed_result *result);
bool wire_put_model_result(struct buffer *out, uint64_t request, const struct wire_model *model);
bool wire_put_stats_result(struct buffer *out, uint64_t request, const struct wire_stats *stats);
bool wire_put_adapter_result(struct buffer *out, uint64_t request, const struct wire_adapter *adapter);
bool wire_put_requests_result(struct buffer *out, uint64_t request, const struct wire_requests *requests);

/* CANCEL, STATS, REQUESTS, PING, PONG, MODEL, RELOAD_RESULT, GOODBYE: nothing but their header. */
bool wire_put_bare(struct buffer *out, enum wire_type type, uint64_t request);

/* DSR1_ERR_UNSUPPORTED, with hello->protocol set, when the peer speaks another protocol. */
dsr1_status wire_get_hello(const struct wire_frame *frame, struct wire_hello *hello);
dsr1_status wire_get_complete(const struct wire_frame *frame, struct wire_complete *complete);
dsr1_status wire_get_score(const struct wire_frame *frame, struct wire_score *score);
dsr1_status wire_get_embed(const struct wire_frame *frame, struct wire_embed *embed);
dsr1_status wire_get_tokens(const struct wire_frame *frame, struct wire_tokens *tokens);
dsr1_status wire_get_detokenize(const struct wire_frame *frame, struct wire_ids *ids);
dsr1_status wire_get_reload(const struct wire_frame *frame, struct wire_text *model);
dsr1_status wire_get_adapter(const struct wire_frame *frame, struct wire_text *name);

/* What COMPLETE, SCORE and EMBED begin with; the rest of the message is not looked at. */
dsr1_status wire_get_terms(const struct wire_frame *frame, struct wire_terms *terms);
dsr1_status wire_get_done(const struct wire_frame *frame, struct wire_done *done);
dsr1_status wire_get_error(const struct wire_frame *frame, struct wire_error *error);
dsr1_status wire_get_text_event(const struct wire_frame *frame, struct wire_piece *piece);
dsr1_status wire_get_phase(const struct wire_frame *frame, struct wire_phase *phase);
dsr1_status wire_get_tokens_result(const struct wire_frame *frame, uint64_t *n_tokens, struct wire_ids *ids);
dsr1_status wire_get_text_result(const struct wire_frame *frame, struct wire_text *text);
dsr1_status wire_get_score_result(const struct wire_frame *frame, struct wire_score_result *result);
dsr1_status wire_get_embed_result(const struct wire_frame *frame, struct wire_embed_result *result);
dsr1_status wire_get_model_result(const struct wire_frame *frame, struct wire_model *model);
dsr1_status wire_get_stats_result(const struct wire_frame *frame, struct wire_stats *stats);
dsr1_status wire_get_adapter_result(const struct wire_frame *frame, struct wire_adapter *adapter);
dsr1_status wire_get_requests_result(const struct wire_frame *frame, struct wire_requests *requests);

/* Appends a token to what wire_piece.tokens holds. */
void wire_put_token(struct buffer *tokens, const struct wire_token *token);

/* The next of piece->n_tokens tokens; *at starts at 0. A piece that was read holds whole tokens only. */
bool wire_next_token(const struct wire_piece *piece, size_t *at, struct wire_token *token);

/* Id number i of a list that was read. */
int32_t wire_id(const struct wire_ids *ids, uint32_t i);

#endif
