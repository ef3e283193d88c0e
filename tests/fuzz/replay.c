/*
 * replay.c - every file of a folder through a fuzz target, without a fuzzer
 *
 *     replay_NAME FOLDER
 *
 * Ends with 1 where the folder holds nothing; a finding ends it as it would end
 * the fuzzer, and the last line tells which file it was.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static char path[4096];         /* of the input at hand */

static void tell(void)
{
    fprintf(stderr, "# the input was %s\n", path);
}

static void on_abort(int signal_number)
{
    tell();
}

/* In memory of exactly its size, so that a read behind it is seen. */
static int replay_file(void)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return 1;
    long size = ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(size > 0 ? (size_t) size : 1);
    if (size < 0 || !bytes || fread(bytes, 1, (size_t) size, file) != (size_t) size)
        return 1;
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t) size);
    free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int n_files = 0, failed = 0;
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(tell);
    signal(SIGABRT, on_abort);
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    int n = argc == 2 ? scandir(argv[1], &entries, NULL, alphasort) : -1;
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
            failed += replay_file();
            n_files++;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    printf("# %s: %d inputs\n", argc == 2 ? argv[1] : "no folder", n_files);
    return n_files == 0 || failed;
}
