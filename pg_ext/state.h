/*-------------------------------------------------------------------------
 *
 * state.h
 *	  what the supervisor lets others know, and that there is only one
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef STATE_H
#define STATE_H

#include "datatype/timestamp.h"
#include "pgstat.h"

#include "dsr1.h"

/*
 * The engine's socket.  Backends and engine reach it by this relative path,
 * for all of them work in the data directory: so its length does not depend
 * on where that lies, and the 107 bytes of a socket's address suffice.
 */
#define STATE_SOCKET	PG_STAT_TMP_DIR "/dsr1.sock"

/* Where engine and trainer note the SHA-256 of model files, so that each is read for it once. */
#define STATE_DIGESTS	PG_STAT_TMP_DIR "/dsr1.digests"

typedef enum StatePhase
{
	ENGINE_STOPPED = 0,			/* there is no supervisor */
	ENGINE_STARTING,
	ENGINE_LOADING,
	ENGINE_READY,
	ENGINE_RESTARTING,			/* the engine died and is started again soon */
	ENGINE_FAILED				/* it does not start; tried again rarely */
} StatePhase;

typedef struct State
{
	uint32		magic;
	StatePhase	phase;
	pid_t		supervisor_pid;
	pid_t		engine_pid;		/* 0: none */
	TimestampTz ready_at;
	int64		restarts;
	dsr1_status last_status;	/* of last_error, as far as known */
	char		last_error[512];
} State;

/*
 * Makes this process the supervisor, until it ends.  False if there is one
 * already.
 */
extern bool state_become_supervisor(void);

/* For the supervisor: publishes *state; a failure is logged. */
extern void state_write(State *state);

/*
 * For everybody else: what the supervisor published last, or ENGINE_STOPPED if
 * there is none.  last_error is fit to be shown.
 */
extern void state_read(State *state);

extern const char *state_phase_name(StatePhase phase);

/* Replaces, in place, what the database's encoding does not surely hold. */
extern void state_clean_message(char *message);

#endif							/* STATE_H */
