/*
 * test_engine_requests.c - claims about what a dsr1-engine process answers besides text: core/daemon/work.c, query.c, loader.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_process.h"

#include <math.h>

static struct wire_prompt raw_prompt(const char *text)
{
    return (struct wire_prompt){.n_turns = 1, .turns = {{.content = wire_text(text)}}};
}

static void a_score_is_what_the_model_gives_the_text(void **state)
{
    (void) state;
    struct engine_process engine;
    static struct wire_score score;
    static struct wire_score_result result, again;
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    score = (struct wire_score){.prompt = raw_prompt("The quick"), .n_continuations = 3,
                                .continuations = {{" brown", 6}, {"x", 1}, {" brown", 6}}};
    for (int i = 0; i < 2; i++) {
        assert_true(wire_put_score(&client.out, 1, &score));
        client_send(&client);
        assert_int_equal(wire_get_score_result(client_expect(&client, WIRE_SCORE_RESULT, 1), i ? &again : &result),
                         DSR1_OK);
    }
    assert_int_equal(result.n, 3);
    assert_true(result.scores[0] < 0 && result.scores[1] < 0);
    assert_true(result.scores[0] == result.scores[2] && result.scores[0] != result.scores[1]);
    assert_int_equal(result.n_tokens[1], 1);
    assert_memory_equal(result.scores, again.scores, 3 * sizeof *result.scores);
    client_close(&client);
    engine_end(&engine);
}

static void a_text_has_an_embedding(void **state)
{
    (void) state;
    struct engine_process engine;
    static struct wire_embed_result result;
    struct wire_embed embed = {.text = wire_text("some text")};
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    assert_true(wire_put_embed(&client.out, 1, &embed));
    client_send(&client);
    assert_int_equal(wire_get_embed_result(client_expect(&client, WIRE_EMBED_RESULT, 1), &result), DSR1_OK);
    double square = 0;
    for (uint32_t i = 0; i < result.n; i++)
        square += (double) result.values[i] * (double) result.values[i];
    assert_true(result.n > 0 && fabs(square - 1) < 1e-5);
    client_close(&client);
    engine_end(&engine);
}

static void text_goes_to_tokens_and_back(void **state)
{
    (void) state;
    struct engine_process engine;
    const char text[] = "Gr\xc3\xbc\xc3\x9f dich, 3 < 4";
    struct wire_tokens ask = {.want_ids = true, .text = wire_text(text)};
    struct wire_ids ids;
    struct wire_text back;
    int32_t list[100];
    uint64_t n;
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    assert_true(wire_put_tokens(&client.out, 1, &ask));
    client_send(&client);
    assert_int_equal(wire_get_tokens_result(client_expect(&client, WIRE_TOKENS_RESULT, 1), &n, &ids), DSR1_OK);
    assert_true(n > 0 && n < 100);
    assert_int_equal(ids.n, n);
    for (uint32_t i = 0; i < ids.n; i++)
        list[i] = wire_id(&ids, i);
    assert_true(wire_put_detokenize(&client.out, 2, list, ids.n));
    client_send(&client);
    assert_int_equal(wire_get_text_result(client_expect(&client, WIRE_TEXT_RESULT, 2), &back), DSR1_OK);
    assert_int_equal(back.size, sizeof text - 1);
    assert_memory_equal(back.data, text, back.size);
    list[0] = 1 << 30;
    assert_true(wire_put_detokenize(&client.out, 3, list, ids.n));
    client_send(&client);
    assert_int_equal(client_expect_error(&client, 3), DSR1_ERR_ARGUMENT);
    client_close(&client);
    engine_end(&engine);
}

static void tokens_come_with_their_log_probabilities(void **state)
{
    (void) state;
    struct engine_process engine;
    struct wire_complete complete = raw_request("hello world", 6);
    struct wire_token token;
    size_t at = 0;
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    complete.want_logprobs = true;
    complete.n_top = 3;
    struct wire_done done = client_complete(&client, &complete, NULL);
    assert_int_equal(done.piece.n_tokens, done.usage.completion_tokens);
    while (wire_next_token(&done.piece, &at, &token)) {
        assert_true(token.logprob < 0 && token.n_top == 3);
        assert_int_equal(token.top[0].token, token.id);
    }
    client_close(&client);
    engine_end(&engine);
}

static void an_answer_obeys_the_constraint_it_was_asked_with(void **state)
{
    (void) state;
    struct engine_process engine;
    struct wire_complete complete = raw_request("hello", 40);
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    complete.constraint = DSR1_CONSTRAINT_CHOICES;
    complete.n_constraint = 2;
    complete.constraint_texts[0] = wire_text("a bird");
    complete.constraint_texts[1] = wire_text("a plane");
    struct buffer text = {0};
    struct wire_done done = client_complete(&client, &complete, &text);
    assert_int_equal(done.finish, DSR1_FINISH_END);
    assert_true(strcmp(text.data, "a bird") == 0 || strcmp(text.data, "a plane") == 0);
    assert_true(client_stats(&client).engine.n_forced > 0);

    complete.constraint = DSR1_CONSTRAINT_REGEX;
    complete.n_constraint = 1;
    complete.constraint_texts[0] = wire_text("(never closed");
    assert_true(wire_put_complete(&client.out, 5, &complete));
    client_send(&client);
    assert_int_equal(client_expect_error(&client, 5), DSR1_ERR_ARGUMENT);
    buffer_free(&text);
    client_close(&client);
    engine_end(&engine);
}

static void a_healed_answer_goes_on_in_the_word(void **state)
{
    (void) state;
    struct engine_process engine;
    struct wire_complete complete = raw_request("say hel", 40);
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    complete.heal = true;
    complete.constraint = DSR1_CONSTRAINT_REGEX;
    complete.n_constraint = 1;
    complete.constraint_texts[0] = wire_text("lo, (you|me)");
    struct buffer text = {0};
    client_complete(&client, &complete, &text);
    assert_memory_equal(text.data, "lo, ", 4);
    buffer_free(&text);
    client_close(&client);
    engine_end(&engine);
}

static void a_timeout_ends_an_answer_with_what_there_is(void **state)
{
    (void) state;
    struct engine_process engine;
    static const char *const more[] = {"--context", "60000", "--kv-size", "64", NULL};
    struct wire_complete complete = raw_request(endless, 50000);
    engine_start(&engine, more);
    struct client client = client_open(&engine);
    complete.terms.timeout_ms = 100;
    struct buffer text = {0};
    struct wire_done done = client_complete(&client, &complete, &text);
    assert_int_equal(done.finish, DSR1_FINISH_TIMEOUT);
    assert_true(text.size > 0);
    buffer_free(&text);
    client_close(&client);
    engine_end(&engine);
}

static void expect_phase(struct client *client, uint64_t request, dsr1_phase phase)
{
    struct wire_phase got;
    assert_int_equal(wire_get_phase(client_expect(client, WIRE_PHASE, request), &got), DSR1_OK);
    assert_int_equal(got.phase, phase);
}

static struct client client_with_phases(const struct engine_process *engine)
{
    struct client client = client_connect_raw(engine);
    struct wire_hello ours = client_hello();
    ours.phases = true;
    wire_put_hello(&client.out, &ours);
    client_send(&client);
    client_expect(&client, WIRE_HELLO, 0);
    return client;
}

static void a_client_that_wants_to_is_told_what_it_waits_for(void **state)
{
    (void) state;
    struct engine_process engine;
    static const char *const one[] = {"--context", "60000", "--kv-size", "64", "--max-batch", "1", NULL};
    struct wire_complete complete = raw_request(endless, 50000);
    static struct wire_score score;
    engine_start(&engine, one);
    struct client client = client_with_phases(&engine), other = client_with_phases(&engine);
    wire_put_complete(&client.out, 1, &complete);
    client_send(&client);
    expect_phase(&client, 1, DSR1_PHASE_PREFILL);
    expect_phase(&client, 1, DSR1_PHASE_DECODE);

    /* Who joins later hears at once; who waits hears nothing before it runs. */
    score = (struct wire_score){.prompt = raw_prompt("The quick"), .n_continuations = 1, .continuations = {{" brown", 6}}};
    wire_put_complete(&other.out, 2, &complete);
    wire_put_score(&other.out, 3, &score);
    client_send(&other);
    expect_phase(&other, 2, DSR1_PHASE_DECODE);
    wire_put_bare(&other.out, WIRE_CANCEL, 2);
    client_send(&other);
    client_expect(&other, WIRE_DONE, 2);
    wire_put_bare(&client.out, WIRE_CANCEL, 1);
    client_send(&client);
    client_expect(&client, WIRE_DONE, 1);
    expect_phase(&other, 3, DSR1_PHASE_PREFILL);
    client_expect(&other, WIRE_SCORE_RESULT, 3);
    client_close(&client);
    client_close(&other);
    engine_end(&engine);
}

static struct wire_model ask_model(struct client *client)
{
    struct wire_model got;
    wire_put_bare(&client->out, WIRE_MODEL, 77);
    client_send(client);
    assert_int_equal(wire_get_model_result(client_expect(client, WIRE_MODEL_RESULT, 77), &got), DSR1_OK);
    return got;
}

static void expect_architecture(struct client *client, const char *name)
{
    struct wire_model got = ask_model(client);
    assert_int_equal(got.architecture.size, strlen(name));
    assert_memory_equal(got.architecture.data, name, strlen(name));
}

/* The first word that a command says. */
static void ask_shell(const char *command, char *word, size_t size)
{
    FILE *out = popen(command, "r");
    assert_non_null(out);
    assert_non_null(fgets(word, (int) size, out));
    word[strcspn(word, " \n")] = 0;
    pclose(out);
}

/* Waits for it, for it comes behind "ready". */
static uint64_t expect_digest(struct client *client, const char *digest)
{
    struct wire_model got;
    for (int i = 0; i < 500; i++) {
        got = ask_model(client);
        if (got.digest.size > 0)
            break;
        usleep(10000);
    }
    assert_int_equal(got.digest.size, strlen(digest));
    assert_memory_equal(got.digest.data, digest, strlen(digest));
    assert_true(got.id != 0);
    return got.id;
}

static uint64_t model_that_answers(struct client *client)
{
    struct wire_complete brief = raw_request(endless, 2);
    struct wire_done done;
    wire_put_complete(&client->out, 501, &brief);
    client_send(client);
    assert_int_equal(wire_get_done(client_expect(client, WIRE_DONE, 501), &done), DSR1_OK);
    return done.model;
}

static void the_digest_of_a_model_is_read_once(void **state)
{
    (void) state;
    char folder[] = "/tmp/dsr1-digest-XXXXXX", command[600], digest[80], notes[100], model[100];
    struct engine_process engine;
    assert_non_null(mkdtemp(folder));
    snprintf(notes, sizeof notes, "%s/notes", folder);
    snprintf(model, sizeof model, "%s/model.gguf", folder);
    snprintf(command, sizeof command, "cp %s %s && sha256sum %s", TEST_MODEL, model, model);
    ask_shell(command, digest, sizeof digest);
    const char *const more[] = {"--digests", notes, "--model", model, NULL};

    engine_start(&engine, more);
    struct client client = client_open(&engine);
    uint64_t id = expect_digest(&client, digest);
    assert_int_equal(model_that_answers(&client), id);
    client_close(&client);
    engine_end(&engine);

    /* What is noted is believed, so the file was not read again. */
    memset(digest, 'a', 64);
    snprintf(command, sizeof command, "sed -i 's/[0-9a-f]*$/%s/' %s", digest, notes);
    assert_int_equal(system(command), 0);
    engine_start(&engine, more);
    client = client_open(&engine);
    assert_int_equal(expect_digest(&client, digest), id);

    /* Another file of that name is another model. */
    snprintf(command, sizeof command, "cp %s %s.new && mv %s.new %s && sha256sum %s", TEST_MODEL, model, model, model,
             model);
    ask_shell(command, digest, sizeof digest);
    wire_put_reload(&client.out, 7, wire_text(""));
    client_send(&client);
    client_expect(&client, WIRE_RELOAD_RESULT, 7);
    assert_int_not_equal(expect_digest(&client, digest), id);
    assert_int_not_equal(model_that_answers(&client), id);
    client_close(&client);
    engine_end(&engine);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* The answer begun before a reload ends as it would have, and later ones come from the new model. */
static void a_reload_drops_no_running_request(void **state)
{
    (void) state;
    struct engine_process engine;
    static const char *const more[] = {"--context", "3000", "--kv-size", "64", NULL};
    struct wire_complete slow = raw_request(endless, 2500), brief = raw_request(endless, 8);
    struct buffer undisturbed = {0}, during = {0}, new_text = {0}, old_text = {0};
    engine_start(&engine, more);
    struct client client = client_open(&engine), other = client_open(&engine);
    expect_architecture(&client, "deepseek");
    int before = client_complete(&other, &slow, &undisturbed).usage.completion_tokens;
    client_complete(&other, &brief, &old_text);

    assert_true(wire_put_complete(&client.out, 7777, &slow));
    expect_architecture(&client, "deepseek");   /* sends both: the engine has taken the request once this is answered */
    assert_true(wire_put_reload(&other.out, 5, wire_text("tests/golden/models/qwen2-f32.gguf")));
    client_send(&other);
    client_expect(&other, WIRE_RELOAD_RESULT, 5);
    expect_architecture(&other, "qwen2");
    client_complete(&other, &brief, &new_text);
    struct wire_done done;
    const struct wire_frame *frame = client_next(&client);
    assert_non_null(frame);
    assert_int_equal(frame->type, WIRE_DONE);
    assert_int_equal(wire_get_done(frame, &done), DSR1_OK);
    buffer_append(&during, done.piece.text.data, done.piece.text.size);
    assert_int_equal(done.usage.completion_tokens, before);
    assert_int_equal(during.size, undisturbed.size);
    assert_memory_equal(during.data, undisturbed.data, during.size);
    assert_true(new_text.size != old_text.size || memcmp(new_text.data, old_text.data, new_text.size) != 0);
    buffer_free(&undisturbed);
    buffer_free(&during);
    buffer_free(&new_text);
    buffer_free(&old_text);
    client_close(&client);
    client_close(&other);
    engine_end(&engine);
}

static void a_model_that_cannot_be_loaded_leaves_the_old_one(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    static const struct {
        const char *path;
        dsr1_status status;
    } cases[] = {{"/nonexistent", DSR1_ERR_IO}, {"Makefile", DSR1_ERR_FORMAT}};
    for (size_t i = 0; i < 2; i++) {
        assert_true(wire_put_reload(&client.out, i, wire_text(cases[i].path)));
        client_send(&client);
        assert_int_equal(client_expect_error(&client, i), cases[i].status);
    }
    expect_architecture(&client, "deepseek");
    struct wire_complete brief = raw_request("abc", 3);
    client_complete(&client, &brief, NULL);
    /* Without a path: the same file once more. */
    assert_true(wire_put_reload(&client.out, 9, wire_text("")));
    client_send(&client);
    client_expect(&client, WIRE_RELOAD_RESULT, 9);
    client_complete(&client, &brief, NULL);
    client_close(&client);
    engine_end(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_is_what_the_model_gives_the_text),
        cmocka_unit_test(a_text_has_an_embedding),
        cmocka_unit_test(text_goes_to_tokens_and_back),
        cmocka_unit_test(tokens_come_with_their_log_probabilities),
        cmocka_unit_test(an_answer_obeys_the_constraint_it_was_asked_with),
        cmocka_unit_test(a_healed_answer_goes_on_in_the_word),
        cmocka_unit_test(a_timeout_ends_an_answer_with_what_there_is),
        cmocka_unit_test(a_client_that_wants_to_is_told_what_it_waits_for),
        cmocka_unit_test(a_reload_drops_no_running_request),
        cmocka_unit_test(the_digest_of_a_model_is_read_once),
        cmocka_unit_test(a_model_that_cannot_be_loaded_leaves_the_old_one),
    };
    return cmocka_run_group_tests(tests, find_an_endless_prompt, NULL);
}
