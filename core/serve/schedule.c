/*
 * schedule.c - who runs, and with which rows
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/clock.h"
#include "base/error.h"
#include "serve/engine.h"

enum {
    HEADROOM = KV_PAGE,     /* positions that a new answer gets in front of itself, so that it does not ask for pages at once */
    LOOK = 64,              /* waiting requests of a client that are compared */
    MOST_PASSED = 64        /* how often the first of them may be passed by */
};

/* ------------------------------------------------------------------ */
/* Admission                                                           */
/* ------------------------------------------------------------------ */

static int common_prefix(const struct request *a, const struct request *b)
{
    int n = a->n_tokens < b->n_tokens ? a->n_tokens : b->n_tokens, i = 0;
    while (i < n && a->tokens[i] == b->tokens[i])
        i++;
    return i;
}

/* How much of a waiting request's prompt is in the cache. */
static int known_prefix(const struct engine *e, const struct request *r)
{
    return prefix_tree_match(&e->tree, r->scope, r->tokens, request_cacheable(r));
}

/* Is a running request computing a prefix right now that this one could share in a moment? */
static bool prefix_on_its_way(const struct engine *e, const struct request *r, int known)
{
    for (int i = 0; i < e->n_running; i++) {
        const struct request *q = e->running[i].request;
        if (q->scope == r->scope && !request_answering(q) && request_cacheable(r) > 0 &&
            common_prefix(q, r) / KV_PAGE * KV_PAGE > known)
            return true;
    }
    return false;
}

/* What it computed stays in the tree until its room is needed. */
static void release_pages(struct engine *e, struct request *r)
{
    prefix_tree_insert(&e->tree, r->scope, r->tokens, r->n_computed, &r->seq, true);
    kv_seq_release(&e->cache, &r->seq);
    score_release(&r->score, &e->cache);
}

static void remove_running(struct engine *e, int at)
{
    e->n_running--;
    for (int i = at; i < e->n_running; i++)
        e->running[i] = e->running[i + 1];
}

/* Running request number `at` goes back to the head of its lane, to be taken up again where it was. Under the lock. */
static void preempt(struct engine *e, int at)
{
    struct request *r = e->running[at].request;
    release_pages(e, r);
    r->n_computed = 0;
    remove_running(e, at);
    if (r->cancelled) {
        r->state = REQUEST_OVER;
        r->finish = DSR1_FINISH_CANCELLED;
        r->next = e->over;
        e->over = r;
        return;
    }
    r->state = REQUEST_QUEUED;
    lane_put_back(r->lane, r);
    e->n_queued++;
    e->stats.n_preempted++;
}

/* The last one in order that may make way, behind `after`; -1: none. */
static int victim(const struct engine *e, int after)
{
    for (int i = e->n_running - 1; i > after; i--)
        if (!e->running[i].request->fixed)
            return i;
    return -1;
}

static bool comes_before(const struct request *a, const struct request *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->turn < b->turn;
}

static void insert_running(struct engine *e, struct request *r)
{
    int at = e->n_running++;
    for (; at > 0 && comes_before(r, e->running[at - 1].request); at--)
        e->running[at] = e->running[at - 1];
    e->running[at] = (struct share){.request = r};
}

static void start(struct engine *e, struct request *r, int cached)
{
    r->n_computed = cached;
    guess_start(&r->guess, cached);
    r->state = REQUEST_RUNNING;
    if (r->turn == 0) {
        /* Tokens that a constraint forces may be cached, too. */
        cached = cached < r->n_prompt ? cached : r->n_prompt;
        r->turn = e->next_turn++;
        r->t_start = clock_seconds();
        r->n_cached = cached;
        e->stats.cached_tokens += (uint64_t) cached;
        e->stats.prompt_tokens += (uint64_t) cached;
    }
    insert_running(e, r);
}

static bool is_full(const struct engine *e)
{
    return e->n_running == e->options.max_batch;
}

/* Is there a place for one of this priority, or somebody who runs with a lower one? */
static bool has_place(const struct engine *e, int priority)
{
    int last = victim(e, -1);
    return !is_full(e) || (last >= 0 && e->running[last].request->priority < priority);
}

static int room_wanted(const struct request *r)
{
    if (r->fixed)
        return r->n_reserve;
    int wanted = r->n_tokens + HEADROOM;
    return wanted < r->n_reserve ? wanted : r->n_reserve;
}

/*
 * Who is next in a lane: the first, but for those whose prefix is just being computed; and while prompts with a common
 * beginning come mixed with others, rather one that finds a page more of its beginning in the cache, for until its turn
 * came that would have made way. One that made way itself goes first. NULL: none at present.
 */
static struct request *choose(const struct engine *e, const struct lane *lane)
{
    struct request *head = lane->first, *best = NULL;
    int n = head->turn > 0 || head->n_passed >= MOST_PASSED ? 1 : LOOK, most = 0;
    for (struct request *r = head; r && n > 0; r = r->next, n--) {
        int known = known_prefix(e, r);
        if ((best && known < most + KV_PAGE) || prefix_on_its_way(e, r, known))
            continue;
        best = r;
        most = known;
    }
    return best;
}

static void take(struct lane *lane, struct request *r)
{
    if (r != lane->first)
        lane->first->n_passed++;
    lane_remove(lane, r);
}

/*
 * Lanes take turns; within the order so given a request that lacks room is
 * waited for, so that no stream of small ones starves a large one. One whose
 * prefix is just being computed lets others pass: it will need less.
 */
void schedule_admit(struct engine *e)
{
    struct lane *lane = NULL;
    while ((lane = lane_next(e->lanes, lane))) {
        if (!has_place(e, lane->priority))
            return;
        struct request *r = choose(e, lane);
        if (!r)
            continue;
        if (is_full(e))
            preempt(e, victim(e, -1));
        int cached = prefix_tree_attach(&e->tree, r->scope, r->tokens, request_cacheable(r), room_wanted(r), &r->seq,
                                        NULL);
        if (cached < 0)
            return;
        take(lane, r);
        e->n_queued--;
        start(e, r, cached);
        /* The order may have changed. */
        lane = NULL;
    }
}

/* ------------------------------------------------------------------ */
/* The rows of a step                                                  */
/* ------------------------------------------------------------------ */

/* Pages for the first n positions of running request number `at`, if need be those of others behind it. */
static bool grow(struct engine *e, int at, int n)
{
    struct request *r = e->running[at].request;
    if (r->seq.n_pages >= kv_pages_for(n))
        return true;
    while (!prefix_tree_evict(&e->tree, kv_pages_for(n) - r->seq.n_pages)) {
        int last = victim(e, at);
        if (last < 0)
            return false;
        pthread_mutex_lock(&e->lock);
        preempt(e, last);
        pthread_mutex_unlock(&e->lock);
    }
    return kv_seq_reserve(&e->cache, &r->seq, n, NULL) == DSR1_OK;
}

static bool wants_logits(const struct request *r, int position)
{
    int next = position + 1;
    if (position < r->n_prompt &&
        (r->want_logits == DSR1_LOGITS_ALL ||
         (next == r->n_prompt && (r->want_logits == DSR1_LOGITS_LAST || r->score.n_texts > 0))))
        return true;
    if (next < r->n_tokens)
        return request_judges(r) && next >= r->n_told;
    return r->n_tokens < r->n_limit;
}

/* Up to n known tokens of a request; fewer when the rows of logits run out. */
static void add_rows(struct engine *e, struct share *share, int n, int *n_logits)
{
    struct request *r = share->request;
    struct step *s = &e->step;
    size_t d = (size_t) e->model->shape.n_embd;
    share->first = s->n_rows;
    for (int i = 0; i < n; i++) {
        int position = r->n_computed + i, logits = -1;
        if (wants_logits(r, position)) {
            if (*n_logits == s->max_logits)
                break;
            logits = (*n_logits)++;
        }
        bool pooled = r->pooling == DSR1_POOLING_MEAN || (r->pooling == DSR1_POOLING_LAST && position == r->n_prompt - 1);
        float *hidden = pooled ? e->hidden + (size_t) s->n_rows * d : NULL;
        s->rows[s->n_rows++] = (struct step_row){.token = r->tokens[position], .position = position,
                                                 .seq = &r->seq, .logits = logits, .hidden = hidden};
    }
    share->n = s->n_rows - share->first;
}

/* Guessed tokens behind the known ones, each with logits to be judged by. */
static void add_drafts(struct engine *e, int at, int most, int *n_logits)
{
    struct share *share = &e->running[at];
    struct request *r = share->request;
    struct step *s = &e->step;
    int logits_left = s->max_logits - *n_logits - (e->n_running - at - 1);
    most = most < logits_left ? most : logits_left;
    most = most < r->n_limit - 1 - r->n_tokens ? most : r->n_limit - 1 - r->n_tokens;
    /* With the rows of those who are still to come. */
    int n_rows = s->n_rows + e->n_running - at - 1;
    draft_guess(&r->draft, &e->cost, r->tokens, r->n_tokens, r->n_limit, n_rows, most);
    int32_t guess = r->draft.n == 0 && most > 0 ? guess_take(&r->guess, &e->cost, n_rows) : -1;
    r->guessed = guess >= 0;
    if (r->guessed)
        r->draft.tokens[r->draft.n++] = guess;
    r->draft.n = obey_filter(&r->obey, r->draft.tokens, r->draft.n);
    if (r->draft.n == 0)
        return;
    /* A guess is not worth anybody's pages. */
    int have = r->seq.n_pages * KV_PAGE - r->n_tokens;
    for (int i = 0; i < r->draft.n && i < have; i++) {
        s->rows[s->n_rows++] = (struct step_row){.token = r->draft.tokens[i], .position = r->n_tokens + i,
                                                 .seq = &r->seq, .logits = (*n_logits)++};
        share->n_draft++;
        share->n++;
    }
    r->draft.n = share->n_draft;
}

/* The next token of every answer, with what a constraint forced and a draft guessed behind it. */
static void plan_answers(struct engine *e, int *chunk, int *n_logits)
{
    for (int i = 0; i < e->n_running; i++) {
        struct share *share = &e->running[i];
        struct request *r = share->request;
        if (!request_answering(r))
            continue;
        if (score_pending(&r->score)) {
            score_plan(e, share, *chunk, n_logits);
            share->n_score = share->n;
            *chunk -= share->n;
            continue;
        }
        int pending = request_pending(r), n = pending < *chunk + 1 ? pending : *chunk + 1;
        if (!grow(e, i, r->n_computed + n))
            continue;
        add_rows(e, share, n, n_logits);
        if (share->n == pending)
            add_drafts(e, i, *chunk - share->n + 1, n_logits);
        *chunk -= share->n - 1;
    }
}

/* Running requests that have no rows in this step yet: each may need logits. */
static int n_without_rows(const struct engine *e)
{
    int n = 0;
    for (int i = 0; i < e->n_running; i++)
        n += e->running[i].n == 0;
    return n;
}

static void plan_prompt(struct engine *e, struct share *share, int most, int *chunk, int *n_logits)
{
    struct request *r = share->request;
    /* A request that starts over has part of its answer to compute again, too. */
    int pending = request_pending(r);
    most = most < *chunk ? most : *chunk;
    add_rows(e, share, pending < most ? pending : most, n_logits);
    *chunk -= share->n;
    if (r->score.n_texts > 0 && share->n > 0 && share->n == pending) {
        share->n_score = score_join(e, share, *chunk, n_logits, e->step.max_logits - n_without_rows(e));
        *chunk -= share->n_score;
    }
}

/* The prompt with the least left among those that have no rows yet, of the highest priority. */
static struct share *shortest_prompt(struct engine *e)
{
    struct share *best = NULL;
    for (int i = 0; i < e->n_running; i++) {
        struct share *s = &e->running[i];
        const struct request *r = s->request;
        if (request_answering(r) || s->n > 0)
            continue;
        if (best && best->request->priority > r->priority)
            break;
        if (!best || request_pending(r) < request_pending(best->request))
            best = s;
    }
    return best;
}

/*
 * Short prompts go first, for their answers can begin; but the first in order
 * gets a quarter of every chunk, so that it always moves on.
 */
static void plan_prompts(struct engine *e, int chunk, int *n_logits)
{
    struct share *first = NULL, *s;
    int others = 0;
    for (int i = 0; i < e->n_running; i++) {
        const struct request *r = e->running[i].request;
        if (request_answering(r))
            continue;
        if (!first)
            first = &e->running[i];
        else if (others < chunk)
            others += request_pending(r);
    }
    if (!first || chunk <= 0)
        return;
    int quarter = (chunk + 3) / 4, rest = others < chunk ? chunk - others : 0;
    plan_prompt(e, first, quarter > rest ? quarter : rest, &chunk, n_logits);
    while (chunk > 0 && (s = shortest_prompt(e)) != NULL) {
        plan_prompt(e, s, chunk, &chunk, n_logits);
        if (s->n == 0)
            break;
    }
}

/* What all rows of a request have in common. */
static void finish_rows(struct engine *e, const struct share *share)
{
    const struct request *r = share->request;
    size_t width = (size_t) e->model->shape.n_layers * (size_t) e->step.n_used;
    for (int i = share->first; i < share->first + share->n; i++) {
        e->step.rows[i].lora = r->lora;
        e->step.rows[i].experts = r->want_experts ? e->experts + (size_t) i * width : NULL;
    }
}

int schedule_plan(struct engine *e)
{
    int n_logits = 0, chunk = e->options.chunk_size, n_prompt = 0;
    e->step.n_rows = 0;
    for (int i = 0; i < e->n_running; i++) {
        e->running[i].n = e->running[i].n_draft = e->running[i].n_score = 0;
        if (request_answering(e->running[i].request))
            chunk = e->shared_chunk;
    }
    plan_answers(e, &chunk, &n_logits);
    plan_prompts(e, chunk, &n_logits);
    for (int i = 0; i < e->n_running; i++) {
        const struct request *r = e->running[i].request;
        finish_rows(e, &e->running[i]);
        if (!request_answering(r) || score_pending(&r->score))
            n_prompt += e->running[i].n;
    }
    return n_prompt;
}
