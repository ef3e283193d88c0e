/*
 * query.c - what is answered without computing: tokens, the model, counts, another model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/query.h"

#include "base/log.h"
#include "base/memory.h"
#include "daemon/prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say_broken(struct session *session, const struct wire_frame *frame)
{
    session_say_error(session, frame->request, DSR1_ERR_FORMAT, "broken request");
}

/* ---- Tokens ---- */

/* A text may be long, so the lock is open meanwhile; only this thread can end the session or the model. */
void query_tokens(struct session *session, const struct wire_frame *frame)
{
    struct pump *pump = &session->server->pump;
    const dsr1_model *model = pump->served->model;
    struct wire_tokens m;
    int32_t *ids = NULL;
    if (wire_get_tokens(frame, &m) < 0) {
        say_broken(session, frame);
        return;
    }
    int flags = m.parse_special ? DSR1_PARSE_SPECIAL : 0;
    pump_unlock(pump);
    ptrdiff_t n = dsr1_tokenize(model, m.text.data, m.text.size, flags, NULL, 0);
    if (n > 0 && m.want_ids) {
        ids = memory_array((size_t) n, sizeof *ids);
        n = ids ? dsr1_tokenize(model, m.text.data, m.text.size, flags, ids, (size_t) n) : DSR1_ERR_NOMEM;
    }
    pump_lock(pump);
    if (n < 0)
        session_say_error(session, frame->request, (dsr1_status) n, "out of memory for the text's tokens");
    else if (!wire_put_tokens_result(&session->out, frame->request, (uint64_t) n, ids))
        session_say_error(session, frame->request, DSR1_ERR_LIMIT, "the tokens do not fit a message");
    else
        session_put(session, true);
    free(ids);
}

/* Pieces of characters come as they are: the reader of the text decides. */
static bool append_bytes(const struct served *served, int32_t id, struct buffer *text)
{
    if (id < 0 || id >= served->info.n_vocab)
        return false;
    size_t n = dsr1_token_bytes(served->model, id, true, NULL, 0);
    char *room = buffer_reserve(text, n);
    if (room) {
        dsr1_token_bytes(served->model, id, true, room, n);
        text->size += n;
    }
    return true;
}

void query_detokenize(struct session *session, const struct wire_frame *frame)
{
    const struct served *served = session->server->pump.served;
    struct wire_ids ids;
    struct buffer text = {0};
    if (wire_get_detokenize(frame, &ids) < 0) {
        say_broken(session, frame);
        return;
    }
    bool known = true;
    for (uint32_t i = 0; i < ids.n && known; i++)
        known = append_bytes(served, wire_id(&ids, i), &text);
    struct wire_text result = {text.size ? text.data : "", text.size};
    if (!known)
        session_say_error(session, frame->request, DSR1_ERR_ARGUMENT, "a token is not in the vocabulary");
    else if (text.failed || !wire_put_text_result(&session->out, frame->request, result))
        session_say_error(session, frame->request, DSR1_ERR_LIMIT, "the text does not fit a message");
    else
        session_put(session, true);
    buffer_free(&text);
}

/* ---- The model and the engine ---- */

void query_model(struct session *session, const struct wire_frame *frame)
{
    struct served *served = session->server->pump.served;
    const dsr1_model_info *info = &served->info;
    struct wire_model m = {.path = wire_text(served->path),
                           .name = wire_text(info->name),
                           .architecture = wire_text(info->architecture),
                           .file_type = wire_text(info->file_type),
                           .template_name = wire_text(info->template_name),
                           .digest = wire_text(digest_digits(&served->digest)),
                           .id = served->id,
                           .n_parameters = info->n_parameters,
                           .size = info->size,
                           .n_layers = info->n_layers,
                           .n_embd = info->n_embd,
                           .n_vocab = info->n_vocab,
                           .n_experts = info->n_experts,
                           .n_experts_used = info->n_experts_used,
                           .n_context_train = info->n_context_train,
                           .context_size = served->context_size,
                           .has_fim = info->has_fim,
                           .opens_reasoning = info->opens_reasoning};
    session_put(session, wire_put_model_result(&session->out, frame->request, &m));
}

/* Reading one may take a while: without the lock, as in work.c. */
void query_adapter(struct session *session, const struct wire_frame *frame)
{
    struct pump *pump = &session->server->pump;
    struct served *served = pump->served;
    dsr1_adapter *adapter = NULL;
    dsr1_adapter_info info = {0};
    dsr1_error err = {0};
    struct wire_text name;
    if (wire_get_adapter(frame, &name) < 0 || name.size == 0) {
        say_broken(session, frame);
        return;
    }
    pump_unlock(pump);
    dsr1_status status = adapters_get(&served->adapters, served->model, session->server->settings->adapters, name,
                                      &adapter, &err);
    if (status == DSR1_OK)
        dsr1_adapter_get_info(adapter, &info);
    pump_lock(pump);
    if (status < 0) {
        session_say_error(session, frame->request, status, err.message);
        return;
    }
    struct wire_adapter m = {wire_text(served->info.architecture), info.rank, info.n_matrices, info.alpha,
                             info.size / sizeof(float)};
    session_put(session, wire_put_adapter_result(&session->out, frame->request, &m));
}

static uint64_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%lu %lu", &size, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return (uint64_t) resident * (uint64_t) sysconf(_SC_PAGESIZE);
}

void query_stats(struct session *session, const struct wire_frame *frame)
{
    struct wire_stats stats = {.rss = resident_bytes(), .n_clients = (uint32_t) session->server->n_sessions};
    stats.engine = pump_stats(&session->server->pump);
    session_put(session, wire_put_stats_result(&session->out, frame->request, &stats));
}

/* ---- Another model ---- */

void query_reload(struct session *session, const struct wire_frame *frame)
{
    struct server *server = session->server;
    struct wire_text path;
    dsr1_error err = {0};
    if (wire_get_reload(frame, &path) < 0 || (path.size > 0 && memchr(path.data, 0, path.size))) {
        say_broken(session, frame);
        return;
    }
    /* No path: the same one, whose file may be another by now. */
    char *copy = path.size > 0 ? strndup(path.data, path.size) : strdup(server->pump.served->path);
    dsr1_status status = copy ? loader_start(&server->loader, copy, &err) : DSR1_ERR_NOMEM;
    free(copy);
    if (status < 0) {
        session_say_error(session, frame->request, status, err.message);
        return;
    }
    server->loader.session = session;
    server->loader.request = frame->request;
}

void query_reloaded(struct server *server)
{
    struct loader *loader = &server->loader;
    if (!loader_take(loader))
        return;
    if (loader->served) {
        log_line(LOG_INFO, "now serving %s", loader->served->path);
        pump_serve(&server->pump, loader->served);
    } else {
        log_line(LOG_WARN, "cannot load another model: %s", loader->err.message);
    }
    if (loader->session && loader->served)
        session_put(loader->session, wire_put_bare(&loader->session->out, WIRE_RELOAD_RESULT, loader->request));
    else if (loader->session)
        session_say_error(loader->session, loader->request, loader->err.status, loader->err.message);
    loader->session = NULL;
}

void query_abandon(struct session *session)
{
    if (session->server->loader.session == session)
        session->server->loader.session = NULL;
}
