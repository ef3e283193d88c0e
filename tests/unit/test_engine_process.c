/*
 * test_engine_process.c - claims about dsr1-engine, the process
 *
 * Real engines on the tiny random model of the golden set, over real sockets.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_process.h"

#include <sys/prctl.h>
#include <sys/stat.h>

/* Room for an answer that outlasts what a test does meanwhile. */
static const char *const long_context[] = {"--context", "60000", "--kv-size", "64", NULL};

static void submit(struct client *client, uint64_t request, const struct wire_complete *complete)
{
    assert_true(wire_put_complete(&client->out, request, complete));
    client_send(client);
}

/* Returns once the first token of the endless answer is there. */
static void start_endless(struct client *client, uint64_t request)
{
    struct wire_complete complete = raw_request(endless, -1);
    complete.stream = true;
    submit(client, request, &complete);
    const struct wire_frame *frame;
    while ((frame = client_next(client)) && frame->request != request)
        ;
    assert_non_null(frame);
    assert_int_equal(frame->type, WIRE_TEXT);
}

static struct wire_done next_done(struct client *client)
{
    struct wire_done done;
    const struct wire_frame *frame;
    while ((frame = client_next(client)) && frame->type == WIRE_TEXT)
        ;
    assert_non_null(frame);
    assert_int_equal(frame->type, WIRE_DONE);
    assert_int_equal(wire_get_done(frame, &done), DSR1_OK);
    return done;
}

static void cancel(struct client *client, uint64_t request)
{
    wire_put_bare(&client->out, WIRE_CANCEL, request);
    client_send(client);
}

/* ------------------------------------------------------------------ */
/* Clients                                                             */
/* ------------------------------------------------------------------ */

static void two_clients_are_served_without_one_waiting_for_the_other(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, long_context);
    struct client slow = client_open(&engine), quick = client_open(&engine);
    struct wire_complete brief = raw_request("abc", 5);
    start_endless(&slow, 1);
    for (int i = 0; i < 20; i++)
        assert_true(client_complete(&quick, &brief, NULL).usage.completion_tokens <= 5);
    client_expect(&slow, WIRE_TEXT, 1);
    assert_int_equal(client_stats(&quick).engine.n_running, 1);
    cancel(&slow, 1);
    assert_int_equal(next_done(&slow).finish, DSR1_FINISH_CANCELLED);
    client_close(&slow);
    client_close(&quick);
    engine_end(&engine);
}

static void one_connection_carries_many_requests_at_once(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, long_context);
    struct client client = client_open(&engine);
    struct wire_complete brief = raw_request("abc", 5), wordy = raw_request(endless, -1);
    submit(&client, 1, &wordy);
    submit(&client, 2, &wordy);
    submit(&client, 3, &brief);
    assert_int_equal(client_next(&client)->request, 3);
    /* The id is free again once it was answered, but not before. */
    submit(&client, 3, &brief);
    assert_int_equal(client_next(&client)->request, 3);
    submit(&client, 2, &brief);
    assert_int_equal(client_expect_error(&client, 2), DSR1_ERR_ARGUMENT);
    cancel(&client, 77);
    cancel(&client, 2);
    client_expect(&client, WIRE_DONE, 2);
    cancel(&client, 1);
    client_expect(&client, WIRE_DONE, 1);
    client_close(&client);
    engine_end(&engine);
}

static void a_closed_socket_cancels_what_it_asked_for(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, long_context);
    struct client gone = client_open(&engine), watcher = client_open(&engine);
    start_endless(&gone, 1);
    start_endless(&gone, 2);
    assert_int_equal(client_stats(&watcher).engine.n_running, 2);
    client_close(&gone);
    struct wire_stats stats;
    double until = clock_seconds() + 5;
    while ((stats = client_stats(&watcher)).engine.n_running > 0)
        assert_true(clock_seconds() < until);
    assert_int_equal(stats.engine.n_cancelled, 2);
    assert_int_equal(stats.engine.n_queued, 0);
    assert_int_equal(stats.n_clients, 1);
    client_close(&watcher);
    engine_end(&engine);
}

enum { N_CLIENTS = 8, N_EACH = 25, N_PROMPTS = N_CLIENTS * N_EACH };

static struct wire_complete nth_request(int n, char *prompt, size_t size)
{
    snprintf(prompt, size, "%d: shared beginning of a prompt, then number %d", n % 3, n);
    struct wire_complete complete = raw_request(prompt, 10 + n % 40);
    complete.temperature = n % 4 ? 0.9f : 0;
    complete.seed = (uint64_t) n;
    complete.stream = n % 2;
    return complete;
}

static void ask_alone(struct buffer *texts)
{
    static const char *const alone[] = {"--max-batch", "1", "--threads", "1", NULL};
    struct engine_process engine;
    char prompt[100];
    engine_start(&engine, alone);
    struct client client = client_open(&engine);
    for (int n = 0; n < N_PROMPTS; n++) {
        struct wire_complete complete = nth_request(n, prompt, sizeof prompt);
        client_complete(&client, &complete, &texts[n]);
    }
    client_close(&client);
    engine_end(&engine);
}

static void take_answers(struct client *client, struct buffer *texts)
{
    for (int n_done = 0; n_done < N_EACH;) {
        const struct wire_frame *frame = client_next(client);
        struct wire_done done;
        assert_non_null(frame);
        assert_in_range(frame->request, 0, N_PROMPTS - 1);
        if (frame->type == WIRE_TEXT) {
            assert_int_equal(wire_get_text_event(frame, &done.piece), DSR1_OK);
        } else {
            assert_int_equal(frame->type, WIRE_DONE);
            assert_int_equal(wire_get_done(frame, &done), DSR1_OK);
            n_done++;
        }
        buffer_append(&texts[frame->request], done.piece.text.data, done.piece.text.size);
    }
}

static void two_hundred_requests_on_eight_connections_read_as_each_alone(void **state)
{
    (void) state;
    static struct buffer alone[N_PROMPTS], together[N_PROMPTS];
    struct engine_process engine;
    struct client clients[N_CLIENTS];
    char prompt[100];
    size_t size = 0;
    ask_alone(alone);
    engine_start(&engine, NULL);
    for (int c = 0; c < N_CLIENTS; c++)
        clients[c] = client_open(&engine);
    for (int n = 0; n < N_PROMPTS; n++) {
        struct wire_complete complete = nth_request(n, prompt, sizeof prompt);
        submit(&clients[n % N_CLIENTS], (uint64_t) n, &complete);
    }
    for (int c = 0; c < N_CLIENTS; c++) {
        take_answers(&clients[c], together);
        client_close(&clients[c]);
    }
    engine_end(&engine);
    for (int n = 0; n < N_PROMPTS; n++) {
        assert_int_equal(together[n].size, alone[n].size);
        if (alone[n].size)
            assert_memory_equal(together[n].data, alone[n].data, alone[n].size);
        size += alone[n].size;
        buffer_free(&alone[n]);
        buffer_free(&together[n]);
    }
    assert_true(size > N_PROMPTS);
}

static void a_slow_reader_blocks_nobody_and_loses_nothing(void **state)
{
    (void) state;
    enum { N_SLOW = 200, N_TOKENS = 400 };
    struct engine_process engine;
    engine_start(&engine, NULL);
    struct client slow = client_open(&engine), quick = client_open(&engine);
    struct wire_complete wordy = raw_request(endless, N_TOKENS), brief = raw_request("abc", 5);
    wordy.stream = true;
    for (uint64_t i = 0; i < N_SLOW; i++)
        submit(&slow, i, &wordy);
    for (int i = 0; i < 10; i++)
        client_complete(&quick, &brief, NULL);
    while (client_stats(&quick).engine.n_finished < N_SLOW + 10)
        usleep(1000);
    for (int i = 0; i < N_SLOW; i++)
        assert_int_equal(next_done(&slow).usage.completion_tokens, N_TOKENS);
    client_close(&slow);
    client_close(&quick);
    engine_end(&engine);
}

/* Chunks of 8192 rows on one thread: each step takes a long while. */
static void pings_are_answered_amidst_long_steps(void **state)
{
    (void) state;
    static const char *const more[] = {"--context", "20000", "--chunk", "8192", "--threads", "1", NULL};
    struct engine_process engine;
    static char prompt[12000];
    memset(prompt, 'x', sizeof prompt - 1);
    engine_start(&engine, more);
    struct client busy = client_open(&engine), pinger = client_open(&engine);
    struct wire_complete complete = raw_request(prompt, 1);
    double began = clock_seconds(), worst = 0;
    submit(&busy, 1, &complete);
    struct pollfd answer = {busy.fd, POLLIN, 0};
    while (poll(&answer, 1, 5) == 0) {
        double sent = clock_seconds();
        wire_put_bare(&pinger.out, WIRE_PING, 42);
        client_send(&pinger);
        client_expect(&pinger, WIRE_PONG, 42);
        double took = clock_seconds() - sent;
        worst = took > worst ? took : worst;
    }
    double step = (clock_seconds() - began) / (double) client_stats(&pinger).engine.n_steps;
    print_message("# a step took %.0f ms on average, a ping %.1f ms at worst\n", 1e3 * step, 1e3 * worst);
    assert_true(worst < step / 2);
    client_close(&busy);
    client_close(&pinger);
    engine_end(&engine);
}

static void prefixes_are_shared_within_a_role_only(void **state)
{
    (void) state;
    struct engine_process engine;
    char prompt[300];
    memset(prompt, 'p', sizeof prompt - 1);
    prompt[sizeof prompt - 1] = 0;
    engine_start(&engine, NULL);
    struct client first = client_open_as(&engine, 1, 10), again = client_open_as(&engine, 1, 10);
    struct client other = client_open_as(&engine, 1, 11), elsewhere = client_open_as(&engine, 2, 10);
    struct wire_complete complete = raw_request(prompt, 2);
    assert_int_equal(client_complete(&first, &complete, NULL).usage.cached_tokens, 0);
    assert_int_equal(client_complete(&other, &complete, NULL).usage.cached_tokens, 0);
    assert_int_equal(client_complete(&elsewhere, &complete, NULL).usage.cached_tokens, 0);
    assert_true(client_complete(&again, &complete, NULL).usage.cached_tokens > 0);
    client_close(&first);
    client_close(&again);
    client_close(&other);
    client_close(&elsewhere);
    engine_end(&engine);
}

static void take_text(struct client *client, uint64_t request, struct buffer *text, struct wire_done *done)
{
    assert_int_equal(wire_get_done(client_expect(client, WIRE_DONE, request), done), DSR1_OK);
    buffer_append(text, done->piece.text.data, done->piece.text.size);
}

static void what_is_asked_twice_is_computed_once_within_a_role(void **state)
{
    (void) state;
    static const char *const one[] = {"--context", "60000", "--kv-size", "64", "--max-batch", "1", NULL};
    struct engine_process engine;
    engine_start(&engine, one);
    struct client busy = client_open(&engine);
    struct client first = client_open_as(&engine, 1, 10), again = client_open_as(&engine, 1, 10);
    struct client other = client_open_as(&engine, 1, 11);
    struct wire_complete brief = raw_request("abc", 5), streamed = brief;
    struct buffer texts[4] = {{0}};
    struct wire_done done;
    streamed.stream = true;
    start_endless(&busy, 1);
    submit(&first, 2, &brief);
    client_stats(&first);
    submit(&again, 3, &brief);
    submit(&again, 4, &streamed);
    client_stats(&again);
    submit(&other, 5, &brief);
    client_stats(&other);
    cancel(&busy, 1);
    take_text(&first, 2, &texts[0], &done);
    assert_int_equal(done.usage.cached_tokens, 0);
    take_text(&again, 3, &texts[1], &done);
    assert_int_equal(done.usage.cached_tokens, done.usage.prompt_tokens);
    assert_int_equal(next_done(&again).finish, DSR1_FINISH_LENGTH);
    take_text(&other, 5, &texts[2], &done);
    assert_int_equal(texts[0].size, texts[1].size);
    assert_memory_equal(texts[0].data, texts[1].data, texts[0].size);
    assert_memory_equal(texts[0].data, texts[2].data, texts[0].size);
    /* The endless one, the first, the streamed one and the other role's. */
    assert_int_equal(client_stats(&first).engine.n_requests, 4);
    for (int i = 0; i < 3; i++)
        buffer_free(&texts[i]);
    client_close(&busy);
    client_close(&first);
    client_close(&again);
    client_close(&other);
    engine_end(&engine);
}

static void who_leaves_takes_nothing_from_those_who_asked_the_same(void **state)
{
    (void) state;
    static const char *const one[] = {"--context", "60000", "--kv-size", "64", "--max-batch", "1", NULL};
    struct engine_process engine;
    engine_start(&engine, one);
    struct client busy = client_open(&engine), a = client_open(&engine), b = client_open(&engine);
    struct client c = client_open(&engine), d = client_open(&engine);
    struct wire_complete brief = raw_request("abc", 5), wordy = raw_request(endless, -1);
    start_endless(&busy, 1);
    submit(&a, 2, &brief);
    client_stats(&a);
    submit(&b, 3, &brief);
    client_stats(&b);
    submit(&c, 4, &brief);
    client_stats(&c);
    submit(&d, 5, &brief);
    client_stats(&d);
    /* The first cancels, the second hangs up, the third cancels; the last still gets it. */
    cancel(&a, 2);
    assert_int_equal(next_done(&a).finish, DSR1_FINISH_CANCELLED);
    client_close(&b);
    cancel(&c, 4);
    assert_int_equal(next_done(&c).finish, DSR1_FINISH_CANCELLED);
    cancel(&busy, 1);
    next_done(&busy);
    assert_int_equal(next_done(&d).finish, DSR1_FINISH_LENGTH);
    /* When nobody is left it ends, and who comes then starts anew. */
    submit(&a, 6, &wordy);
    client_stats(&a);
    submit(&c, 7, &wordy);
    client_stats(&c);
    client_close(&a);
    cancel(&c, 7);
    assert_int_equal(next_done(&c).finish, DSR1_FINISH_CANCELLED);
    /* Figures are those of the last step. */
    double until = clock_seconds() + 5;
    struct wire_stats stats;
    while ((stats = client_stats(&d)).engine.n_running > 0 || stats.engine.n_requests < 3)
        assert_true(clock_seconds() < until);
    assert_int_equal(stats.engine.n_requests, 3);
    client_close(&busy);
    client_close(&c);
    client_close(&d);
    engine_end(&engine);
}

/* ------------------------------------------------------------------ */
/* What is wrong                                                       */
/* ------------------------------------------------------------------ */

#define RAW(TEXT, SIZE) {.n_turns = 1, .turns = {{.content = {TEXT, SIZE}}}}
#define CHAT(TEXT, SIZE) {.kind = WIRE_PROMPT_CHAT, .n_turns = 1, .turns = {{{"user", 4}, {TEXT, SIZE}}}}

static void a_request_that_cannot_run_gets_its_own_error(void **state)
{
    (void) state;
    static char long_text[100000];
    memset(long_text, 'x', sizeof long_text - 1);
    const struct wire_complete cases[] = {
        {.max_tokens = 5, .prompt = RAW(long_text, 3000)},            /* more tokens than the context */
        {.max_tokens = 5, .prompt = RAW(long_text, 99999)},           /* refused before it is tokenised */
        {.max_tokens = 5, .prompt = RAW("a", 1), .temperature = -1},
        {.max_tokens = 5, .prompt = RAW("a", 1), .top_p = 2},
        {.max_tokens = 5, .prompt = RAW("a", 1), .n_stop = 1, .stop = {{"", 0}}},
        {.max_tokens = 5, .prompt = CHAT("a\0b", 3)},
        {.max_tokens = 5, .prompt = CHAT("a", 1)},                    /* this model has no chat template */
    };
    const dsr1_status wanted[] = {DSR1_ERR_LIMIT,    DSR1_ERR_LIMIT,    DSR1_ERR_ARGUMENT,   DSR1_ERR_ARGUMENT,
                                  DSR1_ERR_ARGUMENT, DSR1_ERR_ARGUMENT, DSR1_ERR_UNSUPPORTED};
    static const char *const more[] = {"--context", "128", NULL};
    struct engine_process engine;
    engine_start(&engine, more);
    struct client client = client_open(&engine);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        submit(&client, i, &cases[i]);
        assert_int_equal(client_expect_error(&client, i), wanted[i]);
    }
    struct wire_complete good = raw_request("a", 1);
    client_complete(&client, &good, NULL);
    client_close(&client);
    engine_end(&engine);
}

/* The answer's text with that adapter, to be freed; NULL when it is refused, with the reason in *status. */
static char *text_with(struct client *client, const char *adapter, dsr1_status *status)
{
    static uint64_t request = 100;
    struct wire_complete complete = raw_request("hello world", 12);
    struct wire_done done;
    struct wire_error error;
    complete.terms.adapter = wire_text(adapter);
    submit(client, ++request, &complete);
    const struct wire_frame *frame = client_next(client);
    assert_non_null(frame);
    *status = DSR1_OK;
    if (frame->type == WIRE_ERROR) {
        assert_int_equal(wire_get_error(frame, &error), DSR1_OK);
        *status = error.status;
        return NULL;
    }
    assert_int_equal(wire_get_done(frame, &done), DSR1_OK);
    return strndup(done.piece.text.size ? done.piece.text.data : "", done.piece.text.size);
}

static void copy_adapter(const char *folder, const char *from)
{
    char command[300];
    snprintf(command, sizeof command, "cp tests/golden/adapters/%s.gguf %s/new && mv %s/new %s/mine.gguf", from, folder,
             folder, folder);
    assert_int_equal(system(command), 0);
}

/* Is that adapter one for the model? If so, *info is what the engine says of it. */
static dsr1_status ask_adapter(struct client *client, const char *name, struct wire_adapter *info)
{
    static uint64_t request = 1000;
    struct wire_error error;
    assert_true(wire_put_adapter(&client->out, ++request, wire_text(name)));
    client_send(client);
    const struct wire_frame *frame = client_next(client);
    assert_non_null(frame);
    assert_int_equal(frame->request, request);
    if (frame->type == WIRE_ERROR) {
        assert_int_equal(wire_get_error(frame, &error), DSR1_OK);
        return error.status;
    }
    assert_int_equal(wire_get_adapter_result(frame, info), DSR1_OK);
    return DSR1_OK;
}

static void an_adapter_is_judged_before_it_is_used(void **state)
{
    (void) state;
    struct engine_process engine;
    struct wire_adapter info;
    char folder[] = "/tmp/dsr1-adapters-XXXXXX", command[100];
    assert_non_null(mkdtemp(folder));
    copy_adapter(folder, "deepseek-f32");
    engine_start(&engine, (const char *const[]){"--adapters", folder, NULL});
    struct client client = client_open(&engine);
    assert_int_equal(ask_adapter(&client, "mine", &info), DSR1_OK);
    assert_int_equal(info.architecture.size, strlen("deepseek"));
    assert_memory_equal(info.architecture.data, "deepseek", info.architecture.size);
    assert_true(info.rank > 0 && info.n_matrices > 0 && info.n_parameters > 0 && info.alpha > 0);
    assert_int_equal(ask_adapter(&client, "nobody", &info), DSR1_ERR_ARGUMENT);
    assert_int_equal(ask_adapter(&client, "", &info), DSR1_ERR_FORMAT);
    copy_adapter(folder, "llama3-f32");
    assert_int_equal(ask_adapter(&client, "mine", &info), DSR1_ERR_FORMAT);
    client_close(&client);
    engine_end(&engine);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void adapters_are_found_by_name_and_read_again_when_they_change(void **state)
{
    (void) state;
    static const char *const refused[] = {"nobody", "../models/deepseek-f32", ".hidden", "a/b", "new"};
    struct engine_process engine;
    dsr1_status status;
    char folder[] = "/tmp/dsr1-adapters-XXXXXX", command[100];
    assert_non_null(mkdtemp(folder));
    copy_adapter(folder, "deepseek-f32");
    engine_start(&engine, (const char *const[]){"--adapters", folder, NULL});
    struct client client = client_open(&engine);
    char *plain = text_with(&client, "", &status), *mine = text_with(&client, "mine", &status);
    char *again = text_with(&client, "mine", &status), *after = text_with(&client, "", &status);
    assert_string_not_equal(plain, mine);
    assert_string_equal(mine, again);
    assert_string_equal(plain, after);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_null(text_with(&client, refused[i], &status));
        assert_int_equal(status, DSR1_ERR_ARGUMENT);
    }
    /* Another file of that name, for another model. */
    copy_adapter(folder, "llama3-f32");
    assert_null(text_with(&client, "mine", &status));
    assert_int_equal(status, DSR1_ERR_FORMAT);
    client_close(&client);
    engine_end(&engine);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    free(plain);
    free(mine);
    free(again);
    free(after);
}

static void a_full_queue_is_busy(void **state)
{
    (void) state;
    static const char *const more[] = {"--context", "60000", "--kv-size", "64", "--max-batch", "1", "--max-queue", "2",
                                       NULL};
    struct engine_process engine;
    engine_start(&engine, more);
    struct client client = client_open(&engine);
    struct wire_complete brief = raw_request("abc", 5);
    start_endless(&client, 1);
    struct client other = client_open(&engine);
    submit(&other, 2, &brief);
    brief.max_tokens = 4;
    submit(&other, 3, &brief);
    brief.max_tokens = 3;
    submit(&other, 4, &brief);
    assert_int_equal(client_expect_error(&other, 4), DSR1_ERR_BUSY);
    assert_int_equal(client_stats(&other).engine.n_queued, 2);
    cancel(&client, 1);
    assert_int_equal(next_done(&client).finish, DSR1_FINISH_CANCELLED);
    client_expect(&other, WIRE_DONE, 2);
    client_expect(&other, WIRE_DONE, 3);
    client_close(&client);
    client_close(&other);
    engine_end(&engine);
}

static void tokens_are_counted_as_the_model_cuts_them(void **state)
{
    (void) state;
    struct engine_process engine;
    dsr1_model *model;
    uint64_t n;
    struct wire_ids ids;
    const char *const text = "Some text, \xc3\xa4 and <|x|>";
    assert_int_equal(dsr1_model_open(TEST_MODEL, &model, NULL), DSR1_OK);
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    wire_put_tokens(&client.out, 5, &(struct wire_tokens){.text = wire_text(text)});
    client_send(&client);
    assert_int_equal(wire_get_tokens_result(client_expect(&client, WIRE_TOKENS_RESULT, 5), &n, &ids), DSR1_OK);
    assert_int_equal(n, dsr1_tokenize(model, text, strlen(text), 0, NULL, 0));
    dsr1_model_close(model);
    client_close(&client);
    engine_end(&engine);
}

static void put_frame(struct buffer *out, unsigned type, uint64_t request, const char *payload, size_t size)
{
    size_t begin = wire_frame_begin(out, type, request);
    buffer_append(out, payload, size);
    assert_true(wire_frame_end(out, begin));
}

/* Sends these bytes and reads until the engine hangs up: the last frame is an error of the connection. */
static dsr1_status turned_away(struct client *client, const void *bytes, size_t size)
{
    dsr1_status status = DSR1_OK;
    const struct wire_frame *frame;
    client_send_bytes(client, bytes, size);
    while ((frame = client_next(client)))
        if (frame->type == WIRE_ERROR) {
            struct wire_error error;
            assert_int_equal(frame->request, 0);
            assert_int_equal(wire_get_error(frame, &error), DSR1_OK);
            status = error.status;
        }
    client_close(client);
    return status;
}

static void garbage_closes_its_connection_and_no_other(void **state)
{
    (void) state;
    static char noise[70000];
    static const char huge[16] = {(char) 255, (char) 255, (char) 255, (char) 255, WIRE_COMPLETE};
    static const char reserved[16] = {0, 0, 0, 0, WIRE_PING, 0, 1};
    struct engine_process engine;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char) (i * 37 + 11);
    engine_start(&engine, long_context);
    struct client good = client_open(&engine);
    start_endless(&good, 1);
    const struct {
        const char *bytes;
        size_t size;
    } cases[] = {{noise, sizeof noise}, {huge, sizeof huge}, {reserved, sizeof reserved}};
    for (size_t i = 0; i < 3; i++) {
        struct client greeted = client_open(&engine), stranger = client_connect_raw(&engine);
        assert_int_equal(turned_away(&greeted, cases[i].bytes, cases[i].size), DSR1_ERR_FORMAT);
        assert_int_equal(turned_away(&stranger, cases[i].bytes, cases[i].size), DSR1_ERR_FORMAT);
    }
    client_expect(&good, WIRE_TEXT, 1);
    client_close(&good);
    engine_end(&engine);
}

static void a_broken_or_unknown_request_is_declined_alone(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    put_frame(&client.out, WIRE_COMPLETE, 1, "\1\1\0", 3);
    put_frame(&client.out, WIRE_TOKENS, 2, "\377\377\377\377", 4);
    put_frame(&client.out, 999, 3, "new", 3);
    put_frame(&client.out, WIRE_DONE, 4, "", 0);
    client_send(&client);
    assert_int_equal(client_expect_error(&client, 1), DSR1_ERR_FORMAT);
    assert_int_equal(client_expect_error(&client, 2), DSR1_ERR_FORMAT);
    assert_int_equal(client_expect_error(&client, 3), DSR1_ERR_UNSUPPORTED);
    assert_int_equal(client_expect_error(&client, 4), DSR1_ERR_UNSUPPORTED);
    client_stats(&client);
    client_close(&client);
    engine_end(&engine);
}

static void another_protocol_is_answered_with_ours_and_turned_away(void **state)
{
    (void) state;
    struct engine_process engine;
    struct wire_hello ours = client_hello(), theirs;
    engine_start(&engine, NULL);
    struct client client = client_connect_raw(&engine);
    ours.protocol = 99;
    wire_put_hello(&client.out, &ours);
    client_send(&client);
    assert_int_equal(wire_get_hello(client_expect(&client, WIRE_HELLO, 0), &theirs), DSR1_OK);
    assert_int_equal(client_expect_error(&client, 0), DSR1_ERR_UNSUPPORTED);
    assert_null(client_next(&client));
    client_close(&client);
    engine_end(&engine);
}

static void requests_come_behind_the_greeting_and_only_one_greeting(void **state)
{
    (void) state;
    struct engine_process engine;
    struct wire_hello ours = client_hello();
    struct buffer ping = {0}, hello = {0};
    engine_start(&engine, NULL);
    wire_put_bare(&ping, WIRE_PING, 1);
    wire_put_hello(&hello, &ours);
    struct client early = client_connect_raw(&engine), twice = client_open(&engine);
    assert_int_equal(turned_away(&early, ping.data, ping.size), DSR1_ERR_FORMAT);
    assert_int_equal(turned_away(&twice, hello.data, hello.size), DSR1_ERR_FORMAT);
    /* Byte by byte, and with a request right behind. */
    struct client slow = client_connect_raw(&engine);
    buffer_append(&hello, ping.data, ping.size);
    for (size_t i = 0; i < hello.size; i++)
        client_send_bytes(&slow, hello.data + i, 1);
    client_expect(&slow, WIRE_HELLO, 0);
    client_expect(&slow, WIRE_PONG, 1);
    client_close(&slow);
    buffer_free(&ping);
    buffer_free(&hello);
    engine_end(&engine);
}

/* ------------------------------------------------------------------ */
/* The process                                                         */
/* ------------------------------------------------------------------ */

static void sigterm_says_goodbye(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, long_context);
    struct client client = client_open(&engine);
    start_endless(&client, 1);
    kill(engine.pid, SIGTERM);
    const struct wire_frame *frame;
    while ((frame = client_next(&client)) && frame->type == WIRE_TEXT)
        ;
    assert_non_null(frame);
    assert_int_equal(frame->type, WIRE_GOODBYE);
    assert_null(client_next(&client));
    assert_int_equal(engine_wait(&engine), 0);
    client_close(&client);
    engine_clean(&engine);
}

/* No goodbye is due to a step: it is given up with the process. */
static void sigterm_does_not_wait_for_a_long_step(void **state)
{
    (void) state;
    static const char *const more[] = {"--context", "40000", "--chunk", "8192", "--threads", "1", NULL};
    static char prompt[30000];
    struct engine_process engine;
    memset(prompt, 'x', sizeof prompt - 1);
    engine_start(&engine, more);
    struct client client = client_open(&engine);
    struct wire_complete complete = raw_request(prompt, 1);
    submit(&client, 1, &complete);
    client_stats(&client);
    kill(engine.pid, SIGTERM);
    double began = clock_seconds();
    client_expect(&client, WIRE_GOODBYE, 0);
    assert_int_equal(engine_wait(&engine), 0);
    assert_true(clock_seconds() - began < 3);
    client_close(&client);
    engine_clean(&engine);
}

static void signals_for_backends_do_not_end_an_engine_with_a_parent(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, NULL);
    struct client client = client_open(&engine);
    kill(engine.pid, SIGINT);
    kill(engine.pid, SIGHUP);
    kill(engine.pid, SIGPIPE);
    client_stats(&client);
    kill(engine.pid, SIGQUIT);
    assert_int_equal(engine_wait(&engine), 2);
    client_close(&client);
    engine_clean(&engine);
}

static void the_end_of_the_parents_socket_ends_it(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, long_context);
    struct client client = client_open(&engine);
    start_endless(&client, 1);
    assert_int_equal(write(engine.parent_fd, "ignored", 7), 7);
    client_expect(&client, WIRE_TEXT, 1);
    shutdown(engine.parent_fd, SHUT_RDWR);
    assert_int_equal(engine_wait(&engine), 0);
    client_close(&client);
    engine_clean(&engine);
}

/* The engine becomes this process's child when the one between is killed. */
static void a_killed_parent_takes_it_along(void **state)
{
    (void) state;
    struct engine_process engine;
    int report[2];
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe(report), 0);
    engine_place(&engine);
    pid_t between = fork();
    if (between == 0) {
        const char *args[] = {"--model", TEST_MODEL, "--socket", engine.socket, NULL};
        engine_spawn(&engine, args);
        engine_line_with(&engine, "ready");
        if (write(report[1], &engine.pid, sizeof engine.pid) < 0)
            _exit(1);
        pause();
        _exit(1);
    }
    assert_int_equal(read(report[0], &engine.pid, sizeof engine.pid), sizeof engine.pid);
    assert_int_equal(kill(engine.pid, 0), 0);
    assert_int_equal(kill(between, SIGKILL), 0);
    assert_int_equal(waitpid(between, NULL, 0), between);
    int status = engine_wait(&engine);
    assert_true(status == -SIGKILL || status == 0);
    close(report[0]);
    close(report[1]);
    engine.parent_fd = -1;
    engine_clean(&engine);
}

static void heartbeats_come_and_the_kernel_would_kill_it_first(void **state)
{
    (void) state;
    struct engine_process engine;
    char path[64], score[16] = "";
    engine_start(&engine, NULL);
    double began = clock_seconds();
    engine_line_with(&engine, "beat");
    engine_line_with(&engine, "beat");
    assert_true(clock_seconds() - began < 5);
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int) engine.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(score, sizeof score, file));
    fclose(file);
    assert_int_equal(atoi(score), 900);
    engine_end(&engine);
}

static void its_socket_is_the_owners_alone(void **state)
{
    (void) state;
    struct engine_process engine;
    struct stat st;
    engine_start(&engine, NULL);
    assert_int_equal(stat(engine.socket, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    engine_end(&engine);
}

static void what_a_crash_left_at_the_address_is_replaced(void **state)
{
    (void) state;
    struct engine_process engine;
    engine_start(&engine, NULL);
    kill(engine.pid, SIGKILL);
    assert_int_equal(engine_wait(&engine), -SIGKILL);
    assert_int_equal(access(engine.socket, F_OK), 0);
    close(engine.parent_fd);
    const char *args[] = {"--model", TEST_MODEL, "--socket", engine.socket, NULL};
    engine_spawn(&engine, args);
    engine_line_with(&engine, "ready");
    struct client client = client_open(&engine);
    client_close(&client);
    engine_end(&engine);
}

/* Starts it, which must fail; the status that its parent was told. */
static int failing_start(struct engine_process *engine, const char *model, const char *socket)
{
    int status = 0, read_to = 0;
    const char *args[] = {"--model", model, "--socket", socket, NULL};
    engine_spawn(engine, args);
    const char *line = engine_line_with(engine, "failed ");
    assert_int_equal(sscanf(line, "failed %d %n", &status, &read_to), 1);
    assert_true(strlen(line + read_to) > 5);
    assert_null(engine_line(engine));
    assert_int_equal(engine_wait(engine), 1);
    close(engine->parent_fd);
    return status;
}

static void a_start_that_fails_tells_its_parent_why(void **state)
{
    (void) state;
    struct engine_process engine;
    char broken[100], far[300];
    engine_place(&engine);
    snprintf(broken, sizeof broken, "%s/broken.gguf", engine.folder);
    memset(far, 'x', sizeof far - 1);
    far[sizeof far - 1] = 0;
    FILE *file = fopen(broken, "w");
    fputs("GGUF\3\0\0\0 and then nonsense that is no model at all", file);
    fclose(file);
    assert_int_equal(failing_start(&engine, "/nowhere/model.gguf", engine.socket), DSR1_ERR_IO);
    assert_int_equal(failing_start(&engine, broken, engine.socket), DSR1_ERR_FORMAT);
    assert_int_equal(failing_start(&engine, TEST_MODEL, far), DSR1_ERR_ARGUMENT);
    assert_int_equal(failing_start(&engine, TEST_MODEL, broken), DSR1_ERR_IO);
    assert_int_equal(access(broken, F_OK), 0);
    unlink(broken);
    assert_int_equal(rmdir(engine.folder), 0);
}

static void a_second_engine_leaves_the_first_its_address(void **state)
{
    (void) state;
    struct engine_process first, second;
    engine_start(&first, NULL);
    assert_int_equal(failing_start(&second, TEST_MODEL, first.socket), DSR1_ERR_BUSY);
    struct client client = client_open(&first);
    client_close(&client);
    engine_end(&first);
}

/* Its exit status, with all output thrown away. */
static int run_alone(const char *const *args)
{
    struct engine_process engine = {.pid = fork()};
    if (engine.pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(126);
        engine_exec(args, -1);
    }
    return engine_wait(&engine);
}

static void the_command_line_is_checked(void **state)
{
    (void) state;
    static const struct {
        int status;
        const char *args[8];
    } cases[] = {{0, {"--help"}},
                 {0, {"--version"}},
                 {2, {NULL}},
                 {2, {"--model", "x"}},
                 {2, {"--socket", "x"}},
                 {2, {"--model", "x", "--socket", "y", "--threads", "many"}},
                 {2, {"--model", "x", "--socket", "y", "--threads", "-1"}},
                 {2, {"--model", "x", "--socket", "y", "--context", "99999999999"}},
                 {2, {"--model", "x", "--socket", "y", "extra"}},
                 {2, {"--model", "x", "--socket"}},
                 {2, {"--nonsense"}},
                 {1, {"--model", "/nowhere/model.gguf", "--socket", "/nowhere/s"}},
                 {1, {"--model", "x", "--socket", "y", "--parent-fd", "77"}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(run_alone(cases[i].args), cases[i].status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_clients_are_served_without_one_waiting_for_the_other),
        cmocka_unit_test(one_connection_carries_many_requests_at_once),
        cmocka_unit_test(a_closed_socket_cancels_what_it_asked_for),
        cmocka_unit_test(two_hundred_requests_on_eight_connections_read_as_each_alone),
        cmocka_unit_test(a_slow_reader_blocks_nobody_and_loses_nothing),
        cmocka_unit_test(pings_are_answered_amidst_long_steps),
        cmocka_unit_test(prefixes_are_shared_within_a_role_only),
        cmocka_unit_test(what_is_asked_twice_is_computed_once_within_a_role),
        cmocka_unit_test(who_leaves_takes_nothing_from_those_who_asked_the_same),
        cmocka_unit_test(a_request_that_cannot_run_gets_its_own_error),
        cmocka_unit_test(adapters_are_found_by_name_and_read_again_when_they_change),
        cmocka_unit_test(an_adapter_is_judged_before_it_is_used),
        cmocka_unit_test(a_full_queue_is_busy),
        cmocka_unit_test(tokens_are_counted_as_the_model_cuts_them),
        cmocka_unit_test(garbage_closes_its_connection_and_no_other),
        cmocka_unit_test(a_broken_or_unknown_request_is_declined_alone),
        cmocka_unit_test(another_protocol_is_answered_with_ours_and_turned_away),
        cmocka_unit_test(requests_come_behind_the_greeting_and_only_one_greeting),
        cmocka_unit_test(sigterm_says_goodbye),
        cmocka_unit_test(sigterm_does_not_wait_for_a_long_step),
        cmocka_unit_test(signals_for_backends_do_not_end_an_engine_with_a_parent),
        cmocka_unit_test(the_end_of_the_parents_socket_ends_it),
        cmocka_unit_test(a_killed_parent_takes_it_along),
        cmocka_unit_test(heartbeats_come_and_the_kernel_would_kill_it_first),
        cmocka_unit_test(its_socket_is_the_owners_alone),
        cmocka_unit_test(what_a_crash_left_at_the_address_is_replaced),
        cmocka_unit_test(a_start_that_fails_tells_its_parent_why),
        cmocka_unit_test(a_second_engine_leaves_the_first_its_address),
        cmocka_unit_test(the_command_line_is_checked),
    };
    return cmocka_run_group_tests(tests, find_an_endless_prompt, NULL);
}
