/*
 * test_train_forward.c - claims about the forward pass of training
 *
 * It gives the logits that llama.cpp gives (tests/golden), whatever stands beside a
 * sequence, layer by layer as well as at once.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_golden.h"

#include "base/memory.h"
#include "train/head.h"
#include "train/pass.h"
#include "train/stream.h"

#include <math.h>

static void open_net(const char *name, struct net *net)
{
    char path[300];
    dsr1_error err = {0};
    golden_path(name, ".gguf", path);
    if (net_open(path, 64, net, &err) != DSR1_OK)
        fail_msg("%s: %s", name, err.message);
}

/* Logits of all rows of a batch. */
static real *all_logits(const struct net *net, const struct batch *batch)
{
    struct pass pass;
    struct head head;
    size_t n = (size_t) batch_rows(batch), n_vocab = (size_t) net->shape.n_vocab;
    real *logits = memory_array(n * n_vocab, sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(pass_open(net, false, &pass, NULL), DSR1_OK);
    assert_int_equal(head_open(net, &head, NULL), DSR1_OK);
    assert_int_equal(pass_begin(&pass, batch, NULL), DSR1_OK);
    pass_forward(&pass);
    for (size_t first = 0; first < n; first += HEAD_ROWS) {
        size_t m = n - first < HEAD_ROWS ? n - first : HEAD_ROWS;
        head_logits(&head, pass.out + first * (size_t) net->shape.n_embd, NULL, (int) m);
        memcpy(logits + first * n_vocab, head.logits, m * n_vocab * sizeof *logits);
    }
    head_close(&head);
    pass_close(&pass);
    return logits;
}

static void agrees_with_llama_cpp(void **state)
{
    const char *name = *state;
    struct net net;
    size_t size;
    int32_t prompt[GOLDEN_PROMPT];
    const int start[] = {0, GOLDEN_PROMPT};
    open_net(name, &net);
    golden_prompt(name, prompt);
    struct batch batch = {.n_seqs = 1, .start = start, .tokens = prompt};
    real *logits = all_logits(&net, &batch);
    float *wanted = golden_read(name, ".batch.f32", &size);
    size_t n = GOLDEN_PROMPT * (size_t) net.shape.n_vocab;
    assert_int_equal(size, n * sizeof *wanted);
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double) logits[i] - (double) wanted[i]));
    if (!(worst < 1e-3))
        fail_msg("%s: logits differ by %g", name, worst);
    free(wanted);
    free(logits);
    net_close(&net);
}

/* Three sequences: the prompt, its first 9 tokens, its last 15. */
static const int three_start[] = {0, 24, 33, 48};

static void three_sequences(const char *name, int32_t tokens[48])
{
    golden_prompt(name, tokens);
    memcpy(tokens + 24, tokens, 9 * sizeof *tokens);
    memcpy(tokens + 33, tokens + 9, 15 * sizeof *tokens);
}

static void sequences_do_not_see_each_other(void **state)
{
    struct net net;
    int32_t tokens[48];
    open_net(*state, &net);
    three_sequences(*state, tokens);
    size_t n_vocab = (size_t) net.shape.n_vocab;
    struct batch batch = {.n_seqs = 3, .start = three_start, .tokens = tokens};
    real *together = all_logits(&net, &batch);
    for (int s = 0; s < 3; s++) {
        struct batch one = {.n_seqs = 1, .start = three_start + s, .tokens = tokens + three_start[s]};
        real *alone = all_logits(&net, &one);
        for (size_t i = 0; i < (size_t) batch_length(&batch, s) * n_vocab; i++)
            assert_true(fabs((double) (alone[i] - together[(size_t) three_start[s] * n_vocab + i])) < 2e-4);
        free(alone);
    }
    free(together);
    net_close(&net);
}

static double loss_of_logits(const struct net *net, const real *logits, const int32_t *tokens)
{
    double loss = 0;
    int n_vocab = net->shape.n_vocab;
    for (int s = 0; s < 3; s++)
        for (int r = three_start[s]; r < three_start[s + 1] - 1; r++) {
            double sum = 0;
            for (int j = 0; j < n_vocab; j++)
                sum += exp((double) logits[r * n_vocab + j]);
            loss += log(sum) - (double) logits[r * n_vocab + tokens[r + 1]];
        }
    return loss / 45;
}

/* The whole network by stream.h with this many threads; the caller frees the stream's rows. */
static real *stream_rows(const struct net *net, const int32_t *tokens, int n_threads, double *loss)
{
    struct thread_pool *pool;
    struct stream stream;
    size_t size = 48 * (size_t) net->shape.n_embd * sizeof(real);
    real *h = malloc(size), *y = malloc(size);
    assert_int_equal(thread_pool_open(n_threads, &pool, NULL), DSR1_OK);
    assert_int_equal(stream_open(net, pool, 3, three_start, tokens, 0, &stream, NULL), DSR1_OK);
    for (int i = 0; i < net->shape.n_layers; i++) {
        assert_int_equal(stream_attention(&stream, &net->layers[i], NULL), DSR1_OK);
        stream_norm(&stream, &net->layers[i].ffn_norm, h);
        assert_int_equal(stream_ffn(&stream, &net->layers[i], NULL, h, y, NULL), DSR1_OK);
        stream_add(&stream, y);
    }
    assert_int_equal(stream_loss(&stream, loss, NULL), DSR1_OK);
    memcpy(h, stream.x, size);
    stream_close(&stream);
    thread_pool_close(pool);
    free(y);
    return h;
}

static void layer_by_layer_is_the_same_network(void **state)
{
    struct net net;
    int32_t tokens[48];
    double loss, loss_again;
    open_net(*state, &net);
    three_sequences(*state, tokens);
    struct batch batch = {.n_seqs = 3, .start = three_start, .tokens = tokens};
    real *logits = all_logits(&net, &batch);
    real *x = stream_rows(&net, tokens, 1, &loss), *again = stream_rows(&net, tokens, 3, &loss_again);
    assert_true(fabs(loss - loss_of_logits(&net, logits, tokens)) < 1e-4);
    assert_memory_equal(x, again, 48 * (size_t) net.shape.n_embd * sizeof *x);
    assert_true(loss == loss_again);
    free(x);
    free(again);
    free(logits);
    net_close(&net);
}

static void a_forced_choice_of_experts_is_kept(void **state)
{
    struct net net;
    struct pass pass;
    int32_t prompt[GOLDEN_PROMPT];
    const int start[] = {0, GOLDEN_PROMPT};
    open_net("deepseek-f32", &net);
    golden_prompt("deepseek-f32", prompt);
    int n_used = 2, size = net.shape.n_layers * GOLDEN_PROMPT * n_used, *chosen = calloc((size_t) size, sizeof *chosen);
    for (int i = 0; i < size; i++)
        chosen[i] = i * 5 % net.shape.n_experts;
    struct batch batch = {.n_seqs = 1, .start = start, .tokens = prompt, .n_used = n_used, .chosen = chosen};
    assert_int_equal(pass_open(&net, true, &pass, NULL), DSR1_OK);
    assert_int_equal(pass_begin(&pass, &batch, NULL), DSR1_OK);
    pass_forward(&pass);
    for (int i = 0; i < net.shape.n_layers; i++) {
        const int *ids = pass_chosen(&pass, i, &n_used);
        assert_true(ids ? net_has_experts(&net.layers[i]) : !net_has_experts(&net.layers[i]));
        if (ids)
            assert_memory_equal(ids, chosen + i * GOLDEN_PROMPT * 2, GOLDEN_PROMPT * 2 * sizeof *ids);
    }
    pass_close(&pass);
    net_close(&net);
    free(chosen);
}

static void a_graph_without_a_backward_pass_is_refused(void **state)
{
    struct net net;
    dsr1_error err = {0};
    assert_int_equal(net_open(GOLDEN_FOLDER "gptoss-f32.gguf", 64, &net, &err), DSR1_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "gpt-oss"));
}

static void a_token_beyond_the_vocabulary_is_refused(void **state)
{
    struct net net;
    struct pass pass;
    int32_t tokens[] = {1, 100000};
    const int start[] = {0, 2};
    open_net("llama3-f32", &net);
    struct batch batch = {.n_seqs = 1, .start = start, .tokens = tokens};
    assert_int_equal(pass_open(&net, false, &pass, NULL), DSR1_OK);
    assert_int_equal(pass_begin(&pass, &batch, NULL), DSR1_ERR_ARGUMENT);
    pass_close(&pass);
    net_close(&net);
}

int main(void)
{
    static char names[][20] = {"llama3-f32", "deepseek-f32", "qwen2-f32", "dsv3-f32", "dsv2lite-f32",
                               "dsv2-legacy-f32"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(agrees_with_llama_cpp, names[0]),
        cmocka_unit_test_prestate(agrees_with_llama_cpp, names[1]),
        cmocka_unit_test_prestate(agrees_with_llama_cpp, names[2]),
        cmocka_unit_test_prestate(agrees_with_llama_cpp, names[3]),
        cmocka_unit_test_prestate(agrees_with_llama_cpp, names[4]),
        cmocka_unit_test_prestate(agrees_with_llama_cpp, names[5]),
        cmocka_unit_test_prestate(sequences_do_not_see_each_other, names[0]),
        cmocka_unit_test_prestate(sequences_do_not_see_each_other, names[1]),
        cmocka_unit_test_prestate(layer_by_layer_is_the_same_network, names[0]),
        cmocka_unit_test_prestate(layer_by_layer_is_the_same_network, names[1]),
        cmocka_unit_test_prestate(layer_by_layer_is_the_same_network, names[3]),
        cmocka_unit_test(a_forced_choice_of_experts_is_kept),
        cmocka_unit_test(a_graph_without_a_backward_pass_is_refused),
        cmocka_unit_test(a_token_beyond_the_vocabulary_is_refused),
    };
    return cmocka_run_group_tests_name("train_forward", tests, NULL, NULL);
}
