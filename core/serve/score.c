/*
 * score.c - how likely given continuations of one prompt are
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "serve/score.h"

#include "base/error.h"
#include "base/memory.h"
#include "serve/engine.h"

#include <stdlib.h>
#include <string.h>

static dsr1_status check_text(const dsr1_tokens *text, size_t index, int n_vocab, dsr1_error *err)
{
    if (text->n == 0)
        return error_set(err, DSR1_ERR_ARGUMENT, "continuation %zu is empty", index + 1);
    if (text->n > 1 << 20)
        return error_set(err, DSR1_ERR_LIMIT, "continuation %zu has %zu tokens", index + 1, text->n);
    for (size_t i = 0; i < text->n; i++)
        if (text->ids[i] < 0 || text->ids[i] >= n_vocab)
            return error_set(err, DSR1_ERR_ARGUMENT, "token %d is not in the vocabulary of %d", text->ids[i], n_vocab);
    return DSR1_OK;
}

static dsr1_status copy_text(struct score_text *to, const dsr1_tokens *from, dsr1_error *err)
{
    to->tokens = memory_array(from->n, sizeof *to->tokens);
    if (!to->tokens)
        return error_nomem(err, "a continuation");
    memcpy(to->tokens, from->ids, from->n * sizeof *to->tokens);
    to->n = (int) from->n;
    return DSR1_OK;
}

dsr1_status score_open(struct score *score, const dsr1_request *from, int n_vocab, dsr1_error *err)
{
    *score = (struct score){0};
    for (int b = 0; b < SCORE_BRANCHES; b++)
        score->branches[b].text = -1;
    if (from->n_continuations == 0)
        return DSR1_OK;
    if (from->n_continuations > 1 << 20)
        return error_set(err, DSR1_ERR_LIMIT, "there are %zu continuations", from->n_continuations);
    score->texts = memory_array(from->n_continuations, sizeof *score->texts);
    if (!score->texts)
        return error_nomem(err, "continuations");
    dsr1_status status = DSR1_OK;
    for (size_t i = 0; i < from->n_continuations && status == DSR1_OK; i++) {
        status = check_text(&from->continuations[i], i, n_vocab, err);
        if (status == DSR1_OK)
            status = copy_text(&score->texts[score->n_texts++], &from->continuations[i], err);
        if (status == DSR1_OK && score->texts[i].n > score->longest)
            score->longest = score->texts[i].n;
    }
    return status;
}

void score_close(struct score *score)
{
    for (int i = 0; i < score->n_texts; i++)
        free(score->texts[i].tokens);
    free(score->texts);
    *score = (struct score){0};
}

void score_release(struct score *score, struct kv_cache *cache)
{
    for (int b = 0; b < SCORE_BRANCHES; b++)
        kv_seq_release(cache, &score->branches[b].fork);
}

/* ---- Sums ---- */

static void finish_text(struct request *r, int index)
{
    r->score.n_finished++;
    dsr1_event event = {.type = DSR1_EVENT_SCORE, .index = index, .score = r->score.texts[index].sum};
    answer_send(r, &event);
}

static const float *logits_row(const struct engine *e, int row)
{
    return e->step.logits + (size_t) row * (size_t) e->model->shape.n_vocab;
}

void score_begin(struct engine *e, struct request *r, int row)
{
    const float *logits = logits_row(e, row);
    double total = step_log_total(&e->step, row);
    for (int i = 0; i < r->score.n_texts; i++) {
        struct score_text *text = &r->score.texts[i];
        text->sum = (double) logits[text->tokens[0]] - total;
        if (text->n == 1)
            finish_text(r, i);
    }
}

/* ---- Branches ---- */

/*
 * The prompt's full pages are shared, the begun one is copied as far as it is computed; what this step computes of it
 * will be written to both. False: no room at present.
 */
static bool fork_prompt(struct engine *e, struct request *r, struct score_branch *branch, int n)
{
    int n_full = r->n_prompt / KV_PAGE, n_rest = r->n_prompt % KV_PAGE, n_known = r->n_computed - n_full * KV_PAGE;
    int needed = kv_pages_for(r->n_prompt + n) - n_full;
    struct kv_seq *fork = &branch->fork;
    bool ok = prefix_tree_evict(&e->tree, needed);
    for (int i = 0; i < n_full && ok; i++)
        ok = kv_seq_share(&e->cache, fork, r->seq.pages[i], NULL) == DSR1_OK;
    ok = ok && kv_seq_reserve(&e->cache, fork, r->n_prompt + n, NULL) == DSR1_OK;
    if (!ok)
        kv_seq_release(&e->cache, fork);
    else if (n_rest > 0 && n_known > 0)
        kv_page_copy(&e->cache, r->seq.pages[n_full], fork->pages[n_full], n_known < n_rest ? n_known : n_rest);
    if (ok && n_known < n_rest)
        r->score.also[r->score.n_also++] = fork->pages[n_full];
    return ok;
}

/* The next continuation that has rows of its own; NULL: none is left. */
static const struct score_text *next_text(struct score *s)
{
    while (s->n_started < s->n_texts && s->texts[s->n_started].n == 1)
        s->n_started++;
    return s->n_started < s->n_texts ? &s->texts[s->n_started] : NULL;
}

static bool start_branch(struct engine *e, struct request *r, int b)
{
    struct score *s = &r->score;
    const struct score_text *text = next_text(s);
    struct score_branch *branch = &s->branches[b];
    if (!text || (b > 0 && !fork_prompt(e, r, branch, text->n - 1)))
        return false;
    branch->text = s->n_started++;
    branch->n_done = 0;
    return true;
}

static struct kv_seq *branch_seq(struct request *r, int b)
{
    return b == 0 ? &r->seq : &r->score.branches[b].fork;
}

/* The last token is only judged, never fed. */
static void add_row(struct engine *e, struct request *r, int b, int i, int *n_logits)
{
    const struct score_text *text = &r->score.texts[r->score.branches[b].text];
    e->step.rows[e->step.n_rows++] = (struct step_row){.token = text->tokens[i], .position = r->n_prompt + i,
                                                       .seq = branch_seq(r, b), .logits = (*n_logits)++};
}

/* The rows of this step that lie in the prompt's begun page go to the branches' copies of it, too. */
static void share_begun_page(struct engine *e, const struct request *r, int first, int n)
{
    int begun = r->n_prompt / KV_PAGE * KV_PAGE;
    for (int i = first; i < first + n; i++)
        if (e->step.rows[i].position >= begun) {
            e->step.rows[i].also = r->score.also;
            e->step.rows[i].n_also = r->score.n_also;
        }
}

int score_join(struct engine *e, struct share *share, int n_rows, int *n_logits, int most_logits)
{
    struct request *r = share->request;
    const struct score_text *text;
    int n = 0;
    r->score.n_also = 0;
    for (int b = 0; b < SCORE_BRANCHES && (text = next_text(&r->score)) != NULL; b++) {
        int more = text->n - 1;
        if (n + more > n_rows || *n_logits + more > most_logits || !start_branch(e, r, b))
            break;
        for (int i = 0; i < more; i++)
            add_row(e, r, b, i, n_logits);
        n += more;
    }
    share_begun_page(e, r, share->first, share->n);
    share->n += n;
    return n;
}

void score_plan(struct engine *e, struct share *share, int n_rows, int *n_logits)
{
    struct request *r = share->request;
    struct step *step = &e->step;
    share->first = step->n_rows;
    for (int b = 0; b < SCORE_BRANCHES; b++) {
        struct score_branch *branch = &r->score.branches[b];
        if (branch->text < 0 && !start_branch(e, r, b))
            continue;
        for (int i = branch->n_done; i < r->score.texts[branch->text].n - 1; i++) {
            if (step->n_rows - share->first == n_rows || *n_logits == step->max_logits)
                break;
            add_row(e, r, b, i, n_logits);
        }
    }
    share->n = step->n_rows - share->first;
}

static struct score_branch *branch_of(struct request *r, const struct kv_seq *seq)
{
    for (int b = 1; b < SCORE_BRANCHES; b++)
        if (seq == &r->score.branches[b].fork)
            return &r->score.branches[b];
    return &r->score.branches[0];
}

void score_take(struct engine *e, const struct share *share, int n)
{
    struct request *r = share->request;
    for (int i = share->first + share->n - n; i < share->first + share->n; i++) {
        const struct step_row *row = &e->step.rows[i];
        struct score_branch *branch = branch_of(r, row->seq);
        struct score_text *text = &r->score.texts[branch->text];
        const float *logits = logits_row(e, row->logits);
        double total = step_log_total(&e->step, row->logits);
        text->sum += (double) logits[text->tokens[++branch->n_done]] - total;
        if (branch->n_done < text->n - 1)
            continue;
        finish_text(r, branch->text);
        branch->text = -1;
        kv_seq_release(&e->cache, &branch->fork);
    }
}
