/*
 * schema_string.c - strings: pattern, format, minLength, maxLength
 *
 * One condition alone is a tree, and read as the answer goes. Several are made
 * automata, whose product holds where all hold.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/dfa.h"
#include "constrain/regex.h"
#include "constrain/schema_parts.h"

#include <stdio.h>

/* ------------------------------------------------------------------ */
/* Formats                                                             */
/* ------------------------------------------------------------------ */

#define MONTHS "(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8])"
#define YEAR "(?:000[1-9]|00[1-9]\\d|0[1-9]\\d{2}|[1-9]\\d{3})"
#define LEAP_YEAR "(?:\\d{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define DATE "(?:" YEAR "-(?:" MONTHS ")|" LEAP_YEAR "-02-29)"
#define CLOCK "(?:[01]\\d|2[0-3]):[0-5]\\d"
#define TIME CLOCK ":[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-]" CLOCK ")"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define HEX4 "[0-9A-Fa-f]{4}"
#define GROUP "[0-9A-Fa-f]{1,4}"
#define ATOM "[A-Za-z0-9_%+-]{1,20}"
#define URI_CHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"

/* Each a part of what RFC 3339, 5321, 4122, 2673, 4291, 1123 and 3986 admit: what is in daily use. */
static const struct {
    const char *name, *text;
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "T" TIME},
    {"email", ATOM "(?:\\." ATOM "){0,2}@(?:" LABEL "\\.){1,3}[A-Za-z]{2,24}"},
    {"uuid", HEX4 HEX4 "-" HEX4 "-" HEX4 "-" HEX4 "-" HEX4 HEX4 HEX4},
    {"ipv4", "(?:" BYTE "\\.){3}" BYTE},
    {"ipv6", "(?:" GROUP ":){7}" GROUP "|(?:" GROUP ":){1,6}:" GROUP "|::" GROUP "|::"},
    {"hostname", LABEL "(?:\\." LABEL "){0,3}"},
    {"uri", "[A-Za-z][A-Za-z0-9+.-]{0,15}://" LABEL "(?:\\." LABEL "){0,3}(?::[1-9]\\d{0,3})?(?:/" URI_CHAR "*)*"
            "(?:\\?(?:" URI_CHAR "|[/?])*)?(?:#(?:" URI_CHAR "|[/?])*)?"},
};

static const char *format_text(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].text;
    return NULL;
}

/* ------------------------------------------------------------------ */
/* Conditions                                                          */
/* ------------------------------------------------------------------ */

/* The text of a keyword, `pattern` or `format`, as an expression; NULL where it is not there or after a failure. */
static const char *expression(struct schema *c, uint32_t id, const char *keyword)
{
    json_t *json = schema_get(c, id, keyword);
    const char *text = json_string_value(json);
    bool format = strcmp(keyword, "format") == 0;
    if (!json)
        return NULL;
    if (text && format) {
        const char *known = format_text(text);
        if (!known)
            schema_fail(c, DSR1_ERR_UNSUPPORTED, id, keyword, "the format %.40s is not supported", text);
        return known;
    }
    if (!text)
        schema_fail(c, DSR1_ERR_ARGUMENT, id, keyword, "not a string");
    return text;
}

/* The inside of a JSON string that matches. */
static expr_id read_tree(struct schema *c, struct expr_store *s, uint32_t id, const char *keyword, const char *text)
{
    bool format = strcmp(keyword, "format") == 0;
    expr_id tree = EXPR_NOTHING;
    dsr1_error why = {0};
    dsr1_status status = regex_read(s, text, strlen(text), REGEX_JSON | REGEX_ECMA | (format ? 0 : REGEX_SEARCH),
                                    &tree, &why);
    return status < 0 ? schema_fail(c, status, id, keyword, "%.140s", why.message) : tree;
}

static struct dfa *open_dfa(struct schema *c, const struct expr_store *s)
{
    struct dfa *dfa = NULL;
    dsr1_status status = dfa_open(s, &dfa, c->err);
    if (status < 0 && c->status == DSR1_OK)
        c->status = status;
    return dfa;
}

/* As an automaton; remembered, and owned, by the schema. */
static const struct dfa *pattern_dfa(struct schema *c, uint32_t id, const char *keyword)
{
    const char *text = expression(c, id, keyword);
    bool format = strcmp(keyword, "format") == 0;
    struct expr_store s;
    struct dfa *dfa = NULL;
    for (size_t i = 0; text && i < c->n_patterns; i++)
        if (c->patterns[i].is_format == format && strcmp(c->patterns[i].text, text) == 0)
            return c->patterns[i].dfa;
    if (!text || !table_room(&c->patterns, c->n_patterns, 1, &c->patterns_size, sizeof *c->patterns) || !expr_open(&s)) {
        c->trees.s->status = text ? DSR1_ERR_NOMEM : c->trees.s->status;
        return NULL;
    }
    uint32_t rule = expr_new_rule(&s);
    expr_id tree = read_tree(c, &s, id, keyword, text);
    if (!schema_failed(c) && s.status == DSR1_OK)
        s.rules[rule] = tree;
    if (!schema_failed(c))
        dfa = open_dfa(c, &s);
    expr_close(&s);
    if (dfa)
        c->patterns[c->n_patterns++] = (struct schema_pattern){text, format, dfa};
    return dfa;
}

bool schema_matches(struct schema *c, uint32_t id, const char *keyword, const char *text, size_t size)
{
    struct buffer quoted = {0};
    const struct dfa *dfa = pattern_dfa(c, id, keyword);
    json_expr_quote(&quoted, text, size);
    bool matches = dfa && !quoted.failed && dfa_matches(dfa, quoted.data + 1, quoted.size - 2);
    buffer_free(&quoted);
    return matches;
}

/* ------------------------------------------------------------------ */
/* Products                                                            */
/* ------------------------------------------------------------------ */

static struct dfa *length_dfa(struct schema *c, int32_t lo, int32_t hi)
{
    struct expr_store s;
    if (!expr_open(&s)) {
        c->trees.s->status = DSR1_ERR_NOMEM;
        return NULL;
    }
    uint32_t rule = expr_new_rule(&s);
    expr_id tree = expr_repeat(&s, json_expr_class(&s, NULL, 0, true), lo, hi);
    if (s.status == DSR1_OK)
        s.rules[rule] = tree;
    struct dfa *dfa = open_dfa(c, &s);
    expr_close(&s);
    return dfa;
}

/* Takes `so_far` over; `more` stays. */
static struct dfa *both(struct schema *c, struct dfa *so_far, const struct dfa *more)
{
    struct dfa *dfa = NULL;
    dsr1_status status = dfa_both(so_far, more, &dfa, c->err);
    if (status < 0 && c->status == DSR1_OK)
        c->status = status;
    dfa_close(so_far);
    return dfa;
}

static expr_id product(struct schema *c, const struct schema_list *set, int32_t lo, int32_t hi)
{
    static const char *const keywords[] = {"pattern", "format"};
    c->work += SCHEMA_DFA_WORK;
    struct dfa *dfa = schema_goes_on(c) ? length_dfa(c, lo, hi) : NULL;
    for (size_t i = 0; i < 2 * set->n && dfa; i++) {
        if (!schema_get(c, set->ids[i / 2], keywords[i % 2]) || (c->asks && i % 2 == 1))
            continue;
        const struct dfa *more = pattern_dfa(c, set->ids[i / 2], keywords[i % 2]);
        if (!more) {
            dfa_close(dfa);
            dfa = NULL;
        } else {
            dfa = both(c, dfa, more);
        }
    }
    if (!dfa)
        return EXPR_NOTHING;
    if (dfa_is_nothing(dfa)) {
        dfa_close(dfa);
        return EXPR_NOTHING;
    }
    return expr_dfa(c->trees.s, dfa);
}

expr_id schema_string_tree(struct schema *c, const struct schema_list *set)
{
    static const char *const keywords[] = {"pattern", "format"};
    struct expr_store *s = c->trees.s;
    int32_t lo = 0, hi = -1;
    int n_texts = 0;
    uint32_t id = 0;
    const char *keyword = NULL, *text = NULL;
    for (size_t i = 0; i < set->n; i++) {
        int32_t at_least = schema_count(c, set->ids[i], "minLength", 0);
        int32_t at_most = schema_count(c, set->ids[i], "maxLength", -1);
        lo = at_least > lo ? at_least : lo;
        hi = at_most >= 0 && at_most <= EXPR_REPEAT_MAX && (hi < 0 || at_most < hi) ? at_most : hi;
        for (int k = 0; k < 2; k++) {
            const char *found = expression(c, set->ids[i], keywords[k]);
            if (!found || (c->asks && k == 1) || (text && strcmp(found, text) == 0))
                continue;
            n_texts++;
            id = set->ids[i];
            keyword = keywords[k];
            text = found;
        }
    }
    if (schema_failed(c) || (hi >= 0 && lo > hi))
        return EXPR_NOTHING;
    expr_id inside = EXPR_NOTHING, quote = expr_string(s, "\"");
    if (n_texts == 0 && lo == 0 && hi < 0)
        return json_expr_string(s, &c->trees.rules);
    if (n_texts == 0)
        inside = expr_repeat(s, json_expr_char(s), lo, hi);
    else if (n_texts == 1 && lo == 0 && hi < 0 && !c->asks)
        inside = read_tree(c, s, id, keyword, text);
    else
        inside = product(c, set, lo, hi);
    return schema_failed(c) ? EXPR_NOTHING : expr_sequence(s, (expr_id[]){quote, inside, quote}, 3);
}
