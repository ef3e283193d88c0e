/*-------------------------------------------------------------------------
 *
 * engine_client.h
 *	  a backend's requests to the inference engine
 *
 * A backend has one connection and any number of requests on it:
 *
 *		request = engine_request_new();
 *		wire_put_complete(&request->frame, request->id, ...);
 *		engine_request_send(request);
 *		engine_request_wait(request);
 *		... request->answer ...
 *		engine_request_free(request);
 *
 * A request lives in the memory context that it was made in, and is cancelled
 * and freed with it; so an error in between needs no care.  When the engine
 * dies, a request is sent again to the next one, once.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ENGINE_CLIENT_H
#define ENGINE_CLIENT_H

#include "compat.h"
#include "lib/ilist.h"
#include "utils/palloc.h"

#include "wire/wire_message.h"

typedef enum EngineRequestState
{
	REQUEST_NEW,				/* not on its way yet */
	REQUEST_SENT,				/* on this connection */
	REQUEST_ANSWERED,			/* the answer is there */
	REQUEST_LOST				/* the engine died too often while it ran */
} EngineRequestState;

typedef struct EngineRequest
{
	dlist_node	node;			/* in the list of all that wait */
	uint64		id;
	EngineRequestState state;
	int			lives;			/* deaths of the engine that it survives */
	int64		job;			/* that it is for, or 0 */
	uint64		number;			/* in views and logs; 0: not admitted yet */
	int			place;			/* in the list of requests, or -1 */
	bool		tracked;		/* dsr1_stat_usage counts it */
	struct buffer frame;		/* what was asked, kept to be asked again */
	bool		listed;			/* not answered yet, so in the list */
	int			n_sent;			/* how often it was asked */
	dsr1_phase	phase;			/* since then, where the engine tells */
	struct buffer events;		/* TEXT frames' payloads since then, as texts */
	unsigned	answer_type;	/* of the frame that ended it, e.g. WIRE_DONE */
	struct buffer answer;		/* the payload of that frame */
	MemoryContextCallback callback;
} EngineRequest;

extern EngineRequest *engine_request_new(void);

/* What it asks for: enum wire_type; 0 as long as its frame is not put. */
extern int	engine_request_kind(const EngineRequest *request);

/*
 * Connects if need be, waiting for the engine up to dsr1.start_timeout.  The
 * frame must have been put whole.
 */
extern void engine_request_send(EngineRequest *request);

/* The same for all requests that are not on their way yet, in one go. */
extern void engine_send_requests(void);

/* How many wait for their answers. */
extern int	engine_requests_in_flight(void);

/*
 * Waits for the answer, and raises an error if it is one, or does not come.
 * Interrupts are served meanwhile.  The request is cancelled in that case.
 */
extern void engine_request_wait(EngineRequest *request);

/*
 * The same, but an answer that is an error is an answer, and nothing is freed
 * when the wait fails.
 */
extern void engine_request_finish(EngineRequest *request);

/* Waits for one more event, or the answer.  Events arrive with `stream`. */
extern void engine_request_listen(EngineRequest *request);

/* Raises the error that a request was answered with. */
extern void engine_request_raise(const EngineRequest *request) pg_attribute_noreturn();

/*
 * For those with many requests: sends what is new, connecting as above, and
 * waits up to so long for something to come.  Each request's state tells then.
 */
extern void engine_requests_pump(long timeout_ms);

/*
 * For what takes the engine no time.  Sends only if it is ready now, and waits
 * for the answer of this one engine: false if there is none, or it ended
 * meanwhile, or has not answered after two seconds.
 */
extern bool engine_request_try(EngineRequest *request);

/* The frame that answered, for wire_get_*(). */
extern struct wire_frame engine_request_answer(const EngineRequest *request);

extern void engine_request_free(EngineRequest *request);

/* Raises the error that an answer makes no sense. */
extern void engine_answer_broken(void) pg_attribute_noreturn();

#endif							/* ENGINE_CLIENT_H */
