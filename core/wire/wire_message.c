/*
 * wire_message.c - what client and engine say to each other
 *
 * Each function with _fields in its name is a message's layout: fields in
 * order, nothing between them.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "wire/wire_message.h"

#include "wire/wire_codec.h"

static struct wire_codec writer(struct buffer *out)
{
    return (struct wire_codec){.out = out};
}

static struct wire_codec reader(const struct wire_frame *frame)
{
    return (struct wire_codec){.in = wire_cursor(frame->payload, frame->size)};
}

static dsr1_status checked(const struct wire_codec *c)
{
    return wire_cursor_done(&c->in) ? DSR1_OK : DSR1_ERR_FORMAT;
}

/* A message that holds more than it may is not sent. */
static bool finish(struct buffer *out, size_t begin, const struct wire_codec *c)
{
    if (!c->in.failed)
        return wire_frame_end(out, begin);
    out->size = begin;
    return false;
}

/*
 * Both directions of a message without further rules. Writing goes through the
 * same function that fills a message when reading, which then changes nothing.
 */
#define MESSAGE(NAME, TYPE, STRUCT)                                                                \
    bool wire_put_##NAME(struct buffer *out, uint64_t request, const struct STRUCT *message)       \
    {                                                                                              \
        size_t begin = wire_frame_begin(out, TYPE, request);                                       \
        struct wire_codec c = writer(out);                                                         \
        NAME##_fields(&c, (struct STRUCT *) message);                                              \
        return finish(out, begin, &c);                                                             \
    }                                                                                              \
    dsr1_status wire_get_##NAME(const struct wire_frame *frame, struct STRUCT *message)            \
    {                                                                                              \
        struct wire_codec c = reader(frame);                                                       \
        NAME##_fields(&c, message);                                                                \
        return checked(&c);                                                                        \
    }

bool wire_put_bare(struct buffer *out, enum wire_type type, uint64_t request)
{
    return wire_frame_end(out, wire_frame_begin(out, type, request));
}

/* ---- HELLO ---- */

/* All that another protocol has in common with ours comes first. */
static void hello_fields(struct wire_codec *c, struct wire_hello *hello)
{
    wire_codec_small(c, hello->peer, WIRE_PEER_OTHER);
    wire_codec_u32(c, &hello->pid);
    wire_codec_u32(c, &hello->database);
    wire_codec_u32(c, &hello->role);
    wire_codec_text(c, &hello->version);
    wire_codec_text(c, &hello->model);
    wire_codec_small(c, hello->phases, true);
}

bool wire_put_hello(struct buffer *out, const struct wire_hello *hello)
{
    size_t begin = wire_frame_begin(out, WIRE_HELLO, 0);
    struct wire_codec c = writer(out);
    wire_put_u32(out, WIRE_MAGIC);
    wire_put_u32(out, hello->protocol);
    hello_fields(&c, (struct wire_hello *) hello);
    return finish(out, begin, &c);
}

dsr1_status wire_get_hello(const struct wire_frame *frame, struct wire_hello *hello)
{
    struct wire_codec c = reader(frame);
    *hello = (struct wire_hello){0};
    if (wire_get_u32(&c.in) != WIRE_MAGIC)
        return DSR1_ERR_FORMAT;
    hello->protocol = wire_get_u32(&c.in);
    if (c.in.failed)
        return DSR1_ERR_FORMAT;
    if (hello->protocol != WIRE_PROTOCOL)
        return DSR1_ERR_UNSUPPORTED;
    hello_fields(&c, hello);
    return checked(&c);
}

/* ---- Requests ---- */

static void terms_fields(struct wire_codec *c, struct wire_terms *terms)
{
    wire_codec_i32(c, &terms->priority);
    wire_codec_f64(c, &terms->timeout_ms);
    wire_codec_text(c, &terms->adapter);
}

dsr1_status wire_get_terms(const struct wire_frame *frame, struct wire_terms *terms)
{
    struct wire_codec c = reader(frame);
    if (frame->type != WIRE_COMPLETE && frame->type != WIRE_SCORE && frame->type != WIRE_EMBED)
        return DSR1_ERR_FORMAT;
    terms_fields(&c, terms);
    return c.in.failed ? DSR1_ERR_FORMAT : DSR1_OK;
}

static void prompt_fields(struct wire_codec *c, struct wire_prompt *prompt)
{
    wire_codec_small(c, prompt->kind, WIRE_PROMPT_FIM);
    wire_codec_small(c, prompt->think, WIRE_THINK_ON);
    uint32_t n = wire_codec_count(c, &prompt->n_turns, WIRE_TURN_MAX);
    for (uint32_t i = 0; i < n; i++) {
        wire_codec_text(c, &prompt->turns[i].role);
        wire_codec_text(c, &prompt->turns[i].content);
    }
    uint32_t least = prompt->kind == WIRE_PROMPT_FIM ? 2 : 1;
    if (n < least || (prompt->kind != WIRE_PROMPT_CHAT && n > least))
        c->in.failed = true;
    wire_codec_text(c, &prompt->opening);
}

static void complete_fields(struct wire_codec *c, struct wire_complete *m)
{
    terms_fields(c, &m->terms);
    prompt_fields(c, &m->prompt);
    wire_codec_small(c, m->stream, true);
    wire_codec_i32(c, &m->max_tokens);
    wire_codec_f32(c, &m->temperature);
    wire_codec_i32(c, &m->top_k);
    wire_codec_f32(c, &m->top_p);
    wire_codec_f32(c, &m->min_p);
    wire_codec_f32(c, &m->repeat_penalty);
    wire_codec_u64(c, &m->seed);
    wire_codec_small(c, m->heal, true);
    wire_codec_small(c, m->want_logprobs, true);
    wire_codec_i32(c, &m->n_top);
    wire_codec_small(c, m->constraint, DSR1_CONSTRAINT_GBNF);
    wire_codec_texts(c, &m->n_constraint, m->constraint_texts, WIRE_LIST_MAX);
    wire_codec_small(c, m->open_end, true);
    wire_codec_texts(c, &m->n_stop, m->stop, WIRE_STOP_MAX);
}

static void score_fields(struct wire_codec *c, struct wire_score *m)
{
    terms_fields(c, &m->terms);
    prompt_fields(c, &m->prompt);
    wire_codec_texts(c, &m->n_continuations, m->continuations, WIRE_LIST_MAX);
}

static void embed_fields(struct wire_codec *c, struct wire_embed *m)
{
    terms_fields(c, &m->terms);
    wire_codec_small(c, m->pooling, DSR1_POOLING_LAST);
    wire_codec_text(c, &m->text);
}

static void tokens_fields(struct wire_codec *c, struct wire_tokens *m)
{
    wire_codec_small(c, m->parse_special, true);
    wire_codec_small(c, m->want_ids, true);
    wire_codec_text(c, &m->text);
}

MESSAGE(complete, WIRE_COMPLETE, wire_complete)
MESSAGE(score, WIRE_SCORE, wire_score)
MESSAGE(embed, WIRE_EMBED, wire_embed)
MESSAGE(tokens, WIRE_TOKENS, wire_tokens)

static void put_ids(struct buffer *out, const int32_t *ids, uint32_t n)
{
    wire_put_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        wire_put_i32(out, ids[i]);
}

static void get_ids(struct wire_cursor *in, struct wire_ids *ids)
{
    ids->n = wire_get_u32(in);
    ids->bytes = (struct wire_text){(const char *) in->next, in->left};
    if (in->failed || in->left / 4 < ids->n) {
        in->failed = true;
        ids->n = 0;
        return;
    }
    ids->bytes.size = (size_t) ids->n * 4;
    in->next += ids->bytes.size;
    in->left -= ids->bytes.size;
}

int32_t wire_id(const struct wire_ids *ids, uint32_t i)
{
    struct wire_cursor in = wire_cursor(ids->bytes.data + (size_t) i * 4, 4);
    return wire_get_i32(&in);
}

bool wire_put_detokenize(struct buffer *out, uint64_t request, const int32_t *ids, uint32_t n)
{
    size_t begin = wire_frame_begin(out, WIRE_DETOKENIZE, request);
    put_ids(out, ids, n);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_detokenize(const struct wire_frame *frame, struct wire_ids *ids)
{
    struct wire_codec c = reader(frame);
    get_ids(&c.in, ids);
    return checked(&c);
}

/* Messages of one text. */
static bool put_text(struct buffer *out, enum wire_type type, uint64_t request, struct wire_text text)
{
    size_t begin = wire_frame_begin(out, type, request);
    wire_put_text(out, text);
    return wire_frame_end(out, begin);
}

static dsr1_status get_text(const struct wire_frame *frame, struct wire_text *text)
{
    struct wire_codec c = reader(frame);
    wire_codec_text(&c, text);
    return checked(&c);
}

bool wire_put_reload(struct buffer *out, uint64_t request, struct wire_text model)
{
    return put_text(out, WIRE_RELOAD, request, model);
}

dsr1_status wire_get_reload(const struct wire_frame *frame, struct wire_text *model)
{
    return get_text(frame, model);
}

bool wire_put_adapter(struct buffer *out, uint64_t request, struct wire_text name)
{
    return put_text(out, WIRE_ADAPTER, request, name);
}

dsr1_status wire_get_adapter(const struct wire_frame *frame, struct wire_text *name)
{
    return get_text(frame, name);
}

/* ---- What an answer grows by ---- */

static void token_fields(struct wire_codec *c, struct wire_token *token)
{
    wire_codec_i32(c, &token->id);
    wire_codec_f32(c, &token->logprob);
    wire_codec_text(c, &token->bytes);
    wire_codec_small(c, token->n_top, DSR1_TOP_MAX);
    for (int i = 0; i < token->n_top; i++) {
        wire_codec_i32(c, &token->top[i].token);
        wire_codec_f32(c, &token->top[i].logprob);
    }
}

void wire_put_token(struct buffer *tokens, const struct wire_token *token)
{
    struct wire_codec c = writer(tokens);
    token_fields(&c, (struct wire_token *) token);
}

bool wire_next_token(const struct wire_piece *piece, size_t *at, struct wire_token *token)
{
    struct wire_codec c = {.in = wire_cursor(piece->tokens.data + *at, piece->tokens.size - *at)};
    if (c.in.left == 0)
        return false;
    token_fields(&c, token);
    *at = piece->tokens.size - c.in.left;
    return !c.in.failed;
}

static void piece_fields(struct wire_codec *c, struct wire_piece *piece)
{
    struct wire_token token;
    size_t at = 0;
    uint32_t n = 0;
    wire_codec_text(c, &piece->text);
    wire_codec_text(c, &piece->reasoning);
    wire_codec_u32(c, &piece->n_tokens);
    wire_codec_text(c, &piece->tokens);
    if (c->out)
        return;
    while (!c->in.failed && n < piece->n_tokens && wire_next_token(piece, &at, &token))
        n++;
    if (n != piece->n_tokens || at != piece->tokens.size)
        c->in.failed = true;
}

static void usage_fields(struct wire_codec *c, dsr1_usage *usage)
{
    wire_codec_i32(c, &usage->prompt_tokens);
    wire_codec_i32(c, &usage->cached_tokens);
    wire_codec_i32(c, &usage->completion_tokens);
    wire_codec_f64(c, &usage->queue_ms);
    wire_codec_f64(c, &usage->prefill_ms);
    wire_codec_f64(c, &usage->decode_ms);
}

static void done_fields(struct wire_codec *c, struct wire_done *done)
{
    wire_codec_small(c, done->finish, DSR1_FINISH_TIMEOUT);
    usage_fields(c, &done->usage);
    wire_codec_u64(c, &done->model);
    piece_fields(c, &done->piece);
}

static void text_event_fields(struct wire_codec *c, struct wire_piece *piece)
{
    piece_fields(c, piece);
}

MESSAGE(text_event, WIRE_TEXT, wire_piece)

static void phase_fields(struct wire_codec *c, struct wire_phase *m)
{
    wire_codec_small(c, m->phase, DSR1_PHASE_DECODE);
}

MESSAGE(phase, WIRE_PHASE, wire_phase)
MESSAGE(done, WIRE_DONE, wire_done)

/* ---- Other results ---- */

bool wire_put_error(struct buffer *out, uint64_t request, const struct wire_error *error)
{
    size_t begin = wire_frame_begin(out, WIRE_ERROR, request);
    wire_put_i32(out, error->status);
    wire_put_text(out, error->message);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_error(const struct wire_frame *frame, struct wire_error *error)
{
    struct wire_codec c = reader(frame);
    int32_t status = wire_get_i32(&c.in);
    /* A status that only a newer engine knows is still a failure. */
    error->status = status < 0 && status >= DSR1_ERR_INTERNAL ? (dsr1_status) status : DSR1_ERR_INTERNAL;
    error->message = wire_get_text(&c.in);
    return checked(&c);
}

bool wire_put_tokens_result(struct buffer *out, uint64_t request, uint64_t n_tokens, const int32_t *ids)
{
    size_t begin = wire_frame_begin(out, WIRE_TOKENS_RESULT, request);
    wire_put_u64(out, n_tokens);
    put_ids(out, ids, ids && n_tokens <= WIRE_FRAME_MAX ? (uint32_t) n_tokens : 0);
    return wire_frame_end(out, begin);
}

dsr1_status wire_get_tokens_result(const struct wire_frame *frame, uint64_t *n_tokens, struct wire_ids *ids)
{
    struct wire_codec c = reader(frame);
    *n_tokens = wire_get_u64(&c.in);
    get_ids(&c.in, ids);
    return ids->n == 0 || ids->n == *n_tokens ? checked(&c) : DSR1_ERR_FORMAT;
}

bool wire_put_text_result(struct buffer *out, uint64_t request, struct wire_text text)
{
    return put_text(out, WIRE_TEXT_RESULT, request, text);
}

dsr1_status wire_get_text_result(const struct wire_frame *frame, struct wire_text *text)
{
    return get_text(frame, text);
}

static void score_result_fields(struct wire_codec *c, struct wire_score_result *m)
{
    usage_fields(c, &m->usage);
    wire_codec_u64(c, &m->model);
    uint32_t n = wire_codec_count(c, &m->n, WIRE_LIST_MAX);
    for (uint32_t i = 0; i < n; i++) {
        wire_codec_f64(c, &m->scores[i]);
        wire_codec_i32(c, &m->n_tokens[i]);
    }
}

static void embed_result_fields(struct wire_codec *c, struct wire_embed_result *m)
{
    usage_fields(c, &m->usage);
    wire_codec_u64(c, &m->model);
    uint32_t n = wire_codec_count(c, &m->n, WIRE_EMBED_MAX);
    for (uint32_t i = 0; i < n; i++)
        wire_codec_f32(c, &m->values[i]);
}

static void model_result_fields(struct wire_codec *c, struct wire_model *m)
{
    struct wire_text *texts[] = {&m->path, &m->name, &m->architecture, &m->file_type, &m->template_name, &m->digest};
    int32_t *numbers[] = {&m->n_layers,       &m->n_embd,          &m->n_vocab,     &m->n_experts,
                          &m->n_experts_used, &m->n_context_train, &m->context_size};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        wire_codec_text(c, texts[i]);
    wire_codec_u64(c, &m->id);
    wire_codec_u64(c, &m->n_parameters);
    wire_codec_u64(c, &m->size);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        wire_codec_i32(c, numbers[i]);
    wire_codec_small(c, m->has_fim, true);
    wire_codec_small(c, m->opens_reasoning, true);
}

static void adapter_result_fields(struct wire_codec *c, struct wire_adapter *m)
{
    wire_codec_text(c, &m->architecture);
    wire_codec_i32(c, &m->rank);
    wire_codec_i32(c, &m->n_matrices);
    wire_codec_f32(c, &m->alpha);
    wire_codec_u64(c, &m->n_parameters);
}

static void size_field(struct wire_codec *c, size_t *size)
{
    if (c->out)
        wire_put_u64(c->out, *size);
    else
        *size = (size_t) wire_get_u64(&c->in);
}

static void stats_result_fields(struct wire_codec *c, struct wire_stats *stats)
{
    dsr1_engine_stats *e = &stats->engine;
    int32_t *numbers[] = {&e->n_threads, &e->context_size, &e->max_batch, &e->n_running, &e->n_queued};
    uint64_t *counts[] = {&e->n_requests,        &e->n_finished, &e->n_cancelled,   &e->n_failed,
                          &e->prompt_tokens,     &e->cached_tokens, &e->completion_tokens, &e->n_steps,
                          &e->n_step_rows,       &e->n_preempted, &e->n_forced,     &e->n_drafted,
                          &e->n_accepted};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        wire_codec_i32(c, numbers[i]);
    size_field(c, &e->kv_used);
    size_field(c, &e->kv_size);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        wire_codec_u64(c, counts[i]);
    wire_codec_f64(c, &e->prefill_s);
    wire_codec_f64(c, &e->decode_s);
    wire_codec_u64(c, &stats->rss);
    wire_codec_u32(c, &stats->n_clients);
}

static void requests_result_fields(struct wire_codec *c, struct wire_requests *m)
{
    uint32_t n = wire_codec_count(c, &m->n, WIRE_REQUESTS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        struct wire_progress *p = &m->list[i];
        wire_codec_u32(c, &p->pid);
        wire_codec_u64(c, &p->request);
        wire_codec_small(c, p->progress.phase, DSR1_PHASE_DECODE);
        wire_codec_i32(c, &p->progress.prompt_tokens);
        wire_codec_i32(c, &p->progress.cached_tokens);
        wire_codec_i32(c, &p->progress.completion_tokens);
    }
}

MESSAGE(score_result, WIRE_SCORE_RESULT, wire_score_result)
MESSAGE(embed_result, WIRE_EMBED_RESULT, wire_embed_result)
MESSAGE(model_result, WIRE_MODEL_RESULT, wire_model)
MESSAGE(stats_result, WIRE_STATS_RESULT, wire_stats)
MESSAGE(adapter_result, WIRE_ADAPTER_RESULT, wire_adapter)
MESSAGE(requests_result, WIRE_REQUESTS_RESULT, wire_requests)
