/*-------------------------------------------------------------------------
 *
 * engine_process.h
 *	  the supervisor's child, dsr1-engine
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ENGINE_PROCESS_H
#define ENGINE_PROCESS_H

#include "datatype/timestamp.h"

typedef struct EngineProcess
{
	pid_t		pid;			/* 0: there is none */
	int			fd;				/* a socket to it; -1 once it was closed */
	TimestampTz last_sign;		/* when it was started or last heard of */
	size_t		line_length;
	char		line[1500];		/* the beginning of a line */
} EngineProcess;

/* What the engine says, core/daemon/parent.h has it in full. */
typedef void (*EngineLineFunction) (const char *line, void *arg);

/*
 * Starts a program.  A program that cannot be executed says so in a line
 * "failed STATUS REASON", as it would do itself.  False, with a logged
 * message, if there cannot be another process now.
 */
extern bool engine_process_start(EngineProcess *process, char *const argv[]);

/* Hands every whole line that has come to the function. */
extern void engine_process_read(EngineProcess *process,
								EngineLineFunction function, void *arg);

/* Has it ended?  If so, *status is waitpid's, and process->pid is 0. */
extern bool engine_process_ended(EngineProcess *process, int *status);

/* SIGTERM, patience, SIGKILL; returns when it has ended. */
extern void engine_process_stop(EngineProcess *process, int patience_ms);

#endif							/* ENGINE_PROCESS_H */
