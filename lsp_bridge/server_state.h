/*
 * server_state.h - what the parts of the server share
 *
 * server.c reads and dispatches; server_offer.c knows what the client can do
 * and is offered, server_text.c keeps documents, server_complete.c asks for
 * suggestions, server_settings.c follows the configuration, server_command.c
 * answers workspace/executeCommand, and server_say.c speaks to the user. All
 * run in the reader thread unless a comment says otherwise.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SERVER_STATE_H
#define LSP_SERVER_STATE_H

#include "accept.h"
#include "document.h"
#include "job.h"
#include "outbox.h"
#include "recall.h"
#include "ring.h"
#include "rpc.h"
#include "schema.h"
#include "settings.h"
#include "server.h"
#include "tally.h"
#include "worker.h"

#include <pthread.h>

enum server_phase { PHASE_NEW, PHASE_RUNNING, PHASE_SHUT_DOWN };

/* What we asked the client. */
enum question { QUESTION_NONE, QUESTION_SETTINGS, QUESTION_PROGRESS, QUESTION_REGISTER, QUESTION_ACTION, QUESTION_EDIT };
enum { QUESTIONS = 16 };

struct server {
    const struct server_options *options;
    struct outbox *outbox;
    struct worker *worker;
    struct recall *recall;
    struct documents documents;
    struct document *focus;         /* the one that was asked about or changed last, or NULL */
    struct ring ring;
    struct accept *accept;          /* any thread */
    struct schema *schema;          /* NULL: there is no database */
    struct tally tally;             /* any thread */

    enum server_phase phase;
    bool exiting;
    int status;
    enum position_encoding encoding;
    bool can_configure, can_register_settings, can_register_completion, can_progress, has_inline;   /* the client */
    bool can_resolve, can_create, can_version;
    bool completion_registered;     /* by client/registerCapability */
    double message_at;              /* clock_seconds() when the message in work was there */
    double message_cpu;             /* clock_thread_seconds() then */
    double apply_ms, apply_cpu_ms;  /* what the last change cost, until a request is told about it */
    unsigned n_actions;

    struct settings settings;
    json_t *initial, *configured;   /* initializationOptions.dsr1 and what the client's configuration said; owned */
    json_t *complained;             /* lines that were said already; owned */
    bool switched_off;              /* by dsr1.toggle */
    bool load_asked;
    double load_at;                 /* clock_seconds() when the model loads even without the client's configuration; 0: no */
    struct worker_wish loaded;
    char schema_wish[2100];         /* what the schema reader was opened for */

    pthread_mutex_t lock;           /* guards all below: reader and worker */
    struct {
        char id[32];
        enum question question;
    } questions[QUESTIONS];
    unsigned n_questions;
    unsigned action_allowed;        /* the last action whose progress the client wants to see */
    enum { PROGRESS_NONE, PROGRESS_ASKED, PROGRESS_BEGUN } progress;
    bool progress_over;
    unsigned progress_token;
    char *last_report;              /* JSON of the last job */
    char last_failure[600];         /* shown to the user already */
    int stats_fd;                   /* -1: none */
    char stats_path[4096];
    int wake_fd;                    /* an eventfd: the client is gone */
    int parent_fd;                  /* a pidfd of the process to end with, or -1 */
};

/* server_say.c */
enum say_type { SAY_ERROR = 1, SAY_WARNING, SAY_INFO, SAY_LOG };
void say_open(void);
void say_to(const char *path, int level);                   /* where our own log goes, from now on */
void say_log(struct server *server, enum say_type type, const char *format, ...) /* any thread */
    __attribute__((format(printf, 3, 4)));
void say_show(struct server *server, enum say_type type, const char *text);     /* any thread */
void say_progress_start(struct server *server);
void say_progress_created(struct server *server, bool allowed);
void say_progress_end(struct server *server);               /* any thread */

/* server.c; any thread */
void server_ask(struct server *server, enum question question, const char *method, json_t *params);

/* server_offer.c */
void offer_read_client(struct server *server, json_t *capabilities);
json_t *offer_capabilities(const struct server *server);
void offer_settings(struct server *server);
void offer_completion(struct server *server);   /* says it when what the settings mean has changed */

/* server_text.c */
void server_did_open(struct server *server, const struct rpc_message *message);
void server_did_change(struct server *server, const struct rpc_message *message);
void server_did_save(struct server *server, const struct rpc_message *message);
void server_did_close(struct server *server, const struct rpc_message *message);
bool server_may_read(const struct server *server, const struct document *document);
void server_focus(struct server *server, struct document *document, size_t place);
void server_document(struct server *server, const struct rpc_message *message);

/* server_complete.c */
void server_inline_completion(struct server *server, const struct rpc_message *message);
void server_completion(struct server *server, const struct rpc_message *message);
void server_cancel(struct server *server, const struct rpc_message *message);
void server_answer(void *server, struct job *job);    /* hooks of the worker */
void server_job_done(void *server, struct job *job);
void server_warm_up(struct server *server, struct document *document);

/* server_action.c */
void server_code_action(struct server *server, const struct rpc_message *message);
void server_resolve_action(struct server *server, const struct rpc_message *message);
bool server_action_command(struct server *server, const struct rpc_message *message, const char *name);
void server_action_answer(struct server *server, const struct job *job);        /* worker's thread */
void server_action_progress(void *server, const struct job *job);               /* hook of the worker */

/* server_settings.c */
void server_settings_start(struct server *server, json_t *initialization_options);
void server_settings_pull(struct server *server);
void server_settings_pulled(struct server *server, json_t *result);
void server_did_change_configuration(struct server *server, const struct rpc_message *message);
void server_load(struct server *server);
void server_model_loaded(void *server, enum worker_state state, const char *message);   /* hook of the worker */

/* server_command.c */
json_t *server_commands(void);
void server_execute_command(struct server *server, const struct rpc_message *message);
json_t *server_status_json(struct server *server);

#endif
