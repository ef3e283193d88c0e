/*
 * test_engine_storm.c - a dsr1-engine process among clients that come, ask, give up and go as they like
 *
 * Ten thousand submits, cancels and disconnects in random order. Afterwards
 * nothing is left over: no request runs or waits, every page of the cache can be
 * had again, and the engine answers as at the beginning.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "engine_process.h"

#include <stdio.h>

enum { ACTIONS = 10000, CLIENTS = 12 };

static unsigned seed = 1;

static int at_random(int n)
{
    return rand_r(&seed) % n;
}

/* Half of the answers must be something; some of these constraints cannot be read. */
static void constrain(struct wire_complete *complete)
{
    static const char *const regex[] = {"(yes|no)", "[a-z]{3,20}(, [a-z]+)*", "[0-9]+", "(never closed"};
    complete->temperature = (float) at_random(2);
    complete->want_logprobs = at_random(4) == 0;
    switch (at_random(6)) {
    case 0:
        complete->constraint = DSR1_CONSTRAINT_CHOICES;
        complete->n_constraint = 2;
        complete->constraint_texts[0] = wire_text("a bird");
        complete->constraint_texts[1] = wire_text("a plane, perhaps");
        break;
    case 1:
        complete->constraint = DSR1_CONSTRAINT_REGEX;
        complete->n_constraint = 1;
        complete->constraint_texts[0] = wire_text(regex[at_random(4)]);
        break;
    case 2: complete->constraint = DSR1_CONSTRAINT_JSON; break;
    }
}

static void put_random_request(struct client *client, uint64_t id)
{
    static const char *const texts[] = {"abc", "The quick brown fox", "hello world, hello again and again and again",
                                        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28"};
    static struct wire_score score;
    const char *text = texts[at_random(4)];
    if (at_random(4) == 0) {
        score = (struct wire_score){.n_continuations = 2, .continuations = {{" yes", 4}, {" not at all", 11}},
                                    .prompt = {.n_turns = 1, .turns = {{.content = wire_text(text)}}}};
        wire_put_score(&client->out, id, &score);
    } else if (at_random(6) == 0) {
        struct wire_embed embed = {.text = wire_text(text)};
        wire_put_embed(&client->out, id, &embed);
    } else {
        struct wire_complete complete = raw_request(text, 1 + at_random(60));
        complete.stream = at_random(2);
        complete.terms.priority = at_random(3) - 1;
        complete.terms.timeout_ms = at_random(10) ? 0 : 1 + at_random(20);
        complete.heal = at_random(4) == 0;
        constrain(&complete);
        wire_put_complete(&client->out, id, &complete);
    }
}

/* Takes what is there, without waiting. */
static void drain(struct client *client)
{
    char bytes[65536];
    while (recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

static void one_action(struct engine_process *engine, struct client *clients, uint64_t *id)
{
    struct client *client = &clients[at_random(CLIENTS)];
    int action = at_random(100);
    if (action < 60) {
        put_random_request(client, ++*id);
    } else if (action < 97) {
        wire_put_bare(&client->out, WIRE_CANCEL, *id - (uint64_t) at_random(20));
    } else {
        client_close(client);
        *client = client_open_as(engine, (uint32_t) at_random(2), (uint32_t) at_random(2));
        return;
    }
    client_send(client);
    drain(client);
}

static void wait_until_idle(struct client *client)
{
    struct wire_stats stats;
    do {
        stats = client_stats(client);
    } while (stats.engine.n_running + stats.engine.n_queued > 0);
    printf("# %llu requests, %llu cancelled, %llu failed\n", (unsigned long long) stats.engine.n_requests,
           (unsigned long long) stats.engine.n_cancelled, (unsigned long long) stats.engine.n_failed);
    assert_true(stats.engine.n_finished == stats.engine.n_requests);
    assert_true(stats.engine.n_cancelled > 0);
}

static void a_storm_leaves_nothing_behind(void **state)
{
    (void) state;
    struct engine_process engine;
    struct client clients[CLIENTS];
    static const char *const more[] = {"--context", "512", "--kv-size", "1", "--max-batch", "6", "--max-queue", "100000",
                                       NULL};
    struct wire_complete probe = raw_request("The quick", 400);
    struct buffer before = {0}, after = {0};
    uint64_t id = 100;
    engine_start(&engine, more);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_open_as(&engine, (uint32_t) at_random(2), (uint32_t) at_random(2));
    client_complete(&clients[0], &probe, &before);
    for (int i = 0; i < ACTIONS; i++) {
        one_action(&engine, clients, &id);
        /* Now and then the engine gets somewhere. */
        if (i % 8 == 0)
            usleep(1000);
    }
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    struct client last = client_open(&engine);
    wait_until_idle(&last);
    /* It needs nearly all pages there are, which a leaked one would refuse. */
    client_complete(&last, &probe, &after);
    assert_int_equal(after.size, before.size);
    assert_memory_equal(after.data, before.data, after.size);
    buffer_free(&before);
    buffer_free(&after);
    client_close(&last);
    engine_end(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_storm_leaves_nothing_behind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
