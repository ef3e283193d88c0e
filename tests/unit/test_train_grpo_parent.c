/*
 * test_train_grpo_parent.c - claims about runs that another program started: what it is told, stopped and gone
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_folder.h"

#include "train/grpo_parent.h"
#include "train/json_text.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOE GOLDEN_FOLDER "deepseek-f32.gguf"

static volatile sig_atomic_t stop;

static const char *write_prompts(const char *name)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 4; i++)
        fprintf(file, "{\"prompt\": \"count to %d\", \"meta\": {\"tokens\": %d}}\n", i + 3, i + 3);
    assert_int_equal(fclose(file), 0);
    return path;
}

static struct grpo_options small_run(const char *output, int parent)
{
    struct grpo_options o = {.model = MOE, .output = output, .parent = parent, .raw = true,
                             .trainable = {.rank = 4, .alpha = 8, .lora = TRAINABLE_ATTENTION},
                             .optimizer = optimizer_defaults(), .policy = {.clip_low = 0.2, .clip_high = 0.28},
                             .scale = POLICY_SCALE_GROUP, .overlong = GRPO_OVERLONG_KEEP, .steps = 4, .n_prompts = 2,
                             .group = 4, .refill = 1, .updates = 1, .max_tokens = 8, .eval_every = 2, .threads = 2,
                             .seed = 3, .stop = &stop};
    o.prompts = write_prompts("parent.jsonl");
    o.eval_prompts = write_prompts("parent-eval.jsonl");
    o.optimizer.rate = 5e-3f;
    return o;
}

/* ------------------------------------------------------------------ */
/* The other program                                                   */
/* ------------------------------------------------------------------ */

struct parent {
    int fd;
    int stop_at_ask;            /* so many asks are answered, and then the run is stopped; -1: all */
    int leave_at_step;          /* this step is not answered: the parent goes; -1: none */
    int n_asks, n_answers, n_evals, begin, step;
    char model[80];
    bool done, wrong;
    pthread_t thread;
};

static void reply(struct parent *p, const char *format, json_int_t number, double value)
{
    char line[100];
    int n = snprintf(line, sizeof line, format, (long long) number, value);
    p->wrong |= write(p->fd, line, (size_t) n) != n;
}

static void judge(struct parent *p, json_t *ask)
{
    if (p->n_asks++ == p->stop_at_ask)
        stop = 1;
    else if (!stop)
        reply(p, "{\"id\": %lld, \"reward\": %.1f}\n", json_integer_value(json_object_get(ask, "id")),
              (double) (json_string_length(json_object_get(ask, "completion")) % 5));
}

/* Returns whether to go on. */
static bool hear(struct parent *p, json_t *line)
{
    json_t *step = json_object_get(line, "step");
    if (json_object_get(line, "id")) {
        judge(p, line);
    } else if (json_object_get(line, "begin")) {
        p->begin = (int) json_integer_value(json_object_get(line, "begin"));
        snprintf(p->model, sizeof p->model, "%s", json_string_value(json_object_get(line, "model")));
        reply(p, "{\"step\": %lld}\n", p->begin, 0);
    } else if (step && json_object_get(line, "prompt")) {
        p->n_answers++;
        p->wrong |= !json_is_string(json_object_get(line, "completion")) || !json_is_string(json_object_get(line, "finish"));
    } else if (step) {
        p->step = (int) json_integer_value(step);
        p->n_evals += json_is_number(json_object_get(line, "eval_reward"));
        if (p->step == p->leave_at_step)
            return false;
        reply(p, "{\"step\": %lld}\n", p->step, 0);
    } else if (json_object_get(line, "done")) {
        p->done = true;
        reply(p, "{\"step\": %lld}\n", p->step, 0);
    } else {
        p->wrong = true;
    }
    return true;
}

static void *be_parent(void *user)
{
    struct parent *p = user;
    char *text = NULL;
    size_t room = 0;
    FILE *file = fdopen(dup(p->fd), "r");
    bool more = true;
    for (ssize_t n; more && (n = getline(&text, &room, file)) > 0;) {
        json_t *line = json_loads(text, 0, NULL);
        more = hear(p, line);
        json_decref(line);
    }
    free(text);
    fclose(file);
    shutdown(p->fd, SHUT_RDWR);
    close(p->fd);
    return NULL;
}

static int start_parent(struct parent *p)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    p->fd = fds[1];
    stop = 0;
    assert_int_equal(pthread_create(&p->thread, NULL, be_parent, p), 0);
    return fds[0];
}

/* As the program does it. */
static dsr1_status run(const struct grpo_options *o, struct parent *p)
{
    struct grpo g;
    struct grpo_report report;
    dsr1_error err = {0};
    double reward;
    must(grpo_open(o, &g, &err), &err);
    dsr1_status status = grpo_begin(&g, &reward, &err);
    while (status == DSR1_OK && grpo_steps_done(&g) < o->steps && !stop)
        status = grpo_step(&g, &report, &err);
    if (stop || status == DSR1_ERR_CANCELLED)
        must(grpo_save(&g, &err), &err);
    else if (status == DSR1_OK && (status = grpo_finish(&g, &err)) == DSR1_OK)
        status = grpo_parent_done(&g, &err);
    grpo_close(&g);
    close(o->parent);
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    assert_false(p->wrong);
    return status;
}

static void same_file(const char *a, const char *b)
{
    char command[700];
    snprintf(command, sizeof command, "cmp %s %s", a, b);
    assert_int_equal(system(command), 0);
}

/* ------------------------------------------------------------------ */
/* Claims                                                              */
/* ------------------------------------------------------------------ */

static void whole(const char *output)
{
    struct parent p = {.stop_at_ask = -1, .leave_at_step = -1};
    struct grpo_options o = small_run(output, start_parent(&p));
    assert_int_equal(run(&o, &p), DSR1_OK);
    assert_true(p.done && p.step == 4 && p.begin == 0);
    assert_int_equal(p.n_evals, 3);
    assert_int_equal(p.n_asks, p.n_answers + 3 * 4);
}

static void the_other_program_is_asked_and_told(void **state)
{
    whole(in_folder("told.gguf"));
}

static void the_other_program_is_told_which_model_that_is(void **state)
{
    char command[700], digits[SHA256_DIGITS + 1];
    struct parent p = {.stop_at_ask = -1, .leave_at_step = -1};
    struct grpo_options o = small_run(in_folder("whose.gguf"), start_parent(&p));
    assert_int_equal(run(&o, &p), DSR1_OK);
    snprintf(command, sizeof command, "sha256sum %s", o.model);
    FILE *sum = popen(command, "r");
    assert_non_null(sum);
    assert_int_equal(fread(digits, 1, SHA256_DIGITS, sum), SHA256_DIGITS);
    digits[SHA256_DIGITS] = 0;
    pclose(sum);
    assert_string_equal(p.model, digits);
}

static void stopped_anywhere_it_goes_on_to_the_same_bits(void **state)
{
    whole(in_folder("straight.gguf"));
    for (int at = 1; at < 40; at += 9) {
        struct parent first = {.stop_at_ask = at, .leave_at_step = -1}, second = {.stop_at_ask = -1, .leave_at_step = -1};
        struct grpo_options o = small_run(in_folder("stopped.gguf"), start_parent(&first));
        dsr1_status status = run(&o, &first);
        assert_true(status == DSR1_ERR_CANCELLED);
        o.resume = true;
        o.parent = start_parent(&second);
        assert_int_equal(run(&o, &second), DSR1_OK);
        assert_true(second.done && second.begin <= first.step);
        same_file(in_folder("straight.gguf"), in_folder("stopped.gguf"));
        unlink(in_folder("stopped.gguf.checkpoint"));
    }
}

static void a_step_that_nobody_kept_has_no_checkpoint(void **state)
{
    struct parent first = {.stop_at_ask = -1, .leave_at_step = 3}, second = {.stop_at_ask = -1, .leave_at_step = -1};
    struct grpo_options o = small_run(in_folder("left.gguf"), start_parent(&first));
    o.save_every = 1;
    assert_int_equal(run(&o, &first), DSR1_ERR_CANCELLED);
    o.resume = true;
    o.parent = start_parent(&second);
    assert_int_equal(run(&o, &second), DSR1_OK);
    assert_int_equal(second.begin, 2);
}

static void text_of_any_bytes_becomes_json(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } cases[] = {{"a\xc3\xa4", 3, "a\xc3\xa4"}, {"a\0\xc3\xa4", 4, "a\xef\xbf\xbd\xc3\xa4"},
                 {"\xc3", 1, "\xef\xbf\xbd"}, {"\xff\xf0\x9f\x98\x80!", 6, "\xef\xbf\xbd\xf0\x9f\x98\x80!"}, {"", 0, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = json_text(cases[i].bytes, cases[i].size);
        assert_string_equal(json_string_value(json), cases[i].text);
        json_decref(json);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_other_program_is_asked_and_told),
        cmocka_unit_test(the_other_program_is_told_which_model_that_is),
        cmocka_unit_test(stopped_anywhere_it_goes_on_to_the_same_bits),
        cmocka_unit_test(a_step_that_nobody_kept_has_no_checkpoint),
        cmocka_unit_test(text_of_any_bytes_becomes_json),
    };
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
