/*
 * test_base_sha256.c - core/base/sha256.c
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* FIPS 180-2, appendix B, and the empty message. */
static void known_messages_have_known_digests(void **state)
{
    (void) state;
    static const struct {
        const char *message, *digest;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct sha256 sha;
        char digits[SHA256_DIGITS + 1];
        sha256_begin(&sha);
        sha256_add(&sha, known[i].message, strlen(known[i].message));
        sha256_end(&sha, digits);
        assert_string_equal(digits, known[i].digest);
    }
}

static void a_million_letters_in_any_pieces(void **state)
{
    (void) state;
    char letters[200];
    memset(letters, 'a', sizeof letters);
    for (size_t piece = 1; piece <= sizeof letters; piece += 33) {
        struct sha256 sha;
        char digits[SHA256_DIGITS + 1];
        sha256_begin(&sha);
        for (size_t left = 1000000; left > 0; left -= piece < left ? piece : left)
            sha256_add(&sha, letters, piece < left ? piece : left);
        sha256_end(&sha, digits);
        assert_string_equal(digits, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_messages_have_known_digests),
        cmocka_unit_test(a_million_letters_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
