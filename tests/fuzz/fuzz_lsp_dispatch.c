/*
 * fuzz_lsp_dispatch.c - a whole server, without a model, is sent any bodies
 *
 * Bodies are separated by a zero byte; `initialize` comes before them. The
 * server must end by itself at the end of the input.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "server.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_body(int fd, const void *body, size_t size)
{
    dprintf(fd, "Content-Length: %zu\r\n\r\n", size);
    if (write(fd, body, size) < 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char initialize[] =
        "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"capabilities\":"
        "{\"workspace\":{\"configuration\":true},\"window\":{\"workDoneProgress\":true}}}}";
    static const char open_document[] =
        "{\"jsonrpc\":\"2.0\",\"method\":\"textDocument/didOpen\",\"params\":{\"textDocument\":"
        "{\"uri\":\"a\",\"languageId\":\"c\",\"version\":1,\"text\":\"int x;\\r\\nint y;\\n\"}}}";
    static int nothing = -1;
    if (nothing < 0)
        nothing = open("/dev/null", O_WRONLY);
    int in = memfd_create("input", MFD_CLOEXEC);
    if (in < 0 || nothing < 0)
        abort();
    send_body(in, initialize, sizeof initialize - 1);
    send_body(in, open_document, sizeof open_document - 1);
    while (size > 0) {
        const uint8_t *end = memchr(data, 0, size);
        size_t n = end ? (size_t) (end - data) : size;
        send_body(in, data, n);
        data += n + (end != NULL);
        size -= n + (end != NULL);
    }
    lseek(in, 0, SEEK_SET);
    struct server_options options = {.in = in, .out = nothing,
                                     .settings = json_pack("{s: s, s: s}", "core.model", "/dev/null/none", "log.file", "/dev/null")};
    server_run(&options);
    json_decref(options.settings);
    close(in);
    return 0;
}
