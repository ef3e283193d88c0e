/*
 * special.c - find the tokens that are cut out of text before it is merged
 *
 * "Longest first, over the whole text" would read the text once per token. Here
 * it is read once: at each byte that a token can begin with, the sorted list is
 * narrowed byte by byte to the longest token that begins there. The others are its
 * beginnings, and each knows the next. Matches that overlap form a cluster,
 * usually of one; within a cluster the longest are accepted first, and where one is
 * in the way of another, a beginning takes its place. Clusters do not touch, so the
 * result is the same.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "text/special.h"

#include "base/error.h"
#include "base/memory.h"

#include <inttypes.h>
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

static dsr1_status collect(struct special_set *set, const struct vocab *vocab, bool control, dsr1_error *err)
{
    struct special *item = set->items;
    for (int32_t id = 0; id < vocab->n; id++) {
        struct gguf_string text = vocab->texts[id];
        if (!is_wanted(vocab, id, control))
            continue;
        /* Each byte of a text may be held against a whole token. */
        if (text.size > SPECIAL_SIZE_MAX)
            return error_set(err, DSR1_ERR_FORMAT, "key tokenizer.ggml.tokens: special token %" PRId32
                             " has %zu bytes, more than %d", id, text.size, SPECIAL_SIZE_MAX);
        *item++ = (struct special){.bytes = (const uint8_t *) text.bytes, .size = text.size, .id = id,
                                   .always = vocab->tokens[id].kind == TOKEN_USER};
    }
    return DSR1_OK;
}

static bool begins_with(const struct special *item, const struct special *beginning)
{
    return item->size > beginning->size && memcmp(item->bytes, beginning->bytes, beginning->size) == 0;
}

/* Behind a text, all that begin with it follow: the ones before an item are its beginnings, the nearest the longest. */
static void link_beginnings(struct special_set *set, size_t n)
{
    struct special *items = set->items;
    const struct special *open = NULL;
    for (size_t i = 0; i < n; i++) {
        while (open && !begins_with(&items[i], open))
            open = open->shorter;
        items[i].shorter = open;
        open = &items[i];
        while (i + 1 < n && items[i + 1].size == open->size && memcmp(items[i + 1].bytes, open->bytes, open->size) == 0)
            i++;                /* the first id stands for all with one text */
    }
}

dsr1_status special_open(struct special_set *set, const struct vocab *vocab, bool control, dsr1_error *err)
{
    size_t n = 0;
    *set = (struct special_set){0};
    for (int32_t id = 0; id < vocab->n; id++)
        n += is_wanted(vocab, id, control);
    set->items = memory_array(n, sizeof *set->items);
    if (!set->items)
        return error_nomem(err, "special tokens");
    dsr1_status status = collect(set, vocab, control, err);
    if (status < 0) {
        special_close(set);
        return status;
    }
    qsort(set->items, n, sizeof *set->items, by_text);
    link_beginnings(set, n);
    for (size_t at = 0; at < n; at++)
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
    size_t clear;               /* bytes from there that are no data */
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

/* Bytes from `at` on before the next piece of data. */
static size_t clear_from(const struct search *s, size_t at)
{
    for (size_t i = 0; i < s->n_data; i++) {
        size_t from = s->data[2 * i], size = s->data[2 * i + 1];
        if (size > 0 && from + size > at)
            return from > at ? from - at : 0;
    }
    return SIZE_MAX;
}

static bool is_allowed(const struct special *special, size_t clear)
{
    return special->always || special->size <= clear;
}

static void add_match(struct search *s, struct match match)
{
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
    s->matches[s->n_matches++] = match;
    if (match.at + match.special->size > s->end)
        s->end = match.at + match.special->size;
}

/* The part of items[low .. high) whose byte at depth is `byte`; all of them agree on the bytes before. */
static void narrow(const struct special *items, size_t *low, size_t *high, size_t depth, uint8_t byte)
{
    size_t from = *low, to = *high;
    if (items[from].bytes[depth] == byte && items[to - 1].bytes[depth] == byte)
        return;
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

/* The longest token that begins at `at`. Of several with one text, the first id stands for all. */
static void match_at(struct search *s, size_t at)
{
    const struct special *items = s->set->items;
    size_t low = s->set->first[s->text[at]], high = s->set->first[s->text[at] + 1];
    struct match match = {at, clear_from(s, at), NULL};
    for (size_t depth = 1; low < high; depth++) {
        if (items[low].size == depth) {
            if (is_allowed(&items[low], match.clear))
                match.special = &items[low];
            while (low < high && items[low].size == depth)
                low++;
        }
        if (at + depth >= s->size || low == high)
            break;
        narrow(items, &low, &high, depth, s->text[at + depth]);
    }
    if (match.special)
        add_match(s, match);
}

/* Which of two is accepted first. */
static bool is_before(const struct match *x, const struct match *y)
{
    if (x->special->size != y->special->size)
        return x->special->size > y->special->size;
    if (x->special->id != y->special->id)
        return x->special->id < y->special->id;
    return x->at < y->at;
}

static void sift_down(struct match *heap, size_t n, size_t at)
{
    struct match match = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &match))
            break;
        heap[at] = heap[child];
    }
    heap[at] = match;
}

static int by_place(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* The longest beginning of a match that still has room; what was accepted is longer, so an overlap covers its end. */
static const struct special *that_fits(const struct match *match, const uint8_t *taken)
{
    const struct special *special = match->special;
    while (special && (taken[special->size - 1] || !is_allowed(special, match->clear)))
        special = special->shorter;
    return special;
}

/* A heap of one match a place, its longest. Those accepted gather behind the heap as it shrinks. */
static bool choose(struct search *s)
{
    struct match *heap = s->matches;
    size_t begin = heap[0].at, n = s->n_matches, n_accepted = 0;
    uint8_t *taken = memory_array(s->end - begin, 1);
    if (!taken)
        return false;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(heap, n, i);
    while (n > 0) {
        struct match top = heap[0];
        uint8_t *place = taken + (top.at - begin);
        const struct special *fits = *place ? NULL : that_fits(&top, place);
        if (fits && fits != top.special) {
            heap[0].special = fits;
        } else {
            heap[0] = heap[--n];
            if (fits) {
                memset(place, 1, fits->size);
                heap[s->n_matches - ++n_accepted] = top;
            }
        }
        sift_down(heap, n, 0);
    }
    memmove(heap, heap + s->n_matches - n_accepted, n_accepted * sizeof *heap);
    s->n_matches = n_accepted;
    qsort(heap, n_accepted, sizeof *heap, by_place);
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
