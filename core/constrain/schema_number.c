/*
 * schema_number.c - numbers: their bounds and what they are multiples of
 *
 * A bound is an expression over decimal digits, compared from the first one on.
 * Numbers with bounds have no exponent, and no more digits than a double tells
 * apart, so that any validator agrees. Multiples are an automaton over
 * remainders.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "constrain/dfa.h"
#include "constrain/schema_parts.h"

#include <math.h>
#include <stdio.h>

enum { DIGITS_MAX = 15, REMAINDERS_MAX = 20000 };

/* Decimal digits of an absolute value: without zeros in front of the whole part or behind the fraction. */
struct decimal {
    bool negative;
    char whole[DIGITS_MAX + 2], fraction[32];   /* "" for 0 */
};

struct bounds {
    bool has_lo, has_hi, lo_open, hi_open;      /* open: the bound itself is left out */
    double lo, hi;
    int places;                                 /* that multiples have behind the point; -1: no multiples */
};

/* ------------------------------------------------------------------ */
/* Keywords                                                            */
/* ------------------------------------------------------------------ */

static bool read_number(struct schema *c, uint32_t id, const char *keyword, double *value)
{
    json_t *json = schema_get(c, id, keyword);
    if (!json)
        return false;
    *value = json_number_value(json);
    if (!json_is_number(json) || !isfinite(*value))
        schema_fail(c, DSR1_ERR_ARGUMENT, id, keyword, "not a number");
    return !schema_failed(c);
}

static void read_bounds(struct schema *c, uint32_t id, struct bounds *b)
{
    static const char *const lows[] = {"minimum", "exclusiveMinimum"}, *const highs[] = {"maximum", "exclusiveMaximum"};
    double value;
    for (int open = 0; open < 2; open++) {
        if (read_number(c, id, lows[open], &value) && (!b->has_lo || value > b->lo || (value == b->lo && open))) {
            b->has_lo = true;
            b->lo = value;
            b->lo_open = open;
        }
        if (read_number(c, id, highs[open], &value) && (!b->has_hi || value < b->hi || (value == b->hi && open))) {
            b->has_hi = true;
            b->hi = value;
            b->hi_open = open;
        }
    }
}

/* False where it has more digits before the point than any number that is written. */
static bool to_decimal(double value, struct decimal *d)
{
    char text[400];
    *d = (struct decimal){.negative = value < 0};
    value = fabs(value);
    if (value >= 1e15)
        return false;
    /* The fewest digits that read back as the same number are what stood in the schema. */
    int digits = 1;
    for (; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    int exponent = value > 0 ? (int) floor(log10(value)) : 0, places = digits - exponent;
    places = places < 0 ? 0 : places > 25 ? 25 : places;
    snprintf(text, sizeof text, "%.*f", places, value);
    char *point = strchr(text, '.');
    if (point) {
        size_t n = strlen(point + 1);
        while (n > 0 && point[n] == '0')
            n--;
        snprintf(d->fraction, sizeof d->fraction, "%.*s", (int) n, point + 1);
        *point = 0;
    }
    if (strcmp(text, "0") != 0)
        snprintf(d->whole, sizeof d->whole, "%.*s", DIGITS_MAX + 1, text);
    return true;
}

/* ------------------------------------------------------------------ */
/* Digits                                                              */
/* ------------------------------------------------------------------ */

static expr_id digits(struct expr_store *s, int32_t lo, int32_t hi)
{
    return hi <= 0 ? EXPR_EMPTY : expr_repeat(s, expr_range(s, '0', '9'), lo, hi);
}

static expr_id some(struct expr_store *s, int lo, int hi)
{
    return lo > hi ? EXPR_NOTHING : expr_range(s, (uint8_t) lo, (uint8_t) hi);
}

/* As many digits as `text` has, at least or at most as large; then `tail`, or `same` behind exactly that text. */
static expr_id compare_whole(struct expr_store *s, const char *text, bool at_least, bool first, expr_id tail, expr_id same)
{
    if (!*text)
        return same;
    int d = *text, lowest = first ? '1' : '0';
    expr_id other = at_least ? some(s, d + 1, '9') : some(s, lowest, d - 1);
    int32_t left = (int32_t) strlen(text + 1);
    expr_id apart = expr_sequence(s, (expr_id[]){other, digits(s, left, left), tail}, 3);
    return expr_either(s, apart, expr_pair(s, some(s, d, d), compare_whole(s, text + 1, at_least, false, tail, same)));
}

/* Digits, at most n of them, not all of them zero. */
static expr_id above_zero(struct expr_store *s, int n)
{
    if (n <= 0)
        return EXPR_NOTHING;
    return expr_either(s, expr_pair(s, expr_range(s, '1', '9'), digits(s, 0, n - 1)),
                       expr_pair(s, expr_range(s, '0', '0'), above_zero(s, n - 1)));
}

/* The digits of a fraction, at most n, at least as large as `text`, which has no zero at its end. */
static expr_id fraction_from(struct expr_store *s, const char *text, bool open, int n)
{
    if (!*text)
        return open ? above_zero(s, n) : digits(s, 0, n);
    if (n <= 0)
        return EXPR_NOTHING;
    expr_id apart = expr_pair(s, some(s, *text + 1, '9'), digits(s, 0, n - 1));
    return expr_either(s, apart, expr_pair(s, some(s, *text, *text), fraction_from(s, text + 1, open, n - 1)));
}

static expr_id fraction_to(struct expr_store *s, const char *text, bool open, int n)
{
    if (!*text)
        return open ? EXPR_NOTHING : n > 0 ? expr_repeat(s, expr_range(s, '0', '0'), 0, n) : EXPR_EMPTY;
    if (n <= 0)
        return EXPR_EMPTY;
    expr_id apart = expr_pair(s, some(s, '0', *text - 1), digits(s, 0, n - 1));
    expr_id longer = expr_either(s, apart, expr_pair(s, some(s, *text, *text), fraction_to(s, text + 1, open, n - 1)));
    return expr_either(s, longer, EXPR_EMPTY);
}

/* A point and digits, or nothing where the digits can be none. */
static expr_id point(struct expr_store *s, expr_id fraction, bool optional)
{
    expr_id with = expr_pair(s, expr_string(s, "."), fraction);
    return optional ? expr_either(s, with, EXPR_EMPTY) : with;
}

/* ------------------------------------------------------------------ */
/* One bound                                                           */
/* ------------------------------------------------------------------ */

/* Digits before the point: 0, or up to n without a zero in front. */
static expr_id any_whole(struct expr_store *s, int n)
{
    return expr_either(s, expr_string(s, "0"), expr_pair(s, expr_range(s, '1', '9'), digits(s, 0, n - 1)));
}

/* A fraction need not be there; "1." is cut off by syntax(). */
static expr_id any_fraction(struct expr_store *s)
{
    return point(s, digits(s, 0, DIGITS_MAX), true);
}

/* Absolute values, written out, that are at least as large (more than d itself where open). */
static expr_id from(struct expr_store *s, const struct decimal *d, bool open)
{
    bool whole_is_enough = !*d->fraction && !open;
    expr_id same = point(s, fraction_from(s, d->fraction, open, DIGITS_MAX), whole_is_enough);
    int n = (int) strlen(d->whole);
    expr_id tail = any_fraction(s);
    expr_id longer = expr_sequence(s, (expr_id[]){expr_range(s, '1', '9'), digits(s, n, DIGITS_MAX - 1), tail}, 3);
    if (n >= DIGITS_MAX)
        longer = EXPR_NOTHING;
    expr_id equal = n ? compare_whole(s, d->whole, true, true, tail, same) : expr_pair(s, expr_string(s, "0"), same);
    return expr_either(s, longer, equal);
}

static expr_id up_to(struct expr_store *s, const struct decimal *d, bool open)
{
    bool whole_is_enough = *d->fraction || !open;
    expr_id same = point(s, fraction_to(s, d->fraction, open, DIGITS_MAX), whole_is_enough);
    int n = (int) strlen(d->whole);
    expr_id tail = any_fraction(s);
    if (!n)
        return expr_pair(s, expr_string(s, "0"), same);
    expr_id shorter = n > 1 ? expr_pair(s, any_whole(s, n - 1), tail) : expr_pair(s, expr_string(s, "0"), tail);
    return expr_either(s, shorter, compare_whole(s, d->whole, false, true, tail, same));
}

static expr_id minus(struct expr_store *s, expr_id tree)
{
    return expr_pair(s, expr_string(s, "-"), tree);
}

static expr_id any(struct expr_store *s)
{
    return expr_pair(s, any_whole(s, DIGITS_MAX), any_fraction(s));
}

/* Numbers that are not below `lo`: above, where open. */
static expr_id above(struct expr_store *s, double lo, bool open)
{
    struct decimal d;
    if (!to_decimal(lo, &d))
        return d.negative ? expr_either(s, any(s), minus(s, any(s))) : EXPR_NOTHING;
    return d.negative ? expr_either(s, any(s), minus(s, up_to(s, &d, open))) : from(s, &d, open);
}

static expr_id below(struct expr_store *s, double hi, bool open)
{
    struct decimal d;
    if (!to_decimal(hi, &d))
        return d.negative ? EXPR_NOTHING : expr_either(s, any(s), minus(s, any(s)));
    return d.negative ? minus(s, from(s, &d, open)) : expr_either(s, up_to(s, &d, open), minus(s, any(s)));
}

/* ------------------------------------------------------------------ */
/* Automata                                                            */
/* ------------------------------------------------------------------ */

static void note(struct schema *c, dsr1_status status)
{
    if (status < 0 && c->status == DSR1_OK)
        c->status = status;
}

/* Takes both over. */
static struct dfa *both(struct schema *c, struct dfa *a, struct dfa *b)
{
    struct dfa *dfa = NULL;
    if (a && b)
        note(c, dfa_both(a, b, &dfa, c->err));
    dfa_close(a);
    dfa_close(b);
    return dfa;
}

/* Digits before and behind the point, 15 in all near the bounds. */
static void count_digits(const struct bounds *b, int *before, int *behind)
{
    enum { BEHIND = 6 };        /* without bounds on both sides */
    struct decimal d;
    int most = 1, near = DIGITS_MAX - BEHIND;
    for (int side = 0; side < 2; side++) {
        if (!(side ? b->has_hi : b->has_lo))
            continue;
        near = to_decimal(side ? b->hi : b->lo, &d) ? (int) strlen(d.whole) : DIGITS_MAX;
        most = near > most ? near : most;
    }
    *before = b->has_lo && b->has_hi ? most : DIGITS_MAX - (b->places > 0 ? b->places : 0);
    *behind = DIGITS_MAX - (b->has_lo && b->has_hi ? most : near);
    if (!(b->has_lo && b->has_hi) && *behind > BEHIND)
        *behind = b->places > BEHIND ? b->places : BEHIND;
    *before = *before < 1 ? 1 : *before;
    *behind = *behind < 1 ? 1 : *behind;
}

/* JSON's way to write a number, without exponents. */
static expr_id syntax(struct expr_store *s, const struct bounds *b, bool integer)
{
    int before, behind;
    count_digits(b, &before, &behind);
    expr_id whole = any_whole(s, before);
    if (integer) {
        expr_id below_zero = expr_pair(s, expr_range(s, '1', '9'), digits(s, 0, before - 1));
        return expr_either(s, whole, minus(s, below_zero));
    }
    expr_id fraction = expr_optional(s, expr_pair(s, expr_string(s, "."), digits(s, 1, behind)));
    expr_id number = expr_pair(s, whole, fraction);
    return expr_either(s, number, minus(s, number));
}

enum part { SYNTAX, ABOVE, BELOW };

static struct dfa *part_dfa(struct schema *c, enum part part, const struct bounds *b, bool integer)
{
    struct expr_store s;
    struct dfa *dfa = NULL;
    c->work += SCHEMA_DFA_WORK;
    if (!schema_goes_on(c))
        return NULL;
    if (!expr_open(&s)) {
        c->trees.s->status = DSR1_ERR_NOMEM;
        return NULL;
    }
    uint32_t rule = expr_new_rule(&s);
    expr_id tree = part == SYNTAX ? syntax(&s, b, integer) : part == ABOVE ? above(&s, b->lo, b->lo_open)
                                                                           : below(&s, b->hi, b->hi_open);
    if (s.status == DSR1_OK)
        s.rules[rule] = tree;
    note(c, dfa_open(&s, &dfa, c->err));
    expr_close(&s);
    return dfa;
}

/*
 * Multiples of n / 10^k: a state for each remainder of the digits before the
 * point, and for each behind the point and none to k digits more.
 */
static struct dfa *multiples_dfa(struct schema *c, uint32_t n, int k)
{
    uint32_t levels = k > 0 ? (uint32_t) k + 2 : 1, states = 2 + n * levels;
    struct dfa *dfa = dfa_blank(states);
    uint64_t scale[DIGITS_MAX + 1] = {1 % n};       /* 10^i, modulo n */
    if (!dfa) {
        c->trees.s->status = DSR1_ERR_NOMEM;
        return NULL;
    }
    for (int i = 1; i <= k; i++)
        scale[i] = scale[i - 1] * 10 % n;
    dfa_set_next(dfa, 0, '-', 1);
    for (uint32_t state = 0; state < states; state++) {
        uint32_t r = state < 2 ? 0 : (state - 2) % n, level = state < 2 ? 0 : (state - 2) / n;
        uint32_t to = level == 0 ? 0 : level + 1, behind = level ? level - 1 : 0;
        for (uint32_t d = 0; d < 10 && to < levels; d++)
            dfa_set_next(dfa, state, (uint8_t) ('0' + d), 2 + to * n + (10 * r + d) % n);
        if (state < 2)
            continue;
        if (level == 0 && k > 0)
            dfa_set_next(dfa, state, '.', 2 + n + r);
        if (level != 1)
            dfa_set_accepts(dfa, state, r * scale[k - (int) behind] % n == 0);
    }
    return dfa;
}

/* n / 10^k without a factor of ten in both. */
static bool to_fraction(double value, uint32_t *n, int *k)
{
    struct decimal d;
    char all[64];
    if (value <= 0 || !to_decimal(value, &d))
        return false;
    snprintf(all, sizeof all, "%s%s", d.whole, d.fraction);
    *k = (int) strlen(d.fraction);
    double whole = strtod(all, NULL);
    *n = whole > REMAINDERS_MAX ? 0 : (uint32_t) whole;
    return *n > 0 && *k < DIGITS_MAX && (uint64_t) *n * (uint64_t) (*k + 2) <= REMAINDERS_MAX;
}

bool schema_is_multiple(double value, double of)
{
    double n = value / of;
    return fabs(n - round(n)) < 1e-9 * (fabs(n) > 1 ? fabs(n) : 1);
}

/* ------------------------------------------------------------------ */
/* The number                                                          */
/* ------------------------------------------------------------------ */

/* Whether there is any number between the bounds, however many digits it has. */
static bool may_be(const struct bounds *b, bool integer)
{
    double lo = b->lo, hi = b->hi;
    if (!b->has_lo || !b->has_hi)
        return true;
    if (lo > hi || (lo == hi && (b->lo_open || b->hi_open)))
        return false;
    if (!integer)
        return true;
    double first = ceil(lo) == lo && b->lo_open ? lo + 1 : ceil(lo), last = floor(hi) == hi && b->hi_open ? hi - 1 : floor(hi);
    return first <= last || fabs(lo) > 1e15;
}

expr_id schema_number_tree(struct schema *c, const struct schema_list *set, bool integer)
{
    struct expr_store *s = c->trees.s;
    struct bounds b = {.places = -1};
    struct dfa *multiples = NULL;
    for (size_t i = 0; i < set->n && !schema_failed(c); i++) {
        double of;
        uint32_t n;
        int k;
        read_bounds(c, set->ids[i], &b);
        if (!read_number(c, set->ids[i], "multipleOf", &of))
            continue;
        if (of <= 0)
            schema_fail(c, DSR1_ERR_ARGUMENT, set->ids[i], "multipleOf", "not above 0");
        else if (!to_fraction(of, &n, &k))
            schema_fail(c, DSR1_ERR_UNSUPPORTED, set->ids[i], "multipleOf", "it has too many digits");
        else {
            struct dfa *more = multiples_dfa(c, n, k);
            b.places = k > b.places ? k : b.places;
            multiples = multiples ? both(c, multiples, more) : more;
        }
    }
    if (schema_failed(c)) {
        dfa_close(multiples);
        return EXPR_NOTHING;
    }
    if (c->asks) {
        dfa_close(multiples);
        return may_be(&b, integer) ? expr_string(s, "0") : EXPR_NOTHING;
    }
    if (!b.has_lo && !b.has_hi && !multiples)
        return integer ? json_expr_integer(s) : json_expr_number(s);
    struct dfa *dfa = part_dfa(c, SYNTAX, &b, integer);
    if (b.has_lo)
        dfa = both(c, dfa, part_dfa(c, ABOVE, &b, integer));
    if (b.has_hi)
        dfa = both(c, dfa, part_dfa(c, BELOW, &b, integer));
    if (multiples)
        dfa = both(c, dfa, multiples);
    if (!dfa || dfa_is_nothing(dfa)) {
        dfa_close(dfa);
        return EXPR_NOTHING;
    }
    return expr_dfa(s, dfa);
}
