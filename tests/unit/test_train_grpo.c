/*
 * test_train_grpo.c - claims about learning from rewards: sampling, judging, and whole runs
 *
 * On the tiny golden models, whose first 256 tokens are bytes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_folder.h"

#include "base/rng.h"
#include "train/grpo.h"
#include "train/serving.h"
#include "wire/wire_grpo.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

#define MOE GOLDEN_FOLDER "deepseek-f32.gguf"

static const char *write_file(const char *name, const char *text)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void same_file(const char *a, const char *b)
{
    char command[700];
    snprintf(command, sizeof command, "cmp %s %s", a, b);
    assert_int_equal(system(command), 0);
}

/* ------------------------------------------------------------------ */
/* The engine that samples and the network that learns                 */
/* ------------------------------------------------------------------ */

/* An adapter that changes something: B is not zero. */
static void stir(struct trainable *t)
{
    for (size_t i = 0; i < t->n; i++)
        t->value[i] += (real) (0.05 * (2 * rng_uniform(77, i) - 1));
}

static void compare_experts(struct net *net, const struct rollout *a)
{
    struct pass pass;
    int start[] = {0, a->n_tokens - 1}, n_used;
    struct batch batch = {.n_seqs = 1, .start = start, .tokens = a->tokens};
    assert_int_equal(pass_open(net, true, &pass, NULL), DSR1_OK);
    assert_int_equal(pass_begin(&pass, &batch, NULL), DSR1_OK);
    pass_forward(&pass);
    for (int l = 0; l < net->shape.n_layers; l++) {
        const int *chosen = pass_chosen(&pass, l, &n_used);
        size_t n = (size_t) (a->n_tokens - 1) * (size_t) net->shape.n_used;
        if (chosen)
            assert_memory_equal(chosen, a->chosen + (size_t) l * n, n * sizeof *chosen);
    }
    pass_close(&pass);
}

static void sampler_and_trainer_agree_on(const char *path)
{
    enum { GROUP = 4, TOKENS = 24, PROMPTS = 2 };
    dsr1_model *model;
    struct net net;
    struct trainable t;
    struct trainer trainer;
    struct thread_pool *pool;
    struct rollouts rollouts;
    struct lora *lora;
    struct rollout out[PROMPTS * GROUP];
    int32_t prompt[70];
    dsr1_error err = {0};
    struct trainable_options kinds = {.rank = 3, .alpha = 6, .lora = TRAINABLE_ATTENTION | TRAINABLE_SHARED |
                                      TRAINABLE_EXPERTS | TRAINABLE_FFN, .whole = TRAINABLE_ROUTER, .seed = 3};
    for (int i = 0; i < 70; i++)
        prompt[i] = 40 + i % 60;
    must(dsr1_model_open(path, &model, &err), &err);
    must(net_open(path, 128, &net, &err), &err);
    if (net.shape.n_experts == 0)
        kinds.whole = 0;
    must(trainable_open(&net, &kinds, &t, &err), &err);
    stir(&t);
    must(thread_pool_open(2, &pool, &err), &err);
    must(trainer_open(&net, &t, NULL, pool, &trainer, &err), &err);
    must(rollouts_open(model, PROMPTS * GROUP, 128, 0, 2, &rollouts, &err), &err);
    must(serving_adapter(&t, &model->model, &lora, &err), &err);
    struct rollout_prompt prompts[PROMPTS] = {{prompt, 70}, {prompt + 3, 12}};
    struct rollout_options o = {.group = GROUP, .max_tokens = TOKENS, .temperature = 1, .seed = 5};
    must(rollouts_run(&rollouts, lora, prompts, PROMPTS, &o, out, &err), &err);
    for (int i = 0; i < PROMPTS * GROUP; i++) {
        struct policy_answer answer = {.tokens = out[i].tokens, .n_prompt = out[i].n_prompt, .n_tokens = out[i].n_tokens,
                                       .chosen = out[i].chosen};
        real logp[TOKENS];
        must(policy_step_logp(&trainer, &answer, 1, 0, logp, &err), &err);
        for (int k = 0; k < out[i].n_tokens - out[i].n_prompt; k++)
            assert_true(fabs((double) logp[k] - (double) out[i].logp[k]) < 1e-4);
        if (net.shape.n_experts > 0)
            compare_experts(&net, &out[i]);
        rollout_free(&out[i]);
    }
    lora_close(lora);
    rollouts_close(&rollouts);
    trainer_close(&trainer);
    thread_pool_close(pool);
    trainable_close(&t);
    net_close(&net);
    dsr1_model_close(model);
}

static void sampler_and_trainer_agree_on_probabilities_and_experts(void **state)
{
    sampler_and_trainer_agree_on(MOE);
    sampler_and_trainer_agree_on(GOLDEN_FOLDER "dsv3-f32.gguf");
    sampler_and_trainer_agree_on(GOLDEN_FOLDER "dsv2-legacy-f32.gguf");
    sampler_and_trainer_agree_on(GOLDEN_FOLDER "llama3-f32.gguf");
}

/* ------------------------------------------------------------------ */
/* Runs                                                                */
/* ------------------------------------------------------------------ */

static const char prompts_text[] =
    "{\"prompt\": \"one\", \"meta\": {\"tokens\": 4}}\n{\"prompt\": \"two\", \"meta\": {\"tokens\": 6}}\n"
    "{\"prompt\": \"three\", \"meta\": {\"tokens\": 8}}\n\n{\"prompt\": \"four\", \"meta\": {\"tokens\": 5}}\n";

static struct grpo_options small_run(const char *output)
{
    struct grpo_options o = {.model = MOE, .output = output, .reward = "length", .raw = true,
                             .trainable = {.rank = 4, .alpha = 8, .lora = TRAINABLE_ATTENTION | TRAINABLE_EXPERTS,
                                           .whole = TRAINABLE_ROUTER},
                             .optimizer = optimizer_defaults(), .policy = {.clip_low = 0.2, .clip_high = 0.28},
                             .scale = POLICY_SCALE_GROUP, .overlong = GRPO_OVERLONG_KEEP, .steps = 6, .n_prompts = 2,
                             .group = 4, .refill = 1, .updates = 2, .max_tokens = 8, .threads = 1, .seed = 3};
    o.prompts = write_file("prompts.jsonl", prompts_text);
    o.optimizer.rate = 5e-3f;
    o.policy.beta = 0.01;
    return o;
}

static double first_byte(const struct reward_item *item)
{
    return item->size > 0 ? (unsigned char) item->answer[0] / 256.0 : 0;
}

static void run_until(struct grpo *g, int64_t step)
{
    struct grpo_report report;
    dsr1_error err = {0};
    g->reward.built_in = first_byte;
    while (grpo_steps_done(g) < step)
        must(grpo_step(g, &report, &err), &err);
}

static void run_whole(const struct grpo_options *o)
{
    struct grpo g;
    dsr1_error err = {0};
    must(grpo_open(o, &g, &err), &err);
    run_until(&g, o->steps);
    must(grpo_finish(&g, &err), &err);
    grpo_close(&g);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    struct grpo_options o = small_run(in_folder("one.gguf"));
    run_whole(&o);
    o.output = in_folder("three.gguf");
    o.threads = 3;
    run_whole(&o);
    same_file(in_folder("one.gguf"), in_folder("three.gguf"));
}

static void a_resumed_run_gives_the_same_bits(void **state)
{
    struct grpo_options o = small_run(in_folder("straight.gguf"));
    struct grpo g;
    dsr1_error err = {0};
    o.log = in_folder("straight.jsonl");
    run_whole(&o);
    o.output = in_folder("broken.gguf");
    o.log = in_folder("broken.jsonl");
    must(grpo_open(&o, &g, &err), &err);
    run_until(&g, 2);
    must(grpo_save(&g, &err), &err);
    run_until(&g, 4);   /* these are lost and done again */
    grpo_close(&g);
    o.resume = true;
    must(grpo_open(&o, &g, &err), &err);
    assert_int_equal(grpo_steps_done(&g), 2);
    run_until(&g, 6);
    must(grpo_finish(&g, &err), &err);
    grpo_close(&g);
    same_file(in_folder("straight.gguf"), in_folder("broken.gguf"));
    char command[900];
    snprintf(command, sizeof command, "sed 's/, \"seconds.*//' %s >%s && sed 's/, \"seconds.*//' %s | cmp - %s",
             in_folder("straight.jsonl"), in_folder("log"), in_folder("broken.jsonl"), in_folder("log"));
    assert_int_equal(system(command), 0);
    o.seed = 4;
    assert_int_equal(grpo_open(&o, &g, &err), DSR1_ERR_ARGUMENT);
}

/* One look after the other sees more. */
static double later_is_better(const struct reward_item *item)
{
    static int n;
    return 0.01 * n++;
}

static void a_run_is_over_when_it_sees_enough_reward(void **state)
{
    struct grpo_options o = small_run(in_folder("until.gguf"));
    struct grpo g;
    struct grpo_report r = {0};
    dsr1_error err = {0};
    double reward;
    o.eval_every = 2;
    o.has_until = true;
    assert_int_equal(grpo_open(&o, &g, NULL), DSR1_ERR_ARGUMENT);
    o.eval_prompts = o.prompts;
    o.until = 0.3;
    must(grpo_open(&o, &g, &err), &err);
    g.reward.built_in = later_is_better;
    must(grpo_begin(&g, &reward, &err), &err);
    while (!grpo_is_over(&g))
        must(grpo_step(&g, &r, &err), &err);
    assert_true(r.step == 4 && r.has_eval && r.eval_reward >= 0.3);
    must(grpo_save(&g, &err), &err);
    grpo_close(&g);
    /* A checkpoint of then is one of a run that is over. */
    o.resume = true;
    must(grpo_open(&o, &g, &err), &err);
    g.reward.built_in = later_is_better;
    must(grpo_begin(&g, &reward, &err), &err);
    assert_true(grpo_is_over(&g) && grpo_steps_done(&g) == 4);
    grpo_close(&g);
}

static double same_for_all(const struct reward_item *item)
{
    return 0.5;
}

static double only_of_some(const struct reward_item *item)
{
    return strcmp(item->prompt, "one") == 0 || strcmp(item->prompt, "two") == 0 ? 1 : first_byte(item);
}

static void rewards_without_spread_change_nothing(void **state)
{
    struct grpo_options o = small_run(in_folder("still.gguf"));
    struct grpo g;
    struct grpo_report r;
    dsr1_error err = {0};
    o.refill = 2;
    must(grpo_open(&o, &g, &err), &err);
    real *before = malloc(g.trainable.n * sizeof *before);
    memcpy(before, g.trainable.value, g.trainable.n * sizeof *before);
    g.reward.built_in = same_for_all;
    must(grpo_step(&g, &r, &err), &err);
    assert_int_equal(r.n_useful, 0);
    assert_int_equal(r.n_rounds, 3);
    assert_int_equal(r.n_groups, 6);
    assert_memory_equal(before, g.trainable.value, g.trainable.n * sizeof *before);
    assert_int_equal(grpo_steps_done(&g), 1);
    free(before);
    grpo_close(&g);
}

static void groups_without_spread_are_replaced(void **state)
{
    struct grpo_options o = small_run(in_folder("refilled.gguf"));
    struct grpo g;
    struct grpo_report r;
    dsr1_error err = {0};
    int replaced = 0;
    o.refill = 6;
    must(grpo_open(&o, &g, &err), &err);
    g.reward.built_in = only_of_some;
    for (int i = 0; i < 6; i++) {
        must(grpo_step(&g, &r, &err), &err);
        assert_int_equal(r.n_useful, 2);
        replaced += r.n_rounds > 1;
    }
    assert_true(replaced > 0);
    grpo_close(&g);
}

/* ------------------------------------------------------------------ */
/* A bandit: one token, whose value is known                           */
/* ------------------------------------------------------------------ */

/* An arm is a token; single odd bytes of ASCII pay. */
static double pays(const struct reward_item *item)
{
    unsigned char byte = (unsigned char) item->answer[0];
    return item->size == 1 && byte < 128 && byte % 2 == 1;
}

/* The policy's probability of all arms that pay. */
static double chance_of_best(struct grpo *g)
{
    const struct prompt *p = &g->prompts.items[0];
    double sum = 0;
    for (int32_t byte = 1; byte < 128; byte += 2) {
        int32_t tokens[64];
        real logp;
        memcpy(tokens, p->tokens, (size_t) p->n_tokens * sizeof *tokens);
        tokens[p->n_tokens] = byte;
        struct policy_answer answer = {.tokens = tokens, .n_prompt = p->n_tokens, .n_tokens = p->n_tokens + 1};
        assert_int_equal(policy_step_logp(&g->trainer, &answer, 1, 0, &logp, NULL), DSR1_OK);
        sum += exp((double) logp);
    }
    return sum;
}

static void a_bandit_learns_the_best_arm(void **state)
{
    struct grpo_options o = small_run(in_folder("bandit.gguf"));
    struct grpo g;
    struct grpo_report r;
    dsr1_error err = {0};
    o.prompts = write_file("bandit.jsonl", "{\"prompt\": \"which\"}\n");
    o.n_prompts = 1;
    o.group = 32;
    o.steps = 60;
    o.max_tokens = 1;
    o.updates = 1;
    o.policy.beta = 0;
    o.optimizer.rate = 2e-3f;
    o.overlong = GRPO_OVERLONG_KEEP;
    must(grpo_open(&o, &g, &err), &err);
    g.reward.built_in = pays;
    double start = chance_of_best(&g), best = start, now = start;
    for (int i = 0; i < o.steps && now < 0.95; i++) {
        must(grpo_step(&g, &r, &err), &err);
        now = chance_of_best(&g);
        assert_true(now > best - 0.02);
        best = now > best ? now : best;
    }
    assert_true(start < 0.5);
    assert_true(now > 0.95);
    grpo_close(&g);
}

static void each_option_of_sql_is_one_of_the_trainer(void **state)
{
    for (const struct wire_grpo_option *o = wire_grpo_options; o->name; o++) {
        char words[100], *rest = words;
        snprintf(words, sizeof words, "%s", o->words ? o->words : "");
        for (char *word; o->words && (word = strsep(&rest, "|"));) {
            unsigned lora;
            enum optimizer_schedule schedule;
            enum policy_mean mean;
            enum policy_scale scale;
            enum grpo_overlong overlong;
            assert_true((strcmp(o->name, "lora") == 0 && trainable_parse(word, &lora)) ||
                        (strcmp(o->name, "schedule") == 0 && optimizer_parse_schedule(word, &schedule)) ||
                        (strcmp(o->name, "loss") == 0 && policy_parse_mean(word, &mean)) ||
                        (strcmp(o->name, "scale") == 0 && policy_parse_scale(word, &scale)) ||
                        (strcmp(o->name, "overlong") == 0 && grpo_parse_overlong(word, &overlong)));
        }
        if (o->flag)
            assert_ptr_equal(wire_grpo_flag(o->flag), o);
    }
    assert_null(wire_grpo_flag("prompts"));
}

/* ------------------------------------------------------------------ */
/* Rewards                                                             */
/* ------------------------------------------------------------------ */

static double judge(const char *name, const char *meta, const char *answer)
{
    struct reward reward;
    struct reward_item item = {"?", meta, answer, strlen(answer), DSR1_FINISH_END, 4};
    double value;
    assert_int_equal(reward_open(name, &reward, NULL), DSR1_OK);
    assert_int_equal(reward_score(&reward, &item, 1, &value, NULL), DSR1_OK);
    reward_close(&reward);
    return value;
}

static void built_in_rewards_say_what_they_promise(void **state)
{
    struct reward none;
    const char *keys = "{\"keys\": [\"a\", \"b\"]}", *labels = "{\"answer\": \"yes\", \"labels\": [\"yes\", \"no\"]}";
    assert_true(judge("json", keys, "{\"a\": 1, \"b\": \"x\"}") == 1);
    assert_true(judge("json", keys, " {\"b\": [], \"a\": {}}\n") == 1);
    assert_true(judge("json", keys, "{\"a\": 1}") < 1);
    assert_true(judge("json", keys, "{\"a\": 1, \"b\": \"\"}") < 1);
    assert_true(judge("json", keys, "{\"a\": 1, \"b\": 2, \"c\": 3}") < 1);
    assert_true(judge("json", keys, "Here: {\"a\": 1, \"b\": 2}") < judge("json", keys, "{}"));
    assert_true(judge("json", keys, "Here: {\"a\": 1, \"b\": 2}") > judge("json", keys, "{\"a\": 1,"));
    assert_true(judge("json", keys, "no") == 0);
    assert_true(isnan(judge("json", "null", "{}")));
    const char *typed = "{\"keys\": [\"a\", \"b\"], \"types\": {\"a\": \"integer\", \"b\": \"string\"}}";
    assert_true(judge("json", typed, "{\"a\": 1, \"b\": \"x\"}") == 1);
    assert_float_equal(judge("json", typed, "{\"a\": \"1\", \"b\": \"x\"}"), 0.4 + 0.6 * 0.75, 1e-9);
    assert_float_equal(judge("json", typed, "{\"a\": 1.5, \"b\": [\"x\"]}"), 0.4 + 0.6 * 0.5, 1e-9);
    assert_true(judge("json", typed, "{\"b\": \"x\"}") < judge("json", typed, "{\"a\": \"1\", \"b\": \"x\"}"));
    assert_true(judge("json", "{\"keys\": [\"a\"], \"types\": {\"a\": \"boolean\"}}", "{\"a\": false}") == 1);
    assert_true(judge("json", "{\"keys\": [\"a\"], \"types\": {\"a\": \"number\"}}", "{\"a\": 2}") == 1);
    assert_true(judge("json", "{\"keys\": [\"a\"], \"types\": {\"a\": \"date\"}}", "{\"a\": 2}") < 1);
    const char *exact = "{\"keys\": [\"a\", \"b\", \"c\"], \"values\": {\"a\": 45, \"b\": \"red\"}}";
    assert_true(judge("json", exact, "{\"a\": 45.0, \"b\": \" Red \", \"c\": 1}") == 1);
    assert_float_equal(judge("json", exact, "{\"a\": 46, \"b\": \"red\", \"c\": 1}"), 0.4 + 0.6 * 2.5 / 3, 1e-9);
    assert_float_equal(judge("json", exact, "{\"a\": \"45\", \"b\": \"redder\", \"c\": 1}"), 0.4 + 0.6 * 2 / 3, 1e-9);
    assert_true(judge("label", labels, " yes\n") == 1);
    assert_true(judge("label", labels, "no") > 0 && judge("label", labels, "no") < 1);
    assert_true(judge("label", labels, "yes, it is") == 0);
    assert_true(judge("match", labels, "yes") == 1 && judge("match", labels, "Yes") == 0);
    assert_true(judge("length", "{\"tokens\": 4}", "?") == 1 && judge("length", "{\"tokens\": 8}", "?") == 0.5);
    assert_int_equal(reward_open("beauty", &none, NULL), DSR1_ERR_ARGUMENT);
}

static struct reward_item many_items[200];

static const struct reward_item *items_of(int n)
{
    static char text[3000];
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < n; i++)
        many_items[i] = (struct reward_item){"why \"so\"?", "{\"k\": 1}", text, sizeof text - 1, DSR1_FINISH_LENGTH, 3};
    return many_items;
}

static void score_with(const char *command, double timeout, int n, double *values, struct reward *reward)
{
    dsr1_error err = {0};
    must(reward_open_command(command, timeout, reward, &err), &err);
    must(reward_score(reward, items_of(n), n, values, &err), &err);
}

static void a_command_gets_and_gives_json_lines(void **state)
{
    struct reward reward;
    double values[200];
    /* Keeps what it reads; far more than a pipe holds, both ways. */
    char command[600];
    snprintf(command, sizeof command,
             "tee %s | sed -u 's/{\"id\":\\([0-9]*\\),\\(.*\\)/{\"id\": \\1, \"reward\": 0.25, \"more\": [{\\2]}/'",
             in_folder("seen"));
    score_with(command, 60, 200, values, &reward);
    assert_int_equal(reward.n_errors, 0);
    for (int i = 0; i < 200; i++)
        assert_true(values[i] == 0.25);
    /* It lives on. */
    assert_int_equal(reward_score(&reward, items_of(2), 2, values, NULL), DSR1_OK);
    assert_int_equal(reward.n_errors, 0);
    reward_close(&reward);
    snprintf(command, sizeof command, "test $(wc -l <%s) = 202 && grep -q '\"finish\":\"length\"' %s", in_folder("seen"),
             in_folder("seen"));
    assert_int_equal(system(command), 0);
}

static void failures_of_a_command_are_counted_and_named(void **state)
{
    struct reward reward;
    double values[4];
    score_with("sed -u 's/{\"id\":\\([0-9]*\\),.*/{\"id\": \\1, \"error\": \"no idea\"}/'", 60, 4, values, &reward);
    assert_int_equal(reward.n_errors, 4);
    assert_true(isnan(values[0]));
    assert_string_equal(reward.last_error, "no idea");
    reward_close(&reward);
    score_with("cat", 60, 1, values, &reward);      /* a line with our id, but no reward */
    assert_int_equal(reward.n_errors, 1);
    reward_close(&reward);
    score_with("sleep 100", 0.2, 4, values, &reward);
    assert_int_equal(reward.n_errors, 4);
    assert_string_equal(reward.last_error, "the reward's command took too long");
    reward_close(&reward);
    score_with("echo '{\"id\": 1, \"reward\": 7}'", 60, 4, values, &reward);
    assert_true(values[1] == 7 && isnan(values[0]));
    assert_int_equal(reward.n_errors, 3);
    assert_string_equal(reward.last_error, "the reward's command has ended");
    /* Started again: ids go on, so that its answer is of no use now. */
    assert_int_equal(reward_score(&reward, items_of(2), 2, values, NULL), DSR1_OK);
    assert_int_equal(reward.n_errors, 2);
    reward_close(&reward);
}

static void broken_prompts_are_named(void **state)
{
    static const char *const lines[] = {"{\"prompt\": ", "[1]", "{\"messages\": []}", "{\"meta\": 1}",
                                        "{\"messages\": [{\"role\": \"user\"}]}"};
    dsr1_model *model;
    struct prompts prompts;
    dsr1_error err = {0};
    must(dsr1_model_open(MOE, &model, &err), &err);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[200];
        err = (dsr1_error){0};
        snprintf(text, sizeof text, "{\"prompt\": \"good\"}\n%s\n", lines[i]);
        assert_int_equal(prompts_open(model, write_file("broken.jsonl", text), true, &prompts, &err), DSR1_ERR_FORMAT);
        assert_non_null(strstr(err.message, "broken.jsonl line 2"));
    }
    assert_int_equal(prompts_open(model, write_file("empty.txt", "\n\n"), true, &prompts, NULL), DSR1_ERR_FORMAT);
    must(prompts_open(model, write_file("plain.txt", "one\ntwo\nthree\n"), true, &prompts, &err), &err);
    assert_int_equal(prompts.n, 3);
    int seen[3] = {0};
    for (uint64_t i = 0; i < 6; i++)
        seen[prompts_pick(&prompts, 4, i)]++;
    assert_true(seen[0] == 2 && seen[1] == 2 && seen[2] == 2);
    prompts_close(&prompts);
    dsr1_model_close(model);
}

static int open_all(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    return open_folder(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler_and_trainer_agree_on_probabilities_and_experts),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_resumed_run_gives_the_same_bits),
        cmocka_unit_test(rewards_without_spread_change_nothing),
        cmocka_unit_test(groups_without_spread_are_replaced),
        cmocka_unit_test(a_bandit_learns_the_best_arm),
        cmocka_unit_test(each_option_of_sql_is_one_of_the_trainer),
        cmocka_unit_test(a_run_is_over_when_it_sees_enough_reward),
        cmocka_unit_test(built_in_rewards_say_what_they_promise),
        cmocka_unit_test(a_command_gets_and_gives_json_lines),
        cmocka_unit_test(failures_of_a_command_are_counted_and_named),
        cmocka_unit_test(broken_prompts_are_named),
    };
    return cmocka_run_group_tests(tests, open_all, remove_folder);
}
