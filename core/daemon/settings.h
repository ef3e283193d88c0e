/*
 * settings.h - the engine process's command line, and how a supervisor runs it
 *
 * Start: fork, close every descriptor but 0-2 and one end of a
 * socketpair(AF_UNIX, SOCK_STREAM), setsid, empty signal mask, then
 *
 *     dsr1-engine --model FILE --socket PATH --parent-fd N [--threads N] [--context N] [--kv-size MB]
 *                 [--max-batch N] [--max-queue N] [--chunk N] [--adapters DIR] [--digests FILE]
 *
 * N is that end's descriptor. A number of 0 is the same as none: the engine
 * chooses. DSR1_CPU is the one variable it reads. stdin and stdout stay unused;
 * stderr gets wrong usage, and a failure that N did not take. Then the engine
 *
 *   - asks to be killed (SIGKILL) when the thread that forked it ends, and
 *     raises its oom_score_adj to 900;
 *   - writes the lines of parent.h to N: "loading" first, then "ready" or
 *     "failed STATUS REASON". From "ready" on clients can connect to PATH
 *     (mode 0600, processes of the same user). Between the two no line but
 *     "log" comes, however long loading takes: no heartbeat deadline there;
 *   - after "ready" writes "beat" about once a second, also in the middle of a
 *     long step. Beats stop when one step lasts longer than 60 seconds, or when
 *     the process hangs: ten seconds of silence are a reason to SIGKILL it;
 *   - reads N and drops what comes: nothing is to be sent. N's end ends it.
 *
 * Signals after "ready": SIGTERM (and N's end) says GOODBYE to all clients and
 * ends, within a second or so even amidst a long step; SIGQUIT ends at once;
 * SIGHUP and SIGPIPE are ignored; SIGINT too with a parent, else it is as
 * SIGTERM. While loading SIGTERM simply kills.
 *
 * Exit status: 0 after SIGTERM, the parent's end, --help, --version; 1 after a
 * failure ("failed" line); 2 after wrong usage (one line on stderr) and SIGQUIT.
 * Clean ends remove PATH; a next engine replaces what a crash left there.
 *
 * Without --parent-fd lines for people go to stderr instead, and nothing else
 * but SIGTERM, SIGINT and SIGQUIT ends it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include "dsr1.h"

struct settings {
    const char *model;
    const char *socket;
    const char *adapters;       /* folder, or NULL: none are served */
    const char *digests;        /* file that notes models' digests, or NULL */
    int parent_fd;              /* -1: nobody's child */
    dsr1_engine_options engine;
};

enum { SETTINGS_GO = -1 };

/* SETTINGS_GO, or the exit status: 0 after --help or --version, 2 after a line about what is wrong. */
int settings_parse(struct settings *settings, int argc, char **argv);

#endif
