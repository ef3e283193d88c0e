/*-------------------------------------------------------------------------
 *
 * engine_connection.h
 *	  a socket to the inference engine: frames out, frames in
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ENGINE_CONNECTION_H
#define ENGINE_CONNECTION_H

#include "datatype/timestamp.h"
#include "wait_event.h"

#include "wire/wire_message.h"

typedef enum ConnectionEnd
{
	CONNECTION_LIVES,
	CONNECTION_DIED,			/* the engine ended unexpectedly */
	CONNECTION_LEFT				/* it said goodbye, or never hello: what was
								 * asked has done it no harm */
} ConnectionEnd;

extern bool connection_is_open(void);

/* Has the engine greeted on this connection? */
extern bool connection_is_greeted(void);

/*
 * Opens the connection and greets.  Starts the supervisor if there is none,
 * and waits for the engine up to dsr1.start_timeout, counted from since; raises
 * an error then.
 */
extern void connection_open(TimestampTz since);

/* Opens it only if the engine is ready now. */
extern bool connection_try_open(void);

/* Has the other side hung up by now? */
extern bool connection_is_stale(void);

extern void connection_close(void);

/* Queues bytes to be sent; memory may be short. */
extern bool connection_put(const char *bytes, size_t size);

/* Sends what the socket takes.  False: all of it could not go out now. */
extern bool connection_flush(void);

/*
 * Waits until something can be received, or sent if need be, or the latch is
 * set, or the time is over; serves interrupts; then sends and receives.
 */
extern ConnectionEnd connection_wait(long timeout_ms, WaitEventName name);

/* The next frame that was received; false if there is none. */
extern bool connection_next_frame(struct wire_frame *frame, ConnectionEnd *end);

#endif							/* ENGINE_CONNECTION_H */
