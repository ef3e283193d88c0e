/*
 * accept.c - was a suggestion taken? Read from what happens to the document
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "accept.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "codepoint.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 16 };             /* accepted texts that are looked after */
#define SURVIVAL_S 30.0
#define REPORT_S 2.0            /* a client's word about an accept that we have seen comes this soon */

struct kept {
    char *uri, *text;
    size_t size;
    double at;
};

struct accept {
    struct tally *tally;
    pthread_mutex_t lock;
    /* what is shown */
    char *uri, *text;
    size_t at, size, replaced;
    size_t taken;               /* bytes of it that are in the document */
    bool through;               /* letters were typed along it */
    double full_at;             /* when a whole one was taken last */
    struct kept kept[KEPT];
    size_t n_kept;
};

struct accept *accept_open(struct tally *tally)
{
    struct accept *accept = memory_array(1, sizeof *accept);
    if (!accept)
        return NULL;
    accept->tally = tally;
    pthread_mutex_init(&accept->lock, NULL);
    return accept;
}

static void hide(struct accept *accept)
{
    free(accept->uri);
    free(accept->text);
    accept->uri = accept->text = NULL;
}

static void drop_kept(struct accept *accept, size_t i)
{
    free(accept->kept[i].uri);
    free(accept->kept[i].text);
    accept->kept[i] = accept->kept[--accept->n_kept];
}

void accept_close(struct accept *accept)
{
    if (!accept)
        return;
    hide(accept);
    while (accept->n_kept > 0)
        drop_kept(accept, 0);
    pthread_mutex_destroy(&accept->lock);
    free(accept);
}

void accept_show(struct accept *accept, const char *uri, size_t at, const char *text, size_t size, size_t replaced)
{
    pthread_mutex_lock(&accept->lock);
    hide(accept);
    if (size > 0) {
        accept->uri = strdup(uri);
        accept->text = memory_array(size, 1);
        if (accept->text)
            memcpy(accept->text, text, size);
        else
            hide(accept);
        accept->at = at;
        accept->size = size;
        accept->replaced = replaced;
        accept->taken = 0;
        accept->through = false;
    }
    pthread_mutex_unlock(&accept->lock);
}

/* ------------------------------------------------------------------ */
/* Changes                                                             */
/* ------------------------------------------------------------------ */

static void keep(struct accept *accept, const char *text, size_t size)
{
    if (accept->n_kept == KEPT)
        drop_kept(accept, 0);
    struct kept kept = {strdup(accept->uri), memory_array(size + 1, 1), size, clock_seconds()};
    if (!kept.uri || !kept.text) {
        free(kept.uri);
        free(kept.text);
        return;
    }
    memcpy(kept.text, text, size);
    accept->kept[accept->n_kept++] = kept;
}

/* One letter, or a pair that the editor closed by itself, is typing; more at once was accepted. */
static enum tally_kind kind_of(const struct accept *accept, size_t size)
{
    const char *part = accept->text + accept->taken;
    size_t left = accept->size - accept->taken, letters = 0;
    for (size_t i = 0; i < size; i++)
        letters += !codepoint_continues(part[i]);
    if (letters <= 1)
        return TALLY_TYPED_THROUGH;
    if (size == left)
        return TALLY_ACCEPTED;
    if (part[size - 1] == '\n' || part[size] == '\n')
        return TALLY_LINE_ACCEPTED;
    bool word_end = !codepoint_in_word(part[size]) || !codepoint_in_word(part[size - 1]);
    return word_end ? TALLY_WORD_ACCEPTED : TALLY_PREFIX_ACCEPTED;
}

/* The lock is held. */
static void take(struct accept *accept, size_t size)
{
    enum tally_kind kind = kind_of(accept, size);
    if (kind != TALLY_TYPED_THROUGH || !accept->through)
        tally_add(accept->tally, kind, 1);
    if (kind == TALLY_TYPED_THROUGH)
        accept->through = true;
    else
        keep(accept, accept->text + accept->taken, size);
    if (kind == TALLY_ACCEPTED)
        accept->full_at = clock_seconds();
    accept->taken += size;
    if (accept->taken == accept->size)
        hide(accept);
}

void accept_change(struct accept *accept, const struct document *document, size_t from, size_t to, const char *bytes,
                   size_t size)
{
    const struct gap_text *text = &document->text;
    pthread_mutex_lock(&accept->lock);
    if (accept->uri && strcmp(accept->uri, document->uri) == 0) {
        /* A client replaces the word before the cursor along with the rest: only what is new counts. */
        while (from < to && size > 0 && gap_text_byte(text, from) == *bytes)
            from++, bytes++, size--;
        size_t place = accept->at + accept->taken, left = accept->size - accept->taken;
        if (size > 0 && from == place && to - from <= accept->replaced && size <= left &&
            memcmp(bytes, accept->text + accept->taken, size) == 0) {
            take(accept, size);
        } else if (size > 0 || to > from) {
            if (from == place && size > 0)
                tally_add(accept->tally, TALLY_REJECTED, 1);
            hide(accept);
        }
    }
    pthread_mutex_unlock(&accept->lock);
}

void accept_reported(struct accept *accept)
{
    pthread_mutex_lock(&accept->lock);
    if (clock_seconds() - accept->full_at > REPORT_S || accept->full_at == 0)
        tally_add(accept->tally, TALLY_ACCEPTED, 1);
    accept->full_at = 0;
    pthread_mutex_unlock(&accept->lock);
}

/* ------------------------------------------------------------------ */
/* Later                                                               */
/* ------------------------------------------------------------------ */

static bool has_text(const struct document *document, const char *text, size_t size)
{
    size_t first, second = 0;
    const char *before = gap_text_span(&document->text, 0, &first), *after = NULL;
    if (first < document->text.size)
        after = gap_text_span(&document->text, first, &second);
    if (memmem(before, first, text, size) || (after && memmem(after, second, text, size)))
        return true;
    /* It may lie across the gap. */
    size_t from = first > size ? first - size : 0, to = first + size < document->text.size ? first + size : document->text.size;
    struct buffer middle = {0};
    gap_text_append(&document->text, from, to, &middle);
    bool found = middle.size > 0 && memmem(middle.data, middle.size, text, size);
    buffer_free(&middle);
    return found;
}

void accept_look(struct accept *accept, const struct document *document, bool saved)
{
    double now = clock_seconds();
    pthread_mutex_lock(&accept->lock);
    for (size_t i = accept->n_kept; i-- > 0;) {
        const struct kept *kept = &accept->kept[i];
        if (strcmp(kept->uri, document->uri) != 0 || (!saved && now - kept->at < SURVIVAL_S))
            continue;
        tally_add(accept->tally, has_text(document, kept->text, kept->size) ? TALLY_SURVIVED : TALLY_CHANGED_LATER, 1);
        drop_kept(accept, i);
    }
    pthread_mutex_unlock(&accept->lock);
}

void accept_forget(struct accept *accept, const char *uri)
{
    pthread_mutex_lock(&accept->lock);
    for (size_t i = accept->n_kept; i-- > 0;) {
        if (strcmp(accept->kept[i].uri, uri) == 0)
            drop_kept(accept, i);
    }
    if (accept->uri && strcmp(accept->uri, uri) == 0)
        hide(accept);
    pthread_mutex_unlock(&accept->lock);
}
