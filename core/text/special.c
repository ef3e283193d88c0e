/*
 * special.c - find the tokens that are cut out of text before it is merged
 *
 * "Longest first, over the whole text" would read the text once per token. Here
 * it is read once: at each byte that a token can begin with, the sorted list is
 * narrowed byte by byte, which gives every token that begins there. Matches that
 * overlap form a cluster, usually of one; within a cluster the longest are
 * accepted first. Clusters do not touch, so the result is the same.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/special.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->size < y->size ? x->size : y->size);
    if (order == 0)
        order = (x->size > y->size) - (x->size < y->size);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static bool is_wanted(const struct vocab *vocab, int32_t id, bool control)
{
    uint8_t kind = vocab->tokens[id].kind;
    return vocab->texts[id].size > 0 &&
           (kind == TOKEN_USER || (control && (kind == TOKEN_CONTROL || kind == TOKEN_UNKNOWN)));
}

dsr1_status special_open(struct special_set *set, const struct vocab *vocab, bool control, dsr1_error *err)
{
    size_t n = 0, at = 0;
    *set = (struct special_set){0};
    for (int32_t id = 0; id < vocab->n; id++)
        n += is_wanted(vocab, id, control);
    set->items = memory_array(n, sizeof *set->items);
    if (!set->items)
        return error_nomem(err, "special tokens");
    for (int32_t id = 0; id < vocab->n; id++)
        if (is_wanted(vocab, id, control))
            set->items[at++] = (struct special){(const uint8_t *) vocab->texts[id].bytes, vocab->texts[id].size, id,
                                                vocab->tokens[id].kind == TOKEN_USER};
    qsort(set->items, n, sizeof *set->items, by_text);
    for (at = 0; at < n; at++)
        set->first[set->items[at].bytes[0] + 1]++;
    for (int byte = 0; byte < 256; byte++)
        set->first[byte + 1] += set->first[byte];
    return DSR1_OK;
}

void special_close(struct special_set *set)
{
    free(set->items);
    *set = (struct special_set){0};
}

struct match {
    size_t at;
    const struct special *special;
};

struct search {
    const struct special_set *set;
    const uint8_t *text;
    size_t size;
    const size_t *data;         /* pieces not wholly behind us */
    size_t n_data;
    special_fn found;
    void *context;
    struct match *matches;      /* of the current cluster */
    size_t n_matches, capacity;
    size_t end;                 /* where the cluster ends */
    dsr1_status status;
};

static bool in_data(const struct search *s, size_t at, size_t size)
{
    for (size_t i = 0; i < s->n_data && s->data[2 * i] < at + size; i++)
        if (s->data[2 * i + 1] > 0 && s->data[2 * i] + s->data[2 * i + 1] > at)
            return true;
    return false;
}

static void add_match(struct search *s, size_t at, const struct special *special)
{
    if (!special->always && in_data(s, at, special->size))
        return;
    if (s->n_matches == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 16;
        struct match *matches = memory_resize(s->matches, capacity, sizeof *matches);
        if (!matches) {
            s->status = DSR1_ERR_NOMEM;
            return;
        }
        s->matches = matches;
        s->capacity = capacity;
    }
    s->matches[s->n_matches++] = (struct match){at, special};
    if (at + special->size > s->end)
        s->end = at + special->size;
}

/* The part of items[low .. high) whose byte at depth is `byte`; all of them agree on the bytes before. */
static void narrow(const struct special *items, size_t *low, size_t *high, size_t depth, uint8_t byte)
{
    size_t from = *low, to = *high;
    for (size_t end = to; from < end;) {
        size_t middle = from + (end - from) / 2;
        if (items[middle].bytes[depth] < byte)
            from = middle + 1;
        else
            end = middle;
    }
    for (size_t begin = from; begin < to;) {
        size_t middle = begin + (to - begin) / 2;
        if (items[middle].bytes[depth] <= byte)
            begin = middle + 1;
        else
            to = middle;
    }
    *low = from;
    *high = to;
}

/* All tokens that begin at `at`. Of several with one text, the first id stands for all. */
static void match_at(struct search *s, size_t at)
{
    const struct special *items = s->set->items;
    size_t low = s->set->first[s->text[at]], high = s->set->first[s->text[at] + 1];
    for (size_t depth = 1; low < high; depth++) {
        if (items[low].size == depth) {
            add_match(s, at, &items[low]);
            while (low < high && items[low].size == depth)
                low++;
        }
        if (at + depth >= s->size)
            break;
        narrow(items, &low, &high, depth, s->text[at + depth]);
    }
}

static int by_length(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    if (x->special->size != y->special->size)
        return x->special->size > y->special->size ? -1 : 1;
    if (x->special->id != y->special->id)
        return x->special->id < y->special->id ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Longest first: what was accepted before is at least as long, so an overlap covers this one's first or last byte. */
static bool choose(struct search *s)
{
    size_t begin = s->matches[0].at, n = 0;
    uint8_t *taken = memory_array(s->end - begin, 1);
    if (!taken)
        return false;
    qsort(s->matches, s->n_matches, sizeof *s->matches, by_length);
    for (size_t i = 0; i < s->n_matches; i++) {
        struct match match = s->matches[i];
        size_t from = match.at - begin, to = from + match.special->size;
        if (taken[from] || taken[to - 1])
            continue;
        memset(taken + from, 1, to - from);
        s->matches[n++] = match;
    }
    s->n_matches = n;
    qsort(s->matches, n, sizeof *s->matches, by_place);
    free(taken);
    return true;
}

static void finish_cluster(struct search *s)
{
    if (s->n_matches > 1 && !choose(s))
        s->status = DSR1_ERR_NOMEM;
    for (size_t i = 0; i < s->n_matches && s->status == DSR1_OK; i++) {
        const struct match *match = &s->matches[i];
        if (!s->found(s->context, match->at, match->special->size, match->special->id))
            s->status = DSR1_ERR_CANCELLED;
    }
    s->n_matches = 0;
}

dsr1_status special_cut(const struct special_set *set, const uint8_t *text, size_t size, const size_t *data,
                        size_t n_data, special_fn found, void *context)
{
    struct search s = {.set = set, .text = text, .size = size, .data = data, .n_data = n_data, .found = found,
                       .context = context};
    if (set->first[256] == 0)
        return DSR1_OK;
    for (size_t at = 0; at < size && s.status == DSR1_OK; at++) {
        if (set->first[text[at]] == set->first[text[at] + 1])
            continue;
        if (s.n_matches && at >= s.end)
            finish_cluster(&s);
        while (s.n_data && s.data[0] + s.data[1] <= at) {
            s.data += 2;
            s.n_data--;
        }
        if (s.status == DSR1_OK)
            match_at(&s, at);
    }
    if (s.status == DSR1_OK)
        finish_cluster(&s);
    free(s.matches);
    return s.status;
}
