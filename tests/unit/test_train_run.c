/*
 * test_train_run.c - claims about whole runs of training, and about what they leave behind
 *
 * On the tiny golden models, with the bytes of tests/train as data.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "train_folder.h"

#include "base/memory.h"
#include "gguf/gguf_write.h"
#include "train/adapter.h"
#include "train/checkpoint.h"
#include "train/head.h"
#include "train/merge.h"
#include "train/pass.h"
#include "train/run_log.h"
#include "text/tokenizer.h"
#include "text/vocab.h"
#include "train/training.h"

#include <math.h>
#include <unistd.h>

#define STUDENT GOLDEN_FOLDER "deepseek-f32.gguf"
#define TEACHER GOLDEN_FOLDER "llama3-f32.gguf"

static const char *const data[] = {"tests/train/policy_table.py"};

static struct training_options small_run(const char *output)
{
    struct training_options o = {.student = STUDENT, .data = data, .n_data = 1, .output = output,
                                 .trainable = {.rank = 4, .alpha = 8, .lora = TRAINABLE_ATTENTION | TRAINABLE_SHARED |
                                                                              TRAINABLE_EXPERTS | TRAINABLE_FFN,
                                               .whole = TRAINABLE_ROUTER},
                                 .optimizer = optimizer_defaults(), .batch = 24, .seq = 48, .n_eval = 4,
                                 .eval_every = 4, .threads = 1, .seed = 7};
    o.optimizer.steps = 12;
    o.optimizer.rate = 3e-3f;
    o.optimizer.schedule = SCHEDULE_COSINE;
    return o;
}

/* Runs from where it stands up to a step; losses from `losses` on. */
static void run_until(struct training *t, int64_t step, double *losses)
{
    struct training_report report;
    dsr1_error err = {0};
    while (t->optimizer.step < step) {
        must(training_step(t, &report, &err), &err);
        losses[report.step - 1] = report.loss;
    }
}

static void run_whole(const struct training_options *o, double *losses)
{
    struct training t;
    dsr1_error err = {0};
    must(training_open(o, &t, &err), &err);
    run_until(&t, o->optimizer.steps, losses);
    must(training_finish(&t, &err), &err);
    training_close(&t);
}

static void same_file(const char *a, const char *b)
{
    char command[700];
    snprintf(command, sizeof command, "cmp %s %s", a, b);
    assert_int_equal(system(command), 0);
}

/* ------------------------------------------------------------------ */
/* Runs                                                                */
/* ------------------------------------------------------------------ */

static void training_lowers_the_loss(void **state)
{
    struct training_options o = small_run(in_folder("falls.gguf"));
    double losses[40];
    o.optimizer.steps = 40;
    run_whole(&o, losses);
    double before = losses[0] + losses[1] + losses[2], after = losses[37] + losses[38] + losses[39];
    assert_true(after < before - 3);
}

static void distillation_lowers_the_divergence(void **state)
{
    struct training_options o = small_run(in_folder("distilled.gguf"));
    double losses[40];
    char path[300];
    golden_path("llama3-f32", ".gguf", path);
    o.teacher = path;
    o.optimizer.steps = 40;
    o.n_used_min = 1;
    o.n_used_max = 4;
    run_whole(&o, losses);
    double before = losses[0] + losses[1] + losses[2], after = losses[37] + losses[38] + losses[39];
    assert_true(after < 0.8 * before);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    struct training_options o = small_run(in_folder("one.gguf"));
    double one[12], three[12];
    run_whole(&o, one);
    o.output = in_folder("three.gguf");
    o.threads = 3;
    run_whole(&o, three);
    assert_memory_equal(one, three, sizeof one);
    same_file(in_folder("one.gguf"), in_folder("three.gguf"));
}

static void a_resumed_run_gives_the_same_bits(void **state)
{
    struct training_options o = small_run(in_folder("straight.gguf"));
    struct training t;
    double straight[12], broken[12];
    dsr1_error err = {0};
    o.log = in_folder("straight.jsonl");
    run_whole(&o, straight);

    o.output = in_folder("broken.gguf");
    o.log = in_folder("broken.jsonl");
    must(training_open(&o, &t, &err), &err);
    run_until(&t, 5, broken);
    must(training_save(&t, &err), &err);
    run_until(&t, 7, broken);   /* these two are lost and done again */
    training_close(&t);
    o.resume = true;
    must(training_open(&o, &t, &err), &err);
    assert_int_equal(t.optimizer.step, 5);
    memset(broken + 5, 0, 7 * sizeof *broken);
    run_until(&t, 12, broken);
    must(training_finish(&t, &err), &err);
    training_close(&t);
    assert_memory_equal(straight, broken, sizeof straight);
    same_file(in_folder("straight.gguf"), in_folder("broken.gguf"));

    /* Times aside, the logs agree, too. */
    char command[900];
    snprintf(command, sizeof command, "sed 's/, \"seconds.*//' %s >%s && sed 's/, \"seconds.*//' %s | cmp - %s",
             in_folder("straight.jsonl"), in_folder("log"), in_folder("broken.jsonl"), in_folder("log"));
    assert_int_equal(system(command), 0);
}

static void a_checkpoint_of_another_run_is_refused(void **state)
{
    struct training_options o = small_run(in_folder("other.gguf"));
    struct training t;
    dsr1_error err = {0};
    must(training_open(&o, &t, &err), &err);
    must(training_save(&t, &err), &err);
    training_close(&t);
    o.resume = true;
    o.seed = 8;
    assert_int_equal(training_open(&o, &t, &err), DSR1_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, "other data or options"));
    err = (dsr1_error){0};
    o.seed = 7;
    o.trainable.rank = 5;
    assert_int_equal(training_open(&o, &t, &err), DSR1_ERR_FORMAT);
}

/* ------------------------------------------------------------------ */
/* Adapters                                                            */
/* ------------------------------------------------------------------ */

/* Logits of the golden prompt; the caller frees. */
static real *logits_of(const struct net *net)
{
    struct pass pass;
    struct head head;
    int32_t prompt[GOLDEN_PROMPT];
    const int start[] = {0, GOLDEN_PROMPT};
    size_t size = GOLDEN_PROMPT * (size_t) net->shape.n_vocab * sizeof(real);
    real *logits = malloc(size);
    golden_prompt("deepseek-f32", prompt);
    struct batch batch = {.n_seqs = 1, .start = start, .tokens = prompt};
    assert_int_equal(pass_open(net, false, &pass, NULL), DSR1_OK);
    assert_int_equal(head_open(net, &head, NULL), DSR1_OK);
    assert_int_equal(pass_begin(&pass, &batch, NULL), DSR1_OK);
    pass_forward(&pass);
    head_logits(&head, pass.out, NULL, GOLDEN_PROMPT);
    memcpy(logits, head.logits, size);
    head_close(&head);
    pass_close(&pass);
    return logits;
}

static double distance(const struct net *net, const real *a, const real *b)
{
    double worst = 0;
    for (int i = 0; i < GOLDEN_PROMPT * net->shape.n_vocab; i++)
        worst = fmax(worst, fabs((double) a[i] - (double) b[i]));
    return worst;
}

/* The same model three times: adapters beside it, read again, and merged into a file. */
static void merging_an_adapter_is_the_same_as_having_it(void **state)
{
    struct training_options o = small_run(in_folder("merge-adapter.gguf"));
    struct net net, again, merged;
    struct trainable t;
    struct merge_result result;
    struct merge_options as_is = {.type = -1, .strength = 1};
    struct training run;
    double losses[12];
    dsr1_error err = {0};
    must(training_open(&o, &run, &err), &err);
    run_until(&run, 12, losses);
    must(training_finish(&run, &err), &err);
    real *trained = logits_of(&run.net);
    training_close(&run);

    must(net_open(STUDENT, 64, &net, &err), &err);
    real *before = logits_of(&net);
    assert_true(distance(&net, trained, before) > 0.1);

    must(net_open(STUDENT, 64, &again, &err), &err);
    must(trainable_open(&again, &o.trainable, &t, &err), &err);
    must(adapter_read(&t, o.output, &err), &err);
    real *read = logits_of(&again);
    assert_true(distance(&net, trained, read) < 1e-5);

    must(merge_files(STUDENT, o.output, in_folder("merged.gguf"), &as_is, &result, &err), &err);
    assert_true(result.n_changed > t.n_params / 2);
    must(net_open(in_folder("merged.gguf"), 64, &merged, &err), &err);
    real *whole = logits_of(&merged);
    assert_true(distance(&net, trained, whole) < 1e-4);

    trainable_close(&t);
    real *frozen = logits_of(&again);
    assert_memory_equal(frozen, before, GOLDEN_PROMPT * (size_t) net.shape.n_vocab * sizeof *frozen);
    net_close(&merged);
    net_close(&again);
    net_close(&net);
    free(trained);
    free(before);
    free(read);
    free(whole);
    free(frozen);
}

static void an_adapter_file_is_named_as_llama_cpp_wants_it(void **state)
{
    struct net net;
    struct trainable t;
    struct gguf *file;
    struct gguf_string text;
    float alpha = 0;
    dsr1_error err = {0};
    struct trainable_options o = {.rank = 4, .alpha = 8, .lora = TRAINABLE_Q | TRAINABLE_EXPERTS,
                                  .whole = TRAINABLE_ROUTER};
    must(net_open(STUDENT, 64, &net, &err), &err);
    must(trainable_open(&net, &o, &t, &err), &err);
    must(adapter_write(&t, in_folder("names.gguf"), &err), &err);
    must(gguf_open(in_folder("names.gguf"), &file, &err), &err);
    must(gguf_get_string(file, "general.architecture", &text, &err), &err);
    assert_memory_equal(text.bytes, "deepseek", 8);
    must(gguf_get_float(file, "adapter.lora.alpha", &alpha, &err), &err);
    assert_true(alpha == 8);
    const struct gguf_tensor *a = gguf_find_tensor(file, "blk.1.ffn_up_exps.weight.lora_a");
    const struct gguf_tensor *b = gguf_find_tensor(file, "blk.1.ffn_up_exps.weight.lora_b");
    assert_true(a && a->ne[0] == net.shape.n_embd && a->ne[1] == 4 && a->ne[2] == net.shape.n_experts);
    assert_true(b && b->ne[0] == 4 && b->ne[1] == net.shape.n_ff_expert && b->ne[2] == net.shape.n_experts);
    assert_non_null(gguf_find_tensor(file, "blk.1.ffn_gate_inp.weight.lora_b"));
    assert_non_null(gguf_find_tensor(file, "blk.0.attn_q.weight.lora_a"));
    gguf_close(file);
    trainable_close(&t);
    net_close(&net);
}

static void an_adapter_that_does_not_fit_is_refused(void **state)
{
    struct net net;
    struct trainable t;
    struct merge_result result;
    struct merge_options as_is = {.type = -1, .strength = 1};
    dsr1_error err = {0};
    struct trainable_options o = {.rank = 4, .alpha = 8, .lora = TRAINABLE_Q}, wider = {.rank = 5, .lora = TRAINABLE_Q},
                             elsewhere = {.rank = 4, .alpha = 8, .lora = TRAINABLE_K},
                             norms = {.whole = TRAINABLE_NORMS};
    must(net_open(STUDENT, 64, &net, &err), &err);
    must(trainable_open(&net, &o, &t, &err), &err);
    must(adapter_write(&t, in_folder("q.gguf"), &err), &err);
    trainable_close(&t);
    must(trainable_open(&net, &wider, &t, &err), &err);
    assert_int_equal(adapter_read(&t, in_folder("q.gguf"), NULL), DSR1_ERR_FORMAT);
    trainable_close(&t);
    must(trainable_open(&net, &elsewhere, &t, &err), &err);
    assert_int_equal(adapter_read(&t, in_folder("q.gguf"), NULL), DSR1_ERR_FORMAT);
    assert_int_equal(adapter_read(&t, STUDENT, NULL), DSR1_ERR_FORMAT);
    trainable_close(&t);
    must(trainable_open(&net, &norms, &t, &err), &err);
    assert_int_equal(adapter_write(&t, in_folder("n.gguf"), NULL), DSR1_ERR_UNSUPPORTED);
    trainable_close(&t);
    net_close(&net);
    assert_int_equal(merge_files(TEACHER, in_folder("q.gguf"), in_folder("x.gguf"), &as_is, &result, NULL),
                     DSR1_ERR_FORMAT);
    assert_int_not_equal(access(in_folder("x.gguf"), F_OK), 0);
}

/* ------------------------------------------------------------------ */
/* Data                                                                */
/* ------------------------------------------------------------------ */

/* The student's file with a chat template. */
static struct gguf *with_template(void)
{
    struct gguf *from, *file;
    struct gguf_writer *writer;
    dsr1_error err = {0};
    must(gguf_open(STUDENT, &from, &err), &err);
    must(gguf_write_open(in_folder("template.gguf"), &writer, &err), &err);
    gguf_write_copy_all(writer, from, NULL, NULL);
    gguf_write_text(writer, "tokenizer.chat_template",
                    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
                    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
                    "{% endif %}");
    must(gguf_write_commit(writer, &err), &err);
    gguf_close(from);
    must(gguf_open(in_folder("template.gguf"), &file, &err), &err);
    return file;
}

static const char *write_text(const char *name, const char *text)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "wb");
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* The bytes of tokens that count; the vocabulary's first 256 tokens are bytes. */
static void counted_text(const struct gguf *model, const struct dataset *d, int seq, char *text)
{
    struct tokenizer *tokenizer;
    size_t n = 0;
    assert_int_equal(tokenizer_open(model, &tokenizer, NULL), DSR1_OK);
    for (int64_t i = d->start[seq]; i < d->start[seq + 1]; i++)
        if (d->counts[i])
            n += tokenizer_token_bytes(tokenizer, d->tokens[i], true, text + n, 100);
    text[n] = 0;
    tokenizer_close(tokenizer);
}

static void only_the_assistants_words_count(void **state)
{
    struct gguf *model = with_template();
    struct dataset d;
    char text[1000];
    dsr1_error err = {0};
    const char *files[] = {write_text("chat.jsonl",
                                      "{\"messages\": [{\"role\": \"user\", \"content\": \"ask\"}, {\"role\": "
                                      "\"assistant\", \"content\": \"first\"}, {\"role\": \"user\", \"content\": "
                                      "\"more\"}, {\"role\": \"assistant\", \"content\": \"second\"}]}\n"
                                      "\n{\"prompt\": \"2+2\", \"completion\": \"four\"}\n")};
    must(dataset_open(model, files, 1, 400, 0, 1, &d, &err), &err);
    assert_int_equal(d.n_seqs, 2);
    counted_text(model, &d, 0, text);
    assert_string_equal(text, "first<|im_end|>\nsecond<|im_end|>\n");
    counted_text(model, &d, 1, text);
    assert_string_equal(text, "four<|im_end|>\n");
    dataset_close(&d);
    gguf_close(model);
}

/* The golden model's vocabulary, asking for a middle with the suffix first. */
static struct gguf *with_suffix_first(void)
{
    struct gguf *from, *model;
    struct gguf_writer *writer;
    dsr1_error err = {0};
    must(gguf_open(GOLDEN_FOLDER "deepseek-q4k.gguf", &from, &err), &err);
    must(gguf_write_open(in_folder("spm.gguf"), &writer, &err), &err);
    gguf_write_copy_all(writer, from, NULL, NULL);
    gguf_write_text(writer, VOCAB_FIM_ORDER, "spm");
    must(gguf_write_commit(writer, &err), &err);
    gguf_close(from);
    must(gguf_open(in_folder("spm.gguf"), &model, &err), &err);
    return model;
}

static void a_middle_may_stand_behind_its_prefix(void **state)
{
    (void) state;
    struct gguf *model = with_suffix_first();
    struct dataset d;
    char text[1000];
    dsr1_error err = {0};
    const char *files[] = {write_text("middle.jsonl", "{\"prefix\": \"one two three four five six\", "
                                                      "\"suffix\": \"nine\", \"middle\": \" seven eight\"}\n")};
    must(dataset_open(model, files, 1, 400, 0, 1, &d, &err), &err);
    counted_text(model, &d, 0, text);
    assert_memory_equal(text, " seven eight<", 13);
    int whole = dataset_length(&d, 0);
    int32_t head[3] = {d.tokens[0], d.tokens[1], d.tokens[2]};
    dataset_close(&d);
    /* What is too long loses the beginning of its prefix, which stands behind the suffix. */
    must(dataset_open(model, files, 1, whole - 5, 0, 1, &d, &err), &err);
    assert_int_equal(dataset_length(&d, 0), whole - 5);
    assert_memory_equal(d.tokens, head, sizeof head);
    counted_text(model, &d, 0, text);
    assert_memory_equal(text, " seven eight<", 13);
    dataset_close(&d);
    assert_int_equal(dataset_open(model, files, 1, 12, 0, 1, &d, &err), DSR1_ERR_FORMAT);
    assert_non_null(strstr(err.message, "suffix and middle"));
    gguf_close(model);
}

static void only_the_middle_of_a_text_counts(void **state)
{
    struct gguf *model;
    struct dataset d;
    char text[1000];
    dsr1_error err = {0};
    const char *files[] = {write_text("middle.jsonl", "{\"prefix\": \"one two three four five six\", "
                                                      "\"suffix\": \"nine\", \"middle\": \"seven eight\"}\n")};
    must(gguf_open(GOLDEN_FOLDER "deepseek-q4k.gguf", &model, &err), &err);
    must(dataset_open(model, files, 1, 400, 0, 1, &d, &err), &err);
    counted_text(model, &d, 0, text);
    assert_memory_equal(text, "seven eight<", 12);      /* and the end token */
    int whole = dataset_length(&d, 0);
    int32_t begin = d.tokens[0], pre = d.tokens[1];
    dataset_close(&d);
    /* What is too long loses the beginning of its prefix. */
    must(dataset_open(model, files, 1, whole - 5, 0, 1, &d, &err), &err);
    assert_int_equal(dataset_length(&d, 0), whole - 5);
    assert_true(d.tokens[0] == begin && d.tokens[1] == pre);
    counted_text(model, &d, 0, text);
    assert_memory_equal(text, "seven eight<", 12);
    dataset_close(&d);
    assert_int_equal(dataset_open(model, files, 1, 12, 0, 1, &d, &err), DSR1_ERR_FORMAT);
    assert_non_null(strstr(err.message, "suffix and middle"));
    gguf_close(model);
}

/* The first step's loss and surprise of one text with a hole, with a teacher or without. */
static void learn_a_middle(const char *teacher, const char *text, double *loss, double *nll)
{
    struct training_options o = small_run(in_folder("filled.gguf"));
    struct training_report report;
    struct training t;
    dsr1_error err = {0};
    const char *files[] = {write_text("hole.jsonl", text)};
    o.student = GOLDEN_FOLDER "deepseek-q4k.gguf";
    o.teacher = teacher;
    o.data = files;
    o.n_eval = 0;
    o.batch = 1;
    must(training_open(&o, &t, &err), &err);
    must(training_step(&t, &report, &err), &err);
    training_close(&t);
    *loss = report.loss;
    *nll = report.nll;
}

/* One that says the same as the student has nothing to teach: what is learnt are the middle's own tokens. */
static void no_teacher_is_asked_about_a_hole(void **state)
{
    (void) state;
    static const char hole[] = "{\"prefix\": \"one two three\", \"suffix\": \"six\", \"middle\": \" four five\"}\n";
    static const char text[] = "{\"text\": \"one two three four five six\"}\n";
    double loss, nll, alone;
    learn_a_middle(GOLDEN_FOLDER "deepseek-q4k.gguf", text, &loss, &nll);
    assert_true(fabs(loss) < 1e-4 && nll > 1);
    learn_a_middle(NULL, hole, &alone, &nll);
    assert_true(alone > 1);
    learn_a_middle(GOLDEN_FOLDER "deepseek-q4k.gguf", hole, &loss, &nll);
    assert_true(loss == alone && nll == alone);
}

static void words_name_what_is_trained(void **state)
{
    (void) state;
    unsigned kinds;
    assert_true(trainable_parse("q,down", &kinds));
    assert_true(kinds & trainable_kind("blk.0.attn_q.weight"));
    assert_true(kinds & trainable_kind("blk.0.ffn_down.weight"));
    assert_true(kinds & trainable_kind("blk.0.ffn_down_exps.weight"));
    assert_true(kinds & trainable_kind("blk.0.ffn_down_shexp.weight"));
    assert_false(kinds & trainable_kind("blk.0.ffn_up_exps.weight"));
    assert_false(kinds & trainable_kind("blk.0.attn_k.weight"));
    assert_true(trainable_parse("experts", &kinds));
    assert_true(kinds & trainable_kind("blk.0.ffn_down_exps.weight"));
    assert_false(kinds & trainable_kind("blk.0.ffn_down_shexp.weight"));
    assert_false(trainable_parse("experts,doors", &kinds));
}

static void a_broken_line_is_named(void **state)
{
    static const char *const lines[] = {"{\"text\": ", "[1]", "{\"messages\": []}",
                                        "{\"messages\": [{\"role\": \"user\"}]}", "{\"prompt\": \"x\"}", "\"\\ud800\""};
    struct gguf *model = with_template();
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct dataset d;
        char text[300];
        dsr1_error err = {0};
        snprintf(text, sizeof text, "{\"text\": \"a good line, long enough\"}\n%s", lines[i]);
        const char *files[] = {write_text("broken.jsonl", text)};
        assert_int_equal(dataset_open(model, files, 1, 64, 0, 1, &d, &err), DSR1_ERR_FORMAT);
        assert_non_null(strstr(err.message, "broken.jsonl line 2"));
    }
    gguf_close(model);
}

static void each_epoch_has_every_sequence_once_and_none_set_aside(void **state)
{
    struct gguf *model;
    struct dataset d;
    dsr1_error err = {0};
    must(gguf_open(STUDENT, &model, &err), &err);
    must(dataset_open(model, data, 1, 32, 5, 3, &d, &err), &err);
    int n = d.n_seqs - 5, *seqs = calloc(2 * (size_t) n, sizeof *seqs), *seen = calloc((size_t) d.n_seqs, sizeof *seen);
    assert_true(n > 20);
    dataset_pick(&d, 9, 0, 2 * n, seqs);
    for (int i = 0; i < 2 * n; i++)
        seen[seqs[i]] += i < n ? 1 : 100;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(seen[dataset_eval(&d, i)], 0);
        seen[dataset_eval(&d, i)] = 101;
    }
    for (int i = 0; i < d.n_seqs; i++)
        assert_int_equal(seen[i], 101);
    assert_memory_not_equal(seqs, seqs + n, (size_t) n * sizeof *seqs);
    /* A piece of the row is the same piece however it is asked for. */
    int piece[3];
    dataset_pick(&d, 9, (uint64_t) n - 1, 3, piece);
    assert_memory_equal(piece, seqs + n - 1, sizeof piece);
    free(seqs);
    free(seen);
    dataset_close(&d);
    gguf_close(model);
}

static void no_data_is_refused(void **state)
{
    struct training_options o = small_run(in_folder("nothing.gguf"));
    struct training t;
    const char *files[] = {write_text("empty.txt", "short")};
    dsr1_error err = {0};
    o.data = files;
    assert_int_equal(training_open(&o, &t, &err), DSR1_ERR_ARGUMENT);
    files[0] = in_folder("is-not-there.txt");
    err = (dsr1_error){0};
    assert_int_equal(training_open(&o, &t, &err), DSR1_ERR_IO);
}

/* ------------------------------------------------------------------ */
/* The optimiser                                                       */
/* ------------------------------------------------------------------ */

/* Two steps by hand, in double. */
static void adamw_does_what_its_paper_says(void **state)
{
    struct optimizer o;
    struct optimizer_options p = {.rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f, .decay = 0.1f,
                                  .clip = 1, .schedule = SCHEDULE_CONSTANT, .steps = 10};
    real value[] = {1, -2, 0.5f}, grads[2][3] = {{3, 0, 4}, {0.1f, -0.2f, 0}};
    double x[] = {1, -2, 0.5}, m[3] = {0}, v[3] = {0};
    assert_int_equal(optimizer_open(&p, 3, &o, NULL), DSR1_OK);
    for (int step = 1; step <= 2; step++) {
        double norm = optimizer_step(&o, value, grads[step - 1]), clip = norm > 1 ? 1 / norm : 1;
        assert_true(fabs(norm - (step == 1 ? 5 : sqrt(0.05))) < 1e-6);
        for (int i = 0; i < 3; i++) {
            double g = clip * (double) grads[step - 1][i];
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.99 * v[i] + 0.01 * g * g;
            x[i] -= 0.01 * (m[i] / (1 - pow(0.9, step)) / (sqrt(v[i] / (1 - pow(0.99, step))) + 1e-8) + 0.1 * x[i]);
            assert_true(fabs((double) value[i] - x[i]) < 1e-6);
        }
    }
    real nan[] = {NAN, 0, 0};
    assert_true(isnan(optimizer_step(&o, value, nan)));
    assert_true(fabs((double) value[0] - x[0]) < 1e-6 && o.step == 2);
    optimizer_close(&o);
}

static void the_rate_warms_up_and_comes_down(void **state)
{
    struct optimizer_options p = {.rate = 1, .warmup = 4, .steps = 104, .schedule = SCHEDULE_COSINE, .floor = 0.1f};
    assert_true(fabs(optimizer_rate(&p, 0) - 0.25) < 1e-9 && fabs(optimizer_rate(&p, 3) - 1) < 1e-9);
    assert_true(fabs(optimizer_rate(&p, 54) - 0.55) < 1e-6 && fabs(optimizer_rate(&p, 104) - 0.1) < 1e-6);
    p.schedule = SCHEDULE_LINEAR;
    assert_true(fabs(optimizer_rate(&p, 29) - 0.775) < 1e-6);
    p.schedule = SCHEDULE_CONSTANT;
    assert_true(fabs(optimizer_rate(&p, 103) - 1) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_lowers_the_loss),
        cmocka_unit_test(distillation_lowers_the_divergence),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_resumed_run_gives_the_same_bits),
        cmocka_unit_test(a_checkpoint_of_another_run_is_refused),
        cmocka_unit_test(merging_an_adapter_is_the_same_as_having_it),
        cmocka_unit_test(an_adapter_file_is_named_as_llama_cpp_wants_it),
        cmocka_unit_test(an_adapter_that_does_not_fit_is_refused),
        cmocka_unit_test(only_the_assistants_words_count),
        cmocka_unit_test(only_the_middle_of_a_text_counts),
        cmocka_unit_test(no_teacher_is_asked_about_a_hole),
        cmocka_unit_test(a_middle_may_stand_behind_its_prefix),
        cmocka_unit_test(words_name_what_is_trained),
        cmocka_unit_test(a_broken_line_is_named),
        cmocka_unit_test(each_epoch_has_every_sequence_once_and_none_set_aside),
        cmocka_unit_test(no_data_is_refused),
        cmocka_unit_test(adamw_does_what_its_paper_says),
        cmocka_unit_test(the_rate_warms_up_and_comes_down),
    };
    return cmocka_run_group_tests_name("train_run", tests, open_folder, remove_folder);
}
