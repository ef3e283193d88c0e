/*
 * test_nextn.c - claims about the multi-token-prediction block: core/model/forward.c
 *
 * The block of tests/golden/nextn is made to pass on the state that it is given:
 * it then has to predict what the state before predicted, token for token.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "gguf/gguf.h"
#include "model/step.h"

enum { ROWS = 40 };

static struct model model;
static struct thread_pool *pool;
static float *projection;
static uint8_t *zeros;

/* What the block adds to its input: nothing. */
static void silence(struct weight *w)
{
    if (w->n_mats == 0)
        return;
    w->data = zeros;
    w->panels = NULL;
}

static void pass_on_the_state(void)
{
    struct nextn_weights *n = &model.weights.nextn;
    struct layer *l = &model.weights.layers[model.shape.n_layers];
    size_t d = (size_t) model.shape.n_embd;
    zeros = calloc(1, 1 << 22);
    projection = calloc(2 * d * d, sizeof *projection);
    assert_true(zeros && projection);
    for (size_t i = 0; i < d; i++)
        projection[i * 2 * d + d + i] = 1;      /* (embedding | state): the state */
    n->project = (struct weight){.type = TENSOR_F32, .n_in = (int) (2 * d), .n_out = (int) d, .n_mats = 1,
                                 .row_size = 2 * d * sizeof *projection, .data = (const uint8_t *) projection};
    silence(&l->o);
    silence(&l->ffn.down);
    silence(&l->shared.down);
    for (size_t i = 0; i < d; i++)
        n->hidden_norm[i] = 1;
    memcpy(n->head_norm, model.weights.output_norm, d * sizeof *n->head_norm);
}

static int open_model(void **state)
{
    (void) state;
    struct gguf *gguf;
    if (gguf_open("tests/golden/nextn/tiny.gguf", &gguf, NULL) != DSR1_OK || model_open(gguf, &model, NULL) != DSR1_OK)
        return -1;
    pass_on_the_state();
    return thread_pool_open(2, &pool, NULL) == DSR1_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void) state;
    thread_pool_close(pool);
    model_close(&model);
    free(projection);
    free(zeros);
    return 0;
}

static void the_block_sees_the_state_that_predicted_its_token(void **state)
{
    (void) state;
    struct kv_shape shape = model_kv_shape(&model, KV_F32);
    struct kv_cache cache;
    struct kv_seq seq = {0};
    struct step step;
    struct step_row rows[ROWS];
    int n_vocab = model.shape.n_vocab;
    size_t d = (size_t) model.shape.n_embd;
    assert_int_equal(kv_cache_open(&cache, &shape, 0, kv_pages_for(ROWS + 1), NULL), DSR1_OK);
    assert_int_equal(kv_seq_reserve(&cache, &seq, ROWS + 1, NULL), DSR1_OK);
    assert_int_equal(step_open(&model, &cache, pool, kernels_default(), ROWS, ROWS, 0, &step, NULL), DSR1_OK);
    for (int i = 0; i < ROWS; i++)
        rows[i] = (struct step_row){.token = 3 + 7 * i % 250, .position = i, .seq = &seq, .logits = i};
    step.n_rows = ROWS;
    step.keeps = true;
    memcpy(step.rows, rows, sizeof rows);
    step_run(&step);
    float *said = malloc((size_t) ROWS * (size_t) n_vocab * sizeof *said);
    assert_non_null(said);
    memcpy(said, step.logits, (size_t) ROWS * (size_t) n_vocab * sizeof *said);

    for (int i = 0; i < ROWS; i++)
        step.rows[i] = (struct step_row){.token = 5, .position = i + 1, .seq = &seq, .logits = i,
                                         .before = step.x + (size_t) i * d};
    step.keeps = false;
    step_run_nextn(&step);
    for (int i = 0; i < ROWS * n_vocab; i++)
        assert_true(fabsf(step.logits[i] - said[i]) < 2e-2f * (1 + fabsf(said[i])));
    free(said);
    step_close(&step);
    kv_seq_release(&cache, &seq);
    kv_cache_close(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_block_sees_the_state_that_predicted_its_token),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
