/*
 * test_kv_cache.c - claims about core/kv/kv_cache.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kv/kv_cache.h"

static const struct kv_shape small = {.type = KV_F16, .n_layers = 3, .n_heads = 2, .n_k = 8, .n_v = 4};

static void rows_of_different_places_never_overlap(void **state)
{
    (void) state;
    struct kv_cache cache;
    assert_int_equal(kv_cache_open(&cache, &small, 0, 3, NULL), DSR1_OK);
    assert_int_equal(cache.n_pages, 3);
    uint8_t mark = 1;
    for (int page = 0; page < 3; page++)
        for (int layer = 0; layer < 3; layer++)
            for (int head = 0; head < 2; head++, mark += 2) {
                memset(kv_k_rows(&cache, page, layer, head), mark, KV_PAGE * cache.k_row);
                memset(kv_v_rows(&cache, page, layer, head), mark + 1, KV_PAGE * cache.v_row);
            }
    mark = 1;
    for (int page = 0; page < 3; page++)
        for (int layer = 0; layer < 3; layer++)
            for (int head = 0; head < 2; head++, mark += 2)
                for (size_t i = 0; i < KV_PAGE * cache.v_row; i++) {
                    assert_int_equal(kv_k_rows(&cache, page, layer, head)[i], mark);
                    assert_int_equal(kv_v_rows(&cache, page, layer, head)[i], (uint8_t) (mark + 1));
                }
    kv_cache_close(&cache);
}

static void a_sequence_grows_by_pages_and_gives_them_back(void **state)
{
    (void) state;
    struct kv_cache cache;
    struct kv_seq seq = {0};
    assert_int_equal(kv_cache_open(&cache, &small, 0, 4, NULL), DSR1_OK);
    assert_int_equal(kv_seq_reserve(&cache, &seq, 1, NULL), DSR1_OK);
    assert_int_equal(seq.n_pages, 1);
    assert_int_equal(kv_seq_reserve(&cache, &seq, 2 * KV_PAGE + 1, NULL), DSR1_OK);
    assert_int_equal(seq.n_pages, 3);
    assert_int_equal(cache.n_free, 1);
    kv_seq_release(&cache, &seq);
    assert_int_equal(cache.n_free, 4);
    kv_cache_close(&cache);
}

static void a_full_cache_refuses_and_leaves_the_sequence_alone(void **state)
{
    (void) state;
    struct kv_cache cache;
    struct kv_seq a = {0}, b = {0};
    dsr1_error err = {0};
    assert_int_equal(kv_cache_open(&cache, &small, 0, 2, NULL), DSR1_OK);
    assert_int_equal(kv_seq_reserve(&cache, &a, KV_PAGE, NULL), DSR1_OK);
    assert_int_equal(kv_seq_reserve(&cache, &b, 2 * KV_PAGE, &err), DSR1_ERR_LIMIT);
    assert_int_equal(b.n_pages, 0);
    assert_int_equal(cache.n_free, 1);
    kv_seq_release(&cache, &a);
    kv_seq_release(&cache, &b);
    kv_cache_close(&cache);
}

static void a_shared_page_lives_as_long_as_its_last_holder(void **state)
{
    (void) state;
    struct kv_cache cache;
    struct kv_seq a = {0}, b = {0};
    assert_int_equal(kv_cache_open(&cache, &small, 0, 2, NULL), DSR1_OK);
    assert_int_equal(kv_seq_reserve(&cache, &a, 1, NULL), DSR1_OK);
    assert_int_equal(kv_seq_share(&cache, &b, a.pages[0], NULL), DSR1_OK);
    kv_seq_release(&cache, &a);
    assert_int_equal(cache.n_free, 1);
    kv_seq_release(&cache, &b);
    assert_int_equal(cache.n_free, 2);
    kv_cache_close(&cache);
}

static void a_copy_takes_the_first_positions_of_every_layer(void **state)
{
    (void) state;
    struct kv_cache cache;
    assert_int_equal(kv_cache_open(&cache, &small, 0, 2, NULL), DSR1_OK);
    memset(cache.block, 7, cache.page_size);
    kv_page_copy(&cache, 0, 1, 5);
    for (int layer = 0; layer < 3; layer++)
        for (int head = 0; head < 2; head++) {
            const uint8_t *k = kv_k_rows(&cache, 1, layer, head), *v = kv_v_rows(&cache, 1, layer, head);
            assert_int_equal(k[5 * cache.k_row - 1], 7);
            assert_int_equal(k[5 * cache.k_row], 0);
            assert_int_equal(v[5 * cache.v_row - 1], 7);
            assert_int_equal(v[5 * cache.v_row], 0);
        }
    kv_cache_close(&cache);
}

static void latent_values_are_the_head_of_their_keys(void **state)
{
    (void) state;
    struct kv_shape shape = {.type = KV_F32, .n_layers = 2, .n_heads = 1, .n_k = 12, .n_v = 8, .latent = true};
    struct kv_cache cache;
    assert_int_equal(kv_cache_open(&cache, &shape, 0, 1, NULL), DSR1_OK);
    assert_ptr_equal(kv_v_rows(&cache, 0, 1, 0), kv_k_rows(&cache, 0, 1, 0));
    assert_int_equal(kv_v_stride(&cache), 12 * sizeof(float));
    assert_int_equal(kv_cache_bytes(&shape, 1), cache.page_size);
    kv_cache_close(&cache);
}

static void a_q8_cache_needs_whole_blocks(void **state)
{
    (void) state;
    struct kv_shape shape = {.type = KV_Q8_0, .n_layers = 1, .n_heads = 1, .n_k = 40, .n_v = 32};
    struct kv_cache cache;
    dsr1_error err = {0};
    assert_int_equal(kv_cache_open(&cache, &shape, 0, 1, &err), DSR1_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "40"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_different_places_never_overlap),
        cmocka_unit_test(a_sequence_grows_by_pages_and_gives_them_back),
        cmocka_unit_test(a_full_cache_refuses_and_leaves_the_sequence_alone),
        cmocka_unit_test(a_shared_page_lives_as_long_as_its_last_holder),
        cmocka_unit_test(a_copy_takes_the_first_positions_of_every_layer),
        cmocka_unit_test(latent_values_are_the_head_of_their_keys),
        cmocka_unit_test(a_q8_cache_needs_whole_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
