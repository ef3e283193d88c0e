/*
 * test_prefix_tree.c - claims about core/kv/prefix_tree.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kv/prefix_tree.h"

static const struct kv_shape small = {.type = KV_F32, .n_layers = 2, .n_heads = 1, .n_k = 4, .n_v = 4};

struct fixture {
    struct kv_cache cache;
    struct prefix_tree tree;
    int32_t tokens[512];
};

static void start(struct fixture *f, int n_pages)
{
    assert_int_equal(kv_cache_open(&f->cache, &small, 0, n_pages, NULL), DSR1_OK);
    assert_int_equal(prefix_tree_open(&f->tree, &f->cache, NULL), DSR1_OK);
    for (int i = 0; i < 512; i++)
        f->tokens[i] = 1000 + i;
}

static void finish(struct fixture *f)
{
    prefix_tree_close(&f->tree);
    assert_int_equal(f->cache.n_free, f->cache.n_pages);
    kv_cache_close(&f->cache);
}

/* Stands for the keys of a token at a position: recognisable when it is found again. */
static void write_rows(struct fixture *f, struct kv_seq *seq, int from, int to)
{
    for (int p = from; p < to; p++) {
        float *k = (float *) (kv_k_rows(&f->cache, seq->pages[p / KV_PAGE], 1, 0) +
                              (size_t) (p % KV_PAGE) * f->cache.k_row);
        k[0] = (float) (p + 10 * f->tokens[p]);
    }
}

static void expect_rows(struct fixture *f, const struct kv_seq *seq, int to)
{
    for (int p = 0; p < to; p++) {
        const float *k = (const float *) (kv_k_rows(&f->cache, seq->pages[p / KV_PAGE], 1, 0) +
                                          (size_t) (p % KV_PAGE) * f->cache.k_row);
        assert_true(k[0] == (float) (p + 10 * f->tokens[p]));
    }
}

/* A request for n tokens in scope 0: what was found, then all computed, remembered and released. */
static int run(struct fixture *f, int n)
{
    struct kv_seq seq = {0};
    int cached = prefix_tree_attach(&f->tree, 0, f->tokens, n - 1, n, &seq, NULL);
    assert_true(cached >= 0);
    expect_rows(f, &seq, cached);
    write_rows(f, &seq, cached, n);
    prefix_tree_insert(&f->tree, 0, f->tokens, n, &seq, true);
    kv_seq_release(&f->cache, &seq);
    return cached;
}

static void a_prompt_seen_before_is_found_up_to_its_last_token(void **state)
{
    (void) state;
    struct fixture f;
    start(&f, 16);
    assert_int_equal(run(&f, 100), 0);
    assert_int_equal(run(&f, 100), 99);
    assert_int_equal(run(&f, 50), 49);
    finish(&f);
}

static void a_request_shares_full_pages_and_copies_where_it_departs(void **state)
{
    (void) state;
    struct fixture f;
    struct kv_seq a = {0}, b = {0};
    start(&f, 16);
    assert_int_equal(run(&f, 100), 0);
    assert_int_equal(prefix_tree_attach(&f.tree, 0, f.tokens, 99, 100, &a, NULL), 99);
    f.tokens[80]++;
    assert_int_equal(prefix_tree_attach(&f.tree, 0, f.tokens, 99, 100, &b, NULL), 80);
    assert_int_equal(a.pages[1], b.pages[1]);
    assert_int_not_equal(a.pages[2], b.pages[2]);
    f.tokens[80]--;
    expect_rows(&f, &a, 99);
    expect_rows(&f, &b, 80);
    kv_seq_release(&f.cache, &a);
    kv_seq_release(&f.cache, &b);
    finish(&f);
}

static void a_longer_text_takes_the_place_of_its_beginning(void **state)
{
    (void) state;
    struct fixture f;
    start(&f, 16);
    run(&f, 40);
    assert_int_equal(f.tree.n_nodes, 2);
    assert_int_equal(run(&f, 60), 40);
    assert_int_equal(f.tree.n_nodes, 2);
    assert_int_equal(run(&f, 200), 60);
    assert_int_equal(f.tree.n_nodes, 7);
    finish(&f);
}

static void scopes_never_meet(void **state)
{
    (void) state;
    struct fixture f;
    struct kv_seq seq = {0};
    start(&f, 16);
    run(&f, 64);
    assert_int_equal(prefix_tree_match(&f.tree, 0, f.tokens, 64), 64);
    assert_int_equal(prefix_tree_match(&f.tree, 7, f.tokens, 64), 0);
    assert_int_equal(prefix_tree_attach(&f.tree, 7, f.tokens, 63, 64, &seq, NULL), 0);
    kv_seq_release(&f.cache, &seq);
    finish(&f);
}

static void room_is_made_by_forgetting_what_was_used_longest_ago(void **state)
{
    (void) state;
    struct fixture f;
    start(&f, 6);
    run(&f, 64);
    f.tokens[0] = 1;
    run(&f, 64);
    f.tokens[0] = 1000;
    assert_int_equal(run(&f, 64), 63);
    f.tokens[0] = 2;
    run(&f, 64);
    f.tokens[0] = 3;
    run(&f, 64);
    /* Six pages hold three texts: the second was used longest ago, then the first. */
    f.tokens[0] = 1;
    assert_int_equal(prefix_tree_match(&f.tree, 0, f.tokens, 64), 0);
    f.tokens[0] = 3;
    assert_int_equal(prefix_tree_match(&f.tree, 0, f.tokens, 64), 64);
    finish(&f);
}

static void pages_in_use_are_never_evicted(void **state)
{
    (void) state;
    struct fixture f;
    struct kv_seq held = {0}, other = {0};
    dsr1_error err = {0};
    start(&f, 4);
    run(&f, 64);
    assert_int_equal(prefix_tree_attach(&f.tree, 0, f.tokens, 64, 64, &held, NULL), 64);
    f.tokens[0] = 1;
    assert_int_equal(prefix_tree_attach(&f.tree, 0, f.tokens, 95, 96, &other, &err), DSR1_ERR_LIMIT);
    assert_int_equal(other.n_pages, 0);
    f.tokens[0] = 1000;
    expect_rows(&f, &held, 64);
    kv_seq_release(&f.cache, &held);
    f.tokens[0] = 1;
    assert_int_equal(prefix_tree_attach(&f.tree, 0, f.tokens, 95, 96, &other, NULL), 0);
    kv_seq_release(&f.cache, &other);
    finish(&f);
}

/* Random prompts over a small alphabet in a small cache: whatever is found must be what was written. */
static void ten_thousand_random_requests_find_only_what_was_computed(void **state)
{
    (void) state;
    struct fixture f;
    start(&f, 24);
    srand(5);
    long found = 0;
    for (int i = 0; i < 10000; i++) {
        int n = 1 + rand() % 300, shared = rand() % n;
        for (int j = 0; j < n; j++)
            f.tokens[j] = j < shared ? 5 : rand() % 3;
        found += run(&f, n);
    }
    assert_true(found > 100000);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_seen_before_is_found_up_to_its_last_token),
        cmocka_unit_test(a_request_shares_full_pages_and_copies_where_it_departs),
        cmocka_unit_test(a_longer_text_takes_the_place_of_its_beginning),
        cmocka_unit_test(scopes_never_meet),
        cmocka_unit_test(room_is_made_by_forgetting_what_was_used_longest_ago),
        cmocka_unit_test(pages_in_use_are_never_evicted),
        cmocka_unit_test(ten_thousand_random_requests_find_only_what_was_computed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
