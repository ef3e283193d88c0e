/*
 * test_gguf.c - claims about core/gguf: reading, splitting and writing containers
 *
 * tests/golden/gguf holds small containers, most of them broken in one place,
 * with the verdict that is wanted of a reader (verdicts.tsv).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "gguf/gguf.h"
#include "gguf/gguf_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GOLDEN "tests/golden/gguf/"

static char folder[] = "/tmp/dsr1-gguf-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4][300];
    static int next;
    char *to = path[next++ & 3];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

static char *read_all(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t) ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_all(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ------------------------------------------------------------------ */
/* Reading                                                             */
/* ------------------------------------------------------------------ */

/* From a file and from memory, since both are ways in. */
static void check_verdict(const char *name, bool wanted)
{
    char path[200];
    struct gguf *gguf;
    dsr1_error err = {0};
    snprintf(path, sizeof path, GOLDEN "%s.gguf", name);
    dsr1_status status = gguf_open(path, &gguf, &err);
    if ((status == DSR1_OK) != wanted)
        fail_msg("%s: %s", name, status == DSR1_OK ? "accepted" : err.message);
    if (!wanted) {
        assert_null(gguf);
        assert_int_equal(err.status, DSR1_ERR_FORMAT);
        assert_non_null(strstr(err.message, path));
    }
    gguf_close(gguf);

    size_t size;
    char *bytes = read_all(path, &size);
    char *exact = malloc(size ? size : 1);      /* so that a sanitizer sees one byte too far */
    memcpy(exact, bytes, size);
    free(bytes);
    status = gguf_open_memory(exact, size, &gguf, NULL);
    if ((status == DSR1_OK) != wanted)
        fail_msg("%s: differs in memory", name);
    gguf_close(gguf);
    free(exact);
}

static void every_container_gets_its_verdict(void **state)
{
    FILE *file = fopen(GOLDEN "verdicts.tsv", "r");
    char line[300], name[100], reference[20], wanted[20];
    int n = 0;
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file)) {
        assert_int_equal(sscanf(line, "%99s %19s %19s", name, reference, wanted), 3);
        check_verdict(name, strcmp(wanted, "accept") == 0);
        n++;
    }
    fclose(file);
    assert_int_equal(n, 49);
}

static void every_prefix_of_a_file_is_refused(void **state)
{
    size_t size;
    char *bytes = read_all(GOLDEN "ok.gguf", &size);
    struct gguf *whole;
    assert_int_equal(gguf_open_memory(bytes, size, &whole, NULL), DSR1_OK);
    const struct gguf_tensor *last = gguf_tensor_at(whole, gguf_n_tensors(whole) - 1);
    size_t end = (size_t) ((const char *) last->data - bytes) + last->size;
    gguf_close(whole);
    for (size_t n = 0; n < end; n++) {
        struct gguf *gguf;
        char *exact = malloc(n ? n : 1);
        memcpy(exact, bytes, n);
        assert_int_equal(gguf_open_memory(exact, n, &gguf, NULL), DSR1_ERR_FORMAT);
        assert_null(gguf);
        free(exact);
    }
    free(bytes);
}

static void values_of_every_type_are_read(void **state)
{
    struct gguf *gguf;
    assert_int_equal(gguf_open(GOLDEN "ok-types.gguf", &gguf, NULL), DSR1_OK);
    assert_true(gguf_n_keys(gguf) > 0);
    for (size_t i = 0; i < gguf_n_keys(gguf); i++) {
        struct gguf_string name = gguf_key_at(gguf, i);
        char key[100];
        int64_t integer = 0;
        float number = 0;
        bool flag = false;
        struct gguf_string string;
        struct gguf_array array;
        assert_true(name.size < sizeof key);
        memcpy(key, name.bytes, name.size);
        key[name.size] = 0;
        assert_true(gguf_has(gguf, key));
        enum gguf_type type = gguf_key_type_at(gguf, i);
        bool is_float = type == GGUF_F32 || type == GGUF_F64;
        bool is_int = !is_float && type != GGUF_BOOL && type != GGUF_STRING && type != GGUF_ARRAY;
        bool fits = gguf_get_int(gguf, key, &integer, NULL) == DSR1_OK;
        assert_true(type == GGUF_U64 || fits == is_int);    /* an u64 may be beyond int64_t */
        assert_int_equal(gguf_get_float(gguf, key, &number, NULL) == DSR1_OK, is_float);
        assert_int_equal(gguf_get_bool(gguf, key, &flag, NULL) == DSR1_OK, type == GGUF_BOOL);
        assert_int_equal(gguf_get_string(gguf, key, &string, NULL) == DSR1_OK, type == GGUF_STRING);
        assert_int_equal(gguf_get_array(gguf, key, &array, NULL) == DSR1_OK, type == GGUF_ARRAY);
    }
    gguf_close(gguf);
}

static void a_missing_key_leaves_the_default(void **state)
{
    struct gguf *gguf;
    int64_t integer = 42;
    float number = 1.5f;
    bool flag = true;
    struct gguf_string string = {"x", 1};
    struct gguf_array array = {.n = 9};
    assert_int_equal(gguf_open(GOLDEN "ok.gguf", &gguf, NULL), DSR1_OK);
    assert_false(gguf_has(gguf, "no.such.key"));
    assert_int_equal(gguf_get_int(gguf, "no.such.key", &integer, NULL), DSR1_OK);
    assert_int_equal(gguf_get_float(gguf, "no.such.key", &number, NULL), DSR1_OK);
    assert_int_equal(gguf_get_bool(gguf, "no.such.key", &flag, NULL), DSR1_OK);
    assert_int_equal(gguf_get_string(gguf, "no.such.key", &string, NULL), DSR1_OK);
    assert_int_equal(gguf_get_array(gguf, "no.such.key", &array, NULL), DSR1_OK);
    assert_int_equal(integer, 42);
    assert_true(number == 1.5f && flag);
    assert_int_equal(string.size, 1);
    assert_int_equal(array.n, 0);
    assert_null(gguf_find_tensor(gguf, "no.such.tensor"));
    gguf_close(gguf);
}

static void tensors_are_found_by_name(void **state)
{
    struct gguf *gguf;
    assert_int_equal(gguf_open(GOLDEN "ok.gguf", &gguf, NULL), DSR1_OK);
    assert_int_equal(gguf_n_tensors(gguf), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        assert_ptr_equal(gguf_find_tensor(gguf, tensor->name), tensor);
        assert_true(tensor->size > 0);
        for (int d = tensor->n_dims; d < 4; d++)
            assert_int_equal(tensor->ne[d], 1);
    }
    assert_string_equal(gguf_path(gguf), GOLDEN "ok.gguf");
    gguf_close(gguf);
}

/* The type id of the first tensor is the last u32 before its offset, which is 0. */
static void a_type_without_kernels_is_named(void **state)
{
    size_t size;
    char *bytes = read_all(GOLDEN "type-4.gguf", &size);
    struct gguf *gguf;
    dsr1_error err = {0};
    size_t at = 0;
    const char wanted[12] = {4};
    while (at + 12 <= size && memcmp(bytes + at, wanted, 12) != 0)
        at++;
    assert_true(at + 12 <= size);
    bytes[at] = 16;
    assert_int_equal(gguf_open_memory(bytes, size, &gguf, &err), DSR1_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "IQ2_XXS"));
    assert_non_null(strstr(err.message, "tensor "));
    free(bytes);
}

static void files_that_cannot_be_read_are_io_errors(void **state)
{
    struct gguf *gguf;
    dsr1_error err = {0};
    assert_int_equal(gguf_open("tests/golden/gguf/absent.gguf", &gguf, &err), DSR1_ERR_IO);
    assert_non_null(strstr(err.message, "absent.gguf: No such file"));
    assert_null(gguf);
    assert_int_equal(gguf_open("tests/golden/gguf", &gguf, NULL), DSR1_ERR_IO);
    assert_int_equal(gguf_open("/dev/null", &gguf, NULL), DSR1_ERR_IO);
    gguf_close(NULL);
}

/* ------------------------------------------------------------------ */
/* Split files                                                         */
/* ------------------------------------------------------------------ */

static void split_parts_load_as_one(void **state)
{
    struct gguf *split, *whole;
    dsr1_error err = {0};
    if (gguf_open(GOLDEN "split-00001-of-00003.gguf", &split, &err) < 0)
        fail_msg("%s", err.message);
    if (gguf_open("tests/golden/models/qwen3-f32.gguf", &whole, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(gguf_n_tensors(split), gguf_n_tensors(whole));
    for (size_t i = 0; i < gguf_n_tensors(whole); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(whole, i), *b = gguf_find_tensor(split, a->name);
        assert_non_null(b);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->size, b->size);
        assert_memory_equal(a->ne, b->ne, sizeof a->ne);
        assert_memory_equal(a->data, b->data, a->size);
    }
    struct gguf_string a = {0}, b = {0};
    assert_int_equal(gguf_get_string(whole, "general.architecture", &a, NULL), DSR1_OK);
    assert_int_equal(gguf_get_string(split, "general.architecture", &b, NULL), DSR1_OK);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    gguf_close(split);
    gguf_close(whole);
}

/* Copies the parts under other names; a NULL source leaves that part out. */
static void copy_parts(const char *const sources[3], const char *prefix)
{
    for (int i = 0; i < 3; i++) {
        char name[100];
        size_t size;
        snprintf(name, sizeof name, "%s-%05d-of-00003.gguf", prefix, i + 1);
        unlink(in_folder(name));
        if (!sources[i])
            continue;
        char *bytes = read_all(sources[i], &size);
        write_all(in_folder(name), bytes, size);
        free(bytes);
    }
}

#define PART(n) GOLDEN "split-0000" #n "-of-00003.gguf"

static void split_parts_must_fit_together(void **state)
{
    static const struct {
        const char *parts[3];
        dsr1_status status;
    } cases[] = {
        {{PART(1), PART(2), PART(3)}, DSR1_OK},
        {{PART(1), PART(2), NULL}, DSR1_ERR_IO},
        {{PART(1), PART(3), PART(2)}, DSR1_ERR_FORMAT},
        {{PART(1), PART(2), PART(2)}, DSR1_ERR_FORMAT},
        {{PART(1), PART(1), PART(3)}, DSR1_ERR_FORMAT},
        {{PART(2), PART(2), PART(3)}, DSR1_ERR_FORMAT},
        {{PART(1), PART(2), GOLDEN "ok.gguf"}, DSR1_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gguf *gguf;
        copy_parts(cases[i].parts, "m");
        assert_int_equal(gguf_open(in_folder("m-00001-of-00003.gguf"), &gguf, NULL), cases[i].status);
        gguf_close(gguf);
    }
}

static void a_split_file_is_opened_by_its_first_part_and_name(void **state)
{
    struct gguf *gguf;
    dsr1_error err = {0};
    assert_int_equal(gguf_open(PART(2), &gguf, &err), DSR1_ERR_FORMAT);
    assert_non_null(strstr(err.message, "part 2"));
    const char *const parts[3] = {PART(1), PART(2), PART(3)};
    copy_parts(parts, "n");
    assert_int_equal(rename(in_folder("n-00001-of-00003.gguf"), in_folder("other.gguf")), 0);
    assert_int_equal(gguf_open(in_folder("other.gguf"), &gguf, NULL), DSR1_ERR_FORMAT);
    size_t size;
    char *bytes = read_all(PART(1), &size);
    assert_int_equal(gguf_open_memory(bytes, size, &gguf, NULL), DSR1_ERR_UNSUPPORTED);
    free(bytes);
}

/* ------------------------------------------------------------------ */
/* Writing                                                             */
/* ------------------------------------------------------------------ */

static void write_sample(const char *path)
{
    struct gguf_writer *w;
    static const int64_t ne[2] = {32, 3}, one[1] = {5};
    const struct gguf_string strings[3] = {{"a", 1}, {"", 0}, {"c\0d", 3}};
    const float floats[2] = {1.5f, -2};
    uint8_t bytes[128];
    for (int i = 0; i < 128; i++)
        bytes[i] = (uint8_t) i;
    assert_int_equal(gguf_write_open(path, &w, NULL), DSR1_OK);
    gguf_write_text(w, "general.architecture", "test");
    gguf_write_int(w, "u8", GGUF_U8, 255);
    gguf_write_int(w, "i8", GGUF_I8, -128);
    gguf_write_int(w, "u16", GGUF_U16, 65535);
    gguf_write_int(w, "i16", GGUF_I16, -32768);
    gguf_write_int(w, "u32", GGUF_U32, 4294967295);
    gguf_write_int(w, "i32", GGUF_I32, INT32_MIN);
    gguf_write_int(w, "u64", GGUF_U64, INT64_MAX);
    gguf_write_int(w, "i64", GGUF_I64, INT64_MIN);
    gguf_write_float(w, "f32", 0.25f);
    gguf_write_double(w, "f64", 0.125);
    gguf_write_bool(w, "yes", true);
    gguf_write_strings(w, "strings", strings, 3);
    gguf_write_array(w, "floats", GGUF_F32, floats, 2);
    gguf_write_array(w, "none", GGUF_I32, NULL, 0);
    gguf_write_tensor(w, "blocks", TENSOR_Q8_0, 2, ne);
    gguf_write_tensor(w, "row", TENSOR_F32, 1, one);
    gguf_write_tensor(w, "scalar", TENSOR_F16, 0, NULL);
    gguf_write_data(w, bytes, 100);             /* 102 bytes, 20 and 2: pieces need not end with a tensor */
    gguf_write_data(w, bytes + 100, 4);
    gguf_write_data(w, bytes + 104, 20);
    assert_int_equal(gguf_write_commit(w, NULL), DSR1_OK);
}

static int64_t get_int(const struct gguf *gguf, const char *key)
{
    int64_t value = 7777;
    assert_int_equal(gguf_get_int(gguf, key, &value, NULL), DSR1_OK);
    return value;
}

static void check_sample_keys(const struct gguf *gguf)
{
    struct gguf_array array;
    float number = 0;
    bool flag = false;
    assert_int_equal(get_int(gguf, "u8"), 255);
    assert_int_equal(get_int(gguf, "i8"), -128);
    assert_int_equal(get_int(gguf, "u16"), 65535);
    assert_int_equal(get_int(gguf, "i16"), -32768);
    assert_int_equal(get_int(gguf, "u32"), 4294967295);
    assert_int_equal(get_int(gguf, "i32"), INT32_MIN);
    assert_true(get_int(gguf, "u64") == INT64_MAX);
    assert_true(get_int(gguf, "i64") == INT64_MIN);
    assert_int_equal(gguf_get_float(gguf, "f32", &number, NULL), DSR1_OK);
    assert_true(number == 0.25f);
    assert_int_equal(gguf_get_float(gguf, "f64", &number, NULL), DSR1_OK);
    assert_true(number == 0.125f);
    assert_int_equal(gguf_get_bool(gguf, "yes", &flag, NULL), DSR1_OK);
    assert_true(flag);
    assert_int_equal(gguf_get_array(gguf, "strings", &array, NULL), DSR1_OK);
    assert_int_equal(array.n, 3);
    assert_int_equal(array.strings[2].size, 3);
    assert_memory_equal(array.strings[2].bytes, "c\0d", 3);
    assert_int_equal(gguf_get_array(gguf, "floats", &array, NULL), DSR1_OK);
    assert_true(gguf_array_float(&array, 0) == 1.5f && gguf_array_float(&array, 1) == -2);
    assert_int_equal(gguf_get_array(gguf, "none", &array, NULL), DSR1_OK);
    assert_int_equal(array.n, 0);
}

static void what_was_written_is_read_back(void **state)
{
    struct gguf *gguf;
    write_sample(in_folder("sample.gguf"));
    assert_int_equal(gguf_open(in_folder("sample.gguf"), &gguf, NULL), DSR1_OK);
    check_sample_keys(gguf);
    const struct gguf_tensor *t = gguf_tensor_at(gguf, 0);
    assert_string_equal(t->name, "blocks");
    assert_int_equal(t->size, 102);
    for (int i = 0; i < 102; i++)
        assert_int_equal(t->data[i], i);
    t = gguf_find_tensor(gguf, "row");
    assert_int_equal(t->size, 20);
    assert_int_equal(t->data[0], 102);
    t = gguf_find_tensor(gguf, "scalar");
    assert_int_equal(t->n_dims, 0);
    assert_int_equal(t->size, 2);
    assert_int_equal(t->data[1], 123);
    gguf_close(gguf);
}

static bool skip_u8(struct gguf_string key, void *user)
{
    (*(int *) user)++;
    return key.size == 2 && memcmp(key.bytes, "u8", 2) == 0;
}

static void keys_are_copied_from_another_file(void **state)
{
    struct gguf *from, *to;
    struct gguf_writer *w;
    int asked = 0;
    write_sample(in_folder("sample.gguf"));
    assert_int_equal(gguf_open(in_folder("sample.gguf"), &from, NULL), DSR1_OK);
    assert_int_equal(gguf_write_open(in_folder("copy.gguf"), &w, NULL), DSR1_OK);
    gguf_write_copy_all(w, from, NULL, NULL);
    assert_int_equal(gguf_write_commit(w, NULL), DSR1_OK);
    assert_int_equal(gguf_open(in_folder("copy.gguf"), &to, NULL), DSR1_OK);
    assert_int_equal(gguf_n_keys(to), gguf_n_keys(from));
    check_sample_keys(to);
    gguf_close(to);

    assert_int_equal(gguf_write_open(in_folder("copy.gguf"), &w, NULL), DSR1_OK);
    gguf_write_copy_all(w, from, skip_u8, &asked);
    gguf_write_int(w, "u8", GGUF_U32, 7);
    assert_int_equal(gguf_write_commit(w, NULL), DSR1_OK);
    assert_int_equal(asked, gguf_n_keys(from));
    assert_int_equal(gguf_open(in_folder("copy.gguf"), &to, NULL), DSR1_OK);
    assert_int_equal(get_int(to, "u8"), 7);
    gguf_close(to);
    gguf_close(from);
}

static int count_files(void)
{
    DIR *dir = opendir(folder);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void wrong_int(struct gguf_writer *w)
{
    gguf_write_int(w, "k", GGUF_U8, 256);
}
static void wrong_negative(struct gguf_writer *w)
{
    gguf_write_int(w, "k", GGUF_U64, -1);
}
static void wrong_type(struct gguf_writer *w)
{
    gguf_write_int(w, "k", GGUF_STRING, 1);
}
static void wrong_key_twice(struct gguf_writer *w)
{
    gguf_write_bool(w, "k", true);
    gguf_write_bool(w, "k", true);
}
static void wrong_tensor_twice(struct gguf_writer *w)
{
    float values[16] = {0};
    gguf_write_tensor(w, "t", TENSOR_F32, 1, (const int64_t[]){8});
    gguf_write_tensor(w, "t", TENSOR_F32, 1, (const int64_t[]){8});
    gguf_write_data(w, values, sizeof values);
}
static void wrong_too_little(struct gguf_writer *w)
{
    gguf_write_tensor(w, "t", TENSOR_F32, 1, (const int64_t[]){8});
    gguf_write_data(w, "1234", 4);
}
static void wrong_too_much(struct gguf_writer *w)
{
    float values[9] = {0};
    gguf_write_tensor(w, "t", TENSOR_F32, 1, (const int64_t[]){8});
    gguf_write_data(w, values, sizeof values);
}
static void wrong_block(struct gguf_writer *w)
{
    gguf_write_tensor(w, "t", TENSOR_Q4_0, 1, (const int64_t[]){33});
}
static void wrong_dim(struct gguf_writer *w)
{
    gguf_write_tensor(w, "t", TENSOR_F32, 2, (const int64_t[]){8, 0});
}
static void wrong_product(struct gguf_writer *w)
{
    gguf_write_tensor(w, "t", TENSOR_F32, 3, (const int64_t[]){INT64_C(1) << 31, INT64_C(1) << 31, 4});
}
static void wrong_order(struct gguf_writer *w)
{
    gguf_write_tensor(w, "t", TENSOR_F32, 1, (const int64_t[]){1});
    gguf_write_bool(w, "k", true);
    gguf_write_data(w, "1234", 4);
}

static void wrong_use_is_reported_and_leaves_no_file(void **state)
{
    void (*const wrongs[])(struct gguf_writer *) = {wrong_int, wrong_negative, wrong_type, wrong_key_twice,
        wrong_tensor_twice, wrong_too_little, wrong_too_much, wrong_block, wrong_dim, wrong_product, wrong_order};
    write_sample(in_folder("kept.gguf"));
    int before = count_files();
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        struct gguf_writer *w;
        struct gguf *gguf;
        dsr1_error err = {0};
        assert_int_equal(gguf_write_open(in_folder("kept.gguf"), &w, NULL), DSR1_OK);
        wrongs[i](w);
        assert_int_equal(gguf_write_commit(w, &err), DSR1_ERR_ARGUMENT);
        assert_int_equal(err.status, DSR1_ERR_ARGUMENT);
        assert_int_equal(count_files(), before);
        assert_int_equal(gguf_open(in_folder("kept.gguf"), &gguf, NULL), DSR1_OK);
        gguf_close(gguf);
    }
}

/* A file size limit stands for a full disk: write() fails the same way. */
static void a_full_disk_leaves_the_old_file(void **state)
{
    struct gguf_writer *w;
    struct gguf *gguf;
    struct rlimit old, small;
    dsr1_error err = {0};
    static char zeros[4096];
    write_sample(in_folder("kept.gguf"));
    int before = count_files();
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 1 << 16;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(gguf_write_open(in_folder("kept.gguf"), &w, NULL), DSR1_OK);
    gguf_write_tensor(w, "big", TENSOR_F32, 1, (const int64_t[]){1 << 20});
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 1024; i++)
        gguf_write_data(w, zeros, sizeof zeros);
    dsr1_status status = gguf_write_commit(w, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, DSR1_ERR_IO);
    assert_non_null(strstr(err.message, "File too large"));
    assert_int_equal(count_files(), before);
    assert_int_equal(gguf_open(in_folder("kept.gguf"), &gguf, NULL), DSR1_OK);
    gguf_close(gguf);
}

static void an_aborted_file_never_appears(void **state)
{
    struct gguf_writer *w;
    int before = count_files();
    assert_int_equal(gguf_write_open(in_folder("never.gguf"), &w, NULL), DSR1_OK);
    gguf_write_bool(w, "k", true);
    gguf_write_abort(w);
    gguf_write_abort(NULL);
    assert_int_equal(count_files(), before);
    assert_int_equal(gguf_write_open("/no/such/folder/x.gguf", &w, NULL), DSR1_ERR_IO);
    assert_null(w);
}

/* ------------------------------------------------------------------ */
/* Size                                                                */
/* ------------------------------------------------------------------ */

static double seconds_to_open(int n_keys)
{
    struct gguf_writer *w;
    struct gguf *gguf;
    struct timespec from, to;
    char key[40];
    assert_int_equal(gguf_write_open(in_folder("many.gguf"), &w, NULL), DSR1_OK);
    for (int i = 0; i < n_keys; i++) {
        snprintf(key, sizeof key, "key.%d", i);
        gguf_write_bool(w, key, true);
    }
    assert_int_equal(gguf_write_commit(w, NULL), DSR1_OK);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    assert_int_equal(gguf_open(in_folder("many.gguf"), &gguf, NULL), DSR1_OK);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    gguf_close(gguf);
    return (double) (to.tv_sec - from.tv_sec) + 1e-9 * (double) (to.tv_nsec - from.tv_nsec);
}

/* 16 times the keys would take 256 times as long if duplicates were sought by comparing all. */
static void opening_takes_time_in_proportion_to_the_file(void **state)
{
    double small = seconds_to_open(20000), large = seconds_to_open(320000);
    assert_true(large < 100 * small + 0.05);
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            unlink(in_folder(entry->d_name));
    closedir(dir);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_container_gets_its_verdict),
        cmocka_unit_test(every_prefix_of_a_file_is_refused),
        cmocka_unit_test(values_of_every_type_are_read),
        cmocka_unit_test(a_missing_key_leaves_the_default),
        cmocka_unit_test(tensors_are_found_by_name),
        cmocka_unit_test(a_type_without_kernels_is_named),
        cmocka_unit_test(files_that_cannot_be_read_are_io_errors),
        cmocka_unit_test(split_parts_load_as_one),
        cmocka_unit_test(split_parts_must_fit_together),
        cmocka_unit_test(a_split_file_is_opened_by_its_first_part_and_name),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(keys_are_copied_from_another_file),
        cmocka_unit_test(wrong_use_is_reported_and_leaves_no_file),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(an_aborted_file_never_appears),
        cmocka_unit_test(opening_takes_time_in_proportion_to_the_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
