/*
 * settings.c - what the user can choose (section "dsr1")
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "settings.h"

#include "base/log.h"

#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum type { TYPE_BOOL, TYPE_INT, TYPE_SIZE, TYPE_REAL, TYPE_TEXT, TYPE_WORD, TYPE_DEBOUNCE, TYPE_JSON };

static const struct key {
    const char *name;
    enum type type;
    size_t offset;
    double low, high;           /* of numbers; the size of texts is `high` */
    const char *words;          /* of TYPE_WORD, in the order of its enum */
} keys[] = {
#define AT(field) offsetof(struct settings, field)
    {"core.model", TYPE_TEXT, AT(model), 0, sizeof((struct settings *) 0)->model, NULL},
    {"core.threads", TYPE_INT, AT(threads), 0, 1024, NULL},
    {"core.ctx", TYPE_INT, AT(context), 0, 1 << 20, NULL},
    {"core.prompt", TYPE_WORD, AT(prompt), 0, 0, "auto|fim|hole|prefixOnly"},
    {"backend", TYPE_WORD, AT(backend), 0, 0, "core|pg"},
    {"pg.conninfo", TYPE_TEXT, AT(pg_conninfo), 0, sizeof((struct settings *) 0)->pg_conninfo, NULL},
    {"pg.connectTimeoutMs", TYPE_INT, AT(pg_connect_ms), 1, 600000, NULL},
    {"pg.statementTimeoutMs", TYPE_INT, AT(pg_statement_ms), 1, 600000, NULL},
    {"pg.schemaContext", TYPE_WORD, AT(pg_schema), 0, 0, "off|names|columns"},
    {"pg.schemaTtlS", TYPE_INT, AT(pg_schema_ttl_s), 1, 86400, NULL},
    {"enabled", TYPE_BOOL, AT(enabled), 0, 0, NULL},
    {"languages", TYPE_JSON, AT(languages), JSON_OBJECT, 0, NULL},
    {"ignoreGlobs", TYPE_JSON, AT(ignore_globs), JSON_ARRAY, 0, NULL},
    {"ignoreFiles", TYPE_JSON, AT(ignore_files), JSON_ARRAY, 0, NULL},
    {"inComments", TYPE_BOOL, AT(in_comments), 0, 0, NULL},
    {"inStrings", TYPE_BOOL, AT(in_strings), 0, 0, NULL},
    {"trigger", TYPE_WORD, AT(trigger), 0, 0, "auto|manual"},
    {"debounceMs", TYPE_DEBOUNCE, AT(debounce_ms), 0, 60000, NULL},
    {"maxLineSuffix", TYPE_INT, AT(max_line_suffix), 0, 1 << 20, NULL},
    {"completion.mode", TYPE_WORD, AT(completion_mode), 0, 0, "auto|always|never"},
    {"completion.minPrefix", TYPE_INT, AT(completion_min_prefix), 0, 1000, NULL},
    {"prefixTokens", TYPE_INT, AT(prefix_tokens), 16, 1 << 17, NULL},
    {"suffixTokens", TYPE_INT, AT(suffix_tokens), 0, 1 << 17, NULL},
    {"reanchorLines", TYPE_INT, AT(reanchor_lines), 1, 10000, NULL},
    {"ringChunks", TYPE_INT, AT(ring_chunks), 0, 64, NULL},
    {"ringChunkLines", TYPE_INT, AT(ring_chunk_lines), 4, 500, NULL},
    {"speculate", TYPE_BOOL, AT(speculate), 0, 0, NULL},
    {"speculateMs", TYPE_INT, AT(speculate_ms), 0, 60000, NULL},
    {"constrain.indent", TYPE_BOOL, AT(constrain_indent), 0, 0, NULL},
    {"constrain.brackets", TYPE_BOOL, AT(constrain_brackets), 0, 0, NULL},
    {"constrain.names", TYPE_BOOL, AT(constrain_names), 0, 0, NULL},
    {"maxTokens", TYPE_INT, AT(max_tokens), 1, 4096, NULL},
    {"items", TYPE_INT, AT(items), 1, ITEMS_MAX, NULL},
    {"mode", TYPE_WORD, AT(mode), 0, 0, "auto|line|block"},
    {"firstAnswerMs", TYPE_INT, AT(first_answer_ms), 0, 600000, NULL},
    {"invokedMs", TYPE_INT, AT(invoked_ms), 0, 600000, NULL},
    {"temperature", TYPE_REAL, AT(temperature), 0, 5, NULL},
    {"minTokenProb", TYPE_REAL, AT(min_token_prob), 0, 1, NULL},
    {"minLineProb", TYPE_REAL, AT(min_line_prob), 0, 1, NULL},
    {"tokenHealing", TYPE_BOOL, AT(token_healing), 0, 0, NULL},
    {"cache.results", TYPE_INT, AT(cache_results), 0, 100000, NULL},
    {"cache.kvMaxMiB", TYPE_INT, AT(kv_mib), 0, 1 << 20, NULL},
    {"limits.messageBytes", TYPE_SIZE, AT(message_bytes), 65536, 1u << 30, NULL},
    {"limits.fileBytes", TYPE_SIZE, AT(file_bytes), 0, 1u << 30, NULL},
    {"limits.docs", TYPE_INT, AT(max_documents), 1, 100000, NULL},
    {"log.level", TYPE_WORD, AT(log_level), 0, 0, "debug|info|warn|error"},
    {"log.file", TYPE_TEXT, AT(log_file), 0, sizeof((struct settings *) 0)->log_file, NULL},
    {"stats.file", TYPE_TEXT, AT(stats_file), 0, sizeof((struct settings *) 0)->stats_file, NULL},
#undef AT
};
#define N_KEYS (sizeof keys / sizeof *keys)

void settings_defaults(struct settings *settings)
{
    *settings = (struct settings){
        .enabled = true,
        .debounce_ms = -1,
        .max_line_suffix = 8,
        .in_comments = true,
        .in_strings = true,
        .pg_connect_ms = 3000,
        .pg_statement_ms = 10000,
        .pg_schema = SCHEMA_COLUMNS,
        .pg_schema_ttl_s = 60,
        .ring_chunks = 8,
        .ring_chunk_lines = 32,
        .speculate = true,
        .speculate_ms = 2000,
        .constrain_indent = true,
        .constrain_brackets = true,
        .constrain_names = true,
        .kv_mib = 512,
        .completion_min_prefix = 1,
        .prefix_tokens = 1024,
        .suffix_tokens = 256,
        .reanchor_lines = 64,
        .max_tokens = 48,
        .items = 3,
        .first_answer_ms = 400,
        .invoked_ms = 10000,
        .min_token_prob = 0.10,
        .min_line_prob = 0.35,
        .token_healing = true,
        .cache_results = 256,
        .message_bytes = 64 << 20,
        .file_bytes = 8 << 20,
        .max_documents = 256,
        .log_level = LOG_WARN,
    };
    settings->ignore_globs = json_pack("[s, s, s]", ".env*", "*.pem", "*.key");
    settings->ignore_files = json_pack("[s, s]", ".gitignore", ".dsr1ignore");
}

void settings_free(struct settings *settings)
{
    json_decref(settings->languages);
    json_decref(settings->ignore_globs);
    json_decref(settings->ignore_files);
    settings->languages = settings->ignore_globs = settings->ignore_files = NULL;
}

/* The place of a word in "one|two|three", or -1. */
static int word_index(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (int i = 0; n > 0; i++) {
        size_t length = strcspn(words, "|");
        if (length == n && memcmp(words, word, n) == 0)
            return i;
        if (!words[length])
            break;
        words += length + 1;
    }
    return -1;
}

/* Stores a value; false when it is not what the key takes. */
static bool store(struct settings *settings, const struct key *key, json_t *value)
{
    void *field = (char *) settings + key->offset;
    double number = json_number_value(value);
    bool in_range = json_is_number(value) && number >= key->low && number <= key->high;
    const char *text = json_string_value(value);
    switch (key->type) {
    case TYPE_BOOL:
        *(bool *) field = json_is_true(value);
        return json_is_boolean(value);
    case TYPE_DEBOUNCE:
        if (text && strcmp(text, "adaptive") == 0) {
            *(int *) field = -1;
            return true;
        }
        /* fall through */
    case TYPE_INT:
        if (in_range)
            *(int *) field = (int) number;
        return in_range;
    case TYPE_SIZE:
        if (in_range)
            *(long long *) field = (long long) number;
        return in_range;
    case TYPE_REAL:
        if (in_range)
            *(double *) field = number;
        return in_range;
    case TYPE_TEXT:
        if (!text || (double) strlen(text) >= key->high)
            return false;
        snprintf(field, (size_t) key->high, "%s", text);
        return true;
    case TYPE_WORD:
        if (!text || word_index(key->words, text) < 0)
            return false;
        *(int *) field = word_index(key->words, text);
        return true;
    case TYPE_JSON:
        if (json_typeof(value) != (json_type) key->low)
            return false;
        json_decref(*(json_t **) field);
        *(json_t **) field = json_deep_copy(value);
        return true;
    }
    return false;
}

/* What a key takes, in words. */
static void describe(const struct key *key, char *out, size_t size)
{
    switch (key->type) {
    case TYPE_BOOL: snprintf(out, size, "true or false"); break;
    case TYPE_INT:
    case TYPE_SIZE: snprintf(out, size, "a whole number from %.0f to %.0f", key->low, key->high); break;
    case TYPE_DEBOUNCE: snprintf(out, size, "\"adaptive\", or milliseconds up to %.0f", key->high); break;
    case TYPE_REAL: snprintf(out, size, "a number from %g to %g", key->low, key->high); break;
    case TYPE_TEXT: snprintf(out, size, "a text of less than %.0f bytes", key->high); break;
    case TYPE_WORD: snprintf(out, size, "one of %s", key->words); break;
    case TYPE_JSON: snprintf(out, size, key->low == JSON_OBJECT ? "an object" : "a list"); break;
    }
}

static bool is_group(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < N_KEYS; i++) {
        if (strncmp(keys[i].name, name, n) == 0 && keys[i].name[n] == '.')
            return true;
    }
    return false;
}

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

void settings_apply(struct settings *settings, json_t *object, settings_complaint complain, void *user)
{
    const char *name, *member;
    json_t *value, *inner;
    char line[300];
    json_object_foreach(object, name, value) {
        if (json_is_null(value))
            continue; /* how some clients say "not set" */
        if (strcmp(name, "server") == 0)
            continue; /* how to start us: the client's own */
        if (is_group(name) && json_is_object(value)) {
            json_object_foreach(value, member, inner) {
                char full[100];
                snprintf(full, sizeof full, "%s.%s", name, member);
                json_t *one = json_pack("{s: O}", full, inner);
                settings_apply(settings, one, complain, user);
                json_decref(one);
            }
            continue;
        }
        const struct key *key = find_key(name);
        if (key && store(settings, key, value))
            continue;
        if (key) {
            char wanted[100];
            describe(key, wanted, sizeof wanted);
            snprintf(line, sizeof line, "setting dsr1.%.100s must be %s", name, wanted);
        } else {
            snprintf(line, sizeof line, "unknown setting dsr1.%.100s", name);
        }
        if (complain)
            complain(line, user);
    }
}

static bool language_allowed(const struct settings *settings, const char *language)
{
    json_t *choice = json_object_get(settings->languages, language);
    if (!choice)
        choice = json_object_get(settings->languages, "*");
    return !json_is_false(choice);
}

bool settings_allow(const struct settings *settings, const char *language, const char *uri)
{
    if (!settings->enabled || !language_allowed(settings, language))
        return false;
    const char *path = strstr(uri, "://");
    path = path ? path + 3 : uri;
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    size_t i;
    json_t *glob;
    json_array_foreach(settings->ignore_globs, i, glob) {
        const char *pattern = json_string_value(glob);
        if (pattern && (fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, path, 0) == 0))
            return false;
    }
    return true;
}
