/*
 * settings.h - what the user can choose (section "dsr1"; docs/lsp.md has the table)
 *
 * Later sources win: defaults, initializationOptions, the client's
 * configuration, the command line.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SETTINGS_H
#define LSP_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>

enum settings_mode { MODE_AUTO, MODE_LINE, MODE_BLOCK };
enum settings_trigger { TRIGGER_AUTO, TRIGGER_MANUAL };
enum settings_backend { BACKEND_CORE, BACKEND_PG };
enum settings_prompt { PROMPT_AUTO, PROMPT_AS_FIM, PROMPT_AS_HOLE, PROMPT_AS_PREFIX };
enum settings_schema { SCHEMA_OFF, SCHEMA_NAMES, SCHEMA_COLUMNS };
enum settings_completion { COMPLETION_AUTO, COMPLETION_ALWAYS, COMPLETION_NEVER };

enum { ITEMS_MAX = 8 };

struct settings {
    char model[4096];           /* "": the default model */
    int threads, context;       /* 0: all cores, the model's own limit up to 4096 */
    int prompt;                 /* enum settings_prompt; auto: what the probe finds */
    int backend;                /* enum settings_backend */
    char pg_conninfo[2048];     /* "": no PostgreSQL */
    int pg_connect_ms, pg_statement_ms, pg_schema_ttl_s;
    int pg_schema;              /* enum settings_schema */
    bool enabled;
    int trigger;                /* enum settings_trigger */
    int debounce_ms;            /* -1: adaptive */
    int max_line_suffix;
    bool in_comments, in_strings;
    int completion_mode;        /* enum settings_completion */
    int completion_min_prefix;
    int prefix_tokens, suffix_tokens, reanchor_lines;
    int ring_chunks, ring_chunk_lines;
    int max_tokens;
    int items;                  /* suggestions for one who asks by hand, at most */
    int mode;                   /* enum settings_mode */
    int first_answer_ms, invoked_ms;
    double temperature, min_token_prob, min_line_prob;
    bool speculate;
    int speculate_ms;
    bool token_healing, constrain_indent, constrain_brackets, constrain_names;
    int cache_results, kv_mib;
    long long message_bytes, file_bytes;
    int max_documents;
    int log_level;              /* enum log_level of base/log.h */
    char log_file[4096];
    char stats_file[4096];
    json_t *languages;          /* {"*": true, "markdown": false} or NULL; owned */
    json_t *ignore_globs;       /* ["*.pem"] or NULL; owned */
    json_t *ignore_files;       /* [".gitignore"] or NULL; owned */
};

/* Called for each key that is not known or has a value that is not allowed; may be NULL. */
typedef void (*settings_complaint)(const char *line, void *user);

void settings_defaults(struct settings *settings);
void settings_free(struct settings *settings);

/* Takes over what an object like {"core": {"model": ".."}, "maxTokens": 32} says; null or not an object: nothing. */
void settings_apply(struct settings *settings, json_t *object, settings_complaint complain, void *user);

/* Are suggestions wanted in files of this language and with this name (a URI)? */
bool settings_allow(const struct settings *settings, const char *language, const char *uri);

#endif
