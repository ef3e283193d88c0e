/*
 * test_pack.c - claims about core/model/pack*.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "model/pack_parts.h"

static const char MODEL[] = "tests/golden/models/deepseek-q4k.gguf", OTHER[] = "tests/golden/models/deepseek-f32.gguf";
static const char FILE_PATH[] = "build/tests/test_pack.pack";

struct fixture {
    struct gguf *gguf;
    struct model_shape shape;
    struct weights weights;
};

static void start(struct fixture *f, const char *path)
{
    assert_int_equal(gguf_open(path, &f->gguf, NULL), DSR1_OK);
    assert_int_equal(model_shape_read(f->gguf, &f->shape, NULL), DSR1_OK);
    assert_int_equal(weights_open(f->gguf, &f->shape, &f->weights, NULL), DSR1_OK);
}

static void finish(struct fixture *f)
{
    weights_close(&f->weights);
    gguf_close(f->gguf);
}

static void write_byte(long at, int flip)
{
    FILE *file = fopen(FILE_PATH, "r+b");
    assert_non_null(file);
    fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    int byte = getc(file) ^ flip;
    fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    putc(byte, file);
    fclose(file);
}

static void write_pack(struct fixture *f)
{
    start(f, MODEL);
    assert_int_equal(pack_write(&f->weights, FILE_PATH, NULL, NULL), DSR1_OK);
}

static void assert_refused(struct weights *weights, const char *why)
{
    dsr1_error err = {0};
    assert_int_equal(pack_map(weights, FILE_PATH, &err), DSR1_ERR_FORMAT);
    assert_non_null(strstr(err.message, why));
    assert_null(weights->panels);
}

static void a_file_holds_what_packing_makes(void **state)
{
    (void) state;
    struct fixture f, g;
    struct thread_pool *pool;
    write_pack(&f);
    start(&g, MODEL);
    assert_int_equal(thread_pool_open(2, &pool, NULL), DSR1_OK);
    assert_int_equal(pack_memory(&g.weights, pool, NULL), DSR1_OK);
    thread_pool_close(pool);
    assert_int_equal(pack_map(&f.weights, FILE_PATH, NULL), DSR1_OK);
    assert_int_equal(f.weights.panels_size, pack_size(&g.weights));
    assert_int_equal(f.weights.panels_size, g.weights.panels_size);
    assert_memory_equal(f.weights.panels, g.weights.panels, g.weights.panels_size);
    assert_ptr_equal(f.weights.output.panels - f.weights.panels, g.weights.output.panels - g.weights.panels);

    /* Written from packed weights, it is the same file. */
    finish(&f);
    start(&f, MODEL);
    assert_int_equal(pack_write(&g.weights, FILE_PATH, NULL, NULL), DSR1_OK);
    assert_int_equal(pack_check(&f.weights, FILE_PATH, NULL), DSR1_OK);
    finish(&f);
    finish(&g);
}

static void a_damaged_file_is_refused(void **state)
{
    (void) state;
    struct fixture f;
    write_pack(&f);
    for (long at = 0; at < (long) sizeof(struct pack_head); at++) {
        write_byte(at, 0x40);
        assert_refused(&f.weights, "");
        write_byte(at, 0x40);
    }
    assert_int_equal(pack_check(&f.weights, FILE_PATH, NULL), DSR1_OK);
    write_byte(-200, 1);
    assert_int_equal(pack_check(&f.weights, FILE_PATH, NULL), DSR1_ERR_FORMAT);
    write_byte(-200, 1);
    long size = PACK_START + (long) pack_size(&f.weights);
    assert_int_equal(truncate(FILE_PATH, size - 1), 0);
    assert_refused(&f.weights, "bytes, not");
    assert_int_equal(truncate(FILE_PATH, size + 1), 0);
    assert_refused(&f.weights, "bytes, not");
    assert_int_equal(truncate(FILE_PATH, 10), 0);
    assert_refused(&f.weights, "10 bytes");
    assert_int_equal(truncate(FILE_PATH, 0), 0);
    assert_refused(&f.weights, "0 bytes");
    finish(&f);
}

/* A layout that changed without a new version: the panels are those of no weights. */
static void other_panels_are_refused(void **state)
{
    (void) state;
    struct fixture f;
    write_pack(&f);
    FILE *file = fopen(FILE_PATH, "r+b");
    fseek(file, PACK_START, SEEK_SET);
    for (size_t i = 0; i < pack_size(&f.weights); i++)
        putc(0x5a, file);
    fclose(file);
    assert_refused(&f.weights, "not those of the weights");
    finish(&f);
}

static void a_file_of_other_weights_is_refused(void **state)
{
    (void) state;
    struct fixture f, g;
    char name[PACK_NAME], other[PACK_NAME];
    write_pack(&f);
    start(&g, OTHER);
    assert_refused(&g.weights, "other weights");
    pack_name(&f.weights, name);
    pack_name(&g.weights, other);
    assert_int_equal(strlen(name), PACK_NAME - 1);
    assert_string_not_equal(name, other);
    finish(&f);
    finish(&g);
}

/* The name depends on the bytes: one changed value of a matrix is another model. */
static void a_name_is_made_of_the_weights(void **state)
{
    (void) state;
    struct fixture f, g;
    char name[PACK_NAME], other[PACK_NAME];
    start(&f, MODEL);
    start(&g, MODEL);
    pack_name(&f.weights, name);
    struct weight *q = &g.weights.layers[0].o;
    size_t size = q->row_size * (size_t) q->n_out;
    uint8_t *copy = malloc(size);
    memcpy(copy, q->data, size);
    q->data = copy;
    pack_name(&g.weights, other);
    assert_string_equal(name, other);
    copy[0] ^= 1;
    pack_name(&g.weights, other);
    assert_string_not_equal(name, other);
    free(copy);
    finish(&f);
    finish(&g);
}

static void a_stopped_writer_leaves_nothing(void **state)
{
    (void) state;
    struct fixture f;
    const atomic_bool stop = true;
    start(&f, MODEL);
    unlink(FILE_PATH);
    assert_int_equal(pack_write(&f.weights, FILE_PATH, &stop, NULL), DSR1_ERR_CANCELLED);
    assert_int_equal(access(FILE_PATH, F_OK), -1);
    assert_int_equal(pack_write(&f.weights, "build/absent/x.pack", NULL, NULL), DSR1_ERR_IO);
    finish(&f);
}

static void the_cache_directory_is_what_the_environment_says(void **state)
{
    (void) state;
    struct fixture f;
    char path[PACK_PATH], name[PACK_NAME];
    start(&f, MODEL);
    pack_name(&f.weights, name);
    setenv("HOME", "/home/x", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("DSR1_PACK_DIR");
    assert_true(pack_cached_path(&f.weights, path));
    assert_memory_equal(path, "/home/x/.cache/dsr1/packs/", 26);
    setenv("XDG_CACHE_HOME", "/c", 1);
    assert_true(pack_cached_path(&f.weights, path));
    assert_memory_equal(path, "/c/dsr1/packs/", 14);
    setenv("DSR1_PACK_DIR", "/p", 1);
    assert_true(pack_cached_path(&f.weights, path));
    assert_memory_equal(path, "/p/", 3);
    assert_memory_equal(path + 3, name, PACK_NAME - 1);
    assert_string_equal(path + 3 + PACK_NAME - 1, ".pack");
    assert_false(pack_beside("", path));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_holds_what_packing_makes),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(other_panels_are_refused),
        cmocka_unit_test(a_file_of_other_weights_is_refused),
        cmocka_unit_test(a_name_is_made_of_the_weights),
        cmocka_unit_test(a_stopped_writer_leaves_nothing),
        cmocka_unit_test(the_cache_directory_is_what_the_environment_says),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(FILE_PATH);
    return failed;
}
