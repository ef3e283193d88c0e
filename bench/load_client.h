/*
 * load_client.h - requests to a dsr1-engine over several connections, and when their answers came
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include "wire/wire_message.h"

/* Seconds of clock_seconds(); 0 where it has not happened. */
struct load_request {
    double due, first, last, done;  /* due: when it should be sent, which is what latencies count from */
    int n_prompt, n_answer;         /* tokens wished for */
    const char *failure;            /* NULL: none; a static or leaked string */
    dsr1_usage usage;
    size_t prompt, prompt_size;     /* in load.prompts */
};

struct load_connection {
    int fd;
    struct buffer out;
    struct wire_reader reader;
};

struct load {
    struct load_connection *connections;
    int n_connections;
    struct load_request *requests;
    int n_requests, n_sent, n_done;
    struct buffer prompts;          /* texts, one after the other */
    double *gaps;                   /* seconds between two pieces of one answer */
    size_t n_gaps, gaps_capacity;
    double rate;                    /* requests a second; 0: closed loop */
    int concurrency;
    float temperature;
    const char *const *labels;      /* instead of an answer, how likely each of these would be */
    size_t n_labels;
    const char *system;             /* prompts are turns of a user behind this one; NULL: raw texts */
    uint64_t seed;
    double start;                   /* when the first request was due */
    /* answers to questions */
    struct wire_stats stats;
    uint64_t n_tokens;
    bool answered;
};

/* n connections to the engine at path; DSR1_ERR_IO. */
dsr1_status load_client_open(struct load *load, const char *path, int n, dsr1_error *err);
void load_client_close(struct load *load);

/* Fills load->stats. */
dsr1_status load_client_stats(struct load *load, dsr1_error *err);

/* Tokens of a text, in load->n_tokens. */
dsr1_status load_client_tokens(struct load *load, const char *text, size_t size, dsr1_error *err);

/* Sends all requests, each when it is due, and returns when the last is answered. A refused one is no failure. */
dsr1_status load_client_run(struct load *load, dsr1_error *err);

#endif
