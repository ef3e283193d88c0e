/*-------------------------------------------------------------------------
 *
 * engine_connection.c
 *	  a socket to the inference engine: frames out, frames in
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "compat.h"
#include "engine_connection.h"
#include "engine_error.h"
#include "miscadmin.h"
#include "settings.h"
#include "state.h"
#include "storage/latch.h"
#include "supervisor.h"
#include "utils/timestamp.h"

#define POLL_INTERVAL	10		/* ms between two looks for the engine */
#define LAUNCH_INTERVAL 2000	/* ms between two attempts to start a supervisor */
#define RECEIVE_SIZE	(64 * 1024)

static pgsocket sock = PGINVALID_SOCKET;
static Oid	greeted_as = InvalidOid;	/* the role that the engine knows us by */
static int	greeted_sharing;		/* dsr1.prefix_sharing then */
static bool greeted = false;	/* and it has greeted us */
static struct wire_reader reader;
static struct buffer out;
static size_t sent = 0;			/* bytes of out */

bool
connection_is_open(void)
{
	return sock != PGINVALID_SOCKET;
}

bool
connection_is_greeted(void)
{
	return greeted;
}

void
connection_close(void)
{
	if (sock != PGINVALID_SOCKET)
		close(sock);
	sock = PGINVALID_SOCKET;
	greeted = false;
	wire_reader_free(&reader);
	buffer_free(&out);
	sent = 0;
}

bool
connection_is_stale(void)
{
	char		byte;
	ssize_t		n;

	/* The engine scopes what requests share by role, which SET ROLE changes. */
	if (greeted_as != GetUserId() || greeted_sharing != setting_prefix_sharing)
		return true;
	n = recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* ------------------------------------------------------------------
 *	Opening
 * ------------------------------------------------------------------
 */

static bool
greet(void)
{
	struct wire_hello hello = {
		.protocol = WIRE_PROTOCOL,
		.peer = WIRE_PEER_BACKEND,
		.pid = MyProcPid,
		.database = setting_prefix_sharing == SHARING_CLUSTER ? InvalidOid : MyDatabaseId,
		.role = setting_prefix_sharing == SHARING_ROLE ? GetUserId() : InvalidOid,
		.version = wire_text(DSR1_VERSION),
		.model = wire_text(""),
		.phases = WAIT_EVENTS_HAVE_NAMES
	};

	greeted_as = GetUserId();
	greeted_sharing = setting_prefix_sharing;
	return wire_put_hello(&out, &hello);
}

static bool
try_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	connection_close();
	strlcpy(address.sun_path, STATE_SOCKET, sizeof(address.sun_path));
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock == PGINVALID_SOCKET)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create socket for the inference engine: %m")));
	if (connect(sock, (struct sockaddr *) &address, sizeof(address)) == 0 && greet())
		return true;
	connection_close();
	return false;
}

static void
raise_not_ready(const State *state, bool no_slot)
{
	ereport(ERROR,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("inference engine is not ready after %d ms", setting_start_timeout),
			 errdetail("Its state is \"%s\".", state_phase_name(state->phase)),
			 no_slot ?
			 errhint("There was no slot for its background worker: raise max_worker_processes, or add dsr1 to shared_preload_libraries.") :
			 errhint("Try again later, or raise dsr1.start_timeout.")));
}

/*
 * Every backend that finds no supervisor may ask for one; all but one of them
 * end at once.  The pause lets them do so before more are asked for.
 */
static void
launch_supervisor(TimestampTz *launched_at, bool *no_slot)
{
	TimestampTz now = GetCurrentTimestamp();

	if (*launched_at && !TimestampDifferenceExceeds(*launched_at, now, LAUNCH_INTERVAL))
		return;
	*no_slot = !supervisor_launch();
	if (!*no_slot)
		*launched_at = now;
}

bool
connection_try_open(void)
{
	State		state;

	state_read(&state);
	return state.phase == ENGINE_READY && try_connect();
}

void
connection_open(TimestampTz since)
{
	TimestampTz launched_at = 0;
	bool		no_slot = false;
	State		state;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		state_read(&state);
		if (state.phase == ENGINE_READY && try_connect())
			return;
		if (state.phase == ENGINE_FAILED)
			engine_error_failed(&state);
		if (state.phase == ENGINE_STOPPED)
			launch_supervisor(&launched_at, &no_slot);
		if (TimestampDifferenceExceeds(since, GetCurrentTimestamp(), setting_start_timeout))
			raise_not_ready(&state, no_slot);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POLL_INTERVAL, wait_event(WAIT_ENGINE_START));
		ResetLatch(MyLatch);
	}
}

/* ------------------------------------------------------------------
 *	Bytes
 * ------------------------------------------------------------------
 */

bool
connection_put(const char *bytes, size_t size)
{
	buffer_append(&out, bytes, size);
	return !out.failed;
}

bool
connection_flush(void)
{
	ssize_t		n;

	while (sent < out.size &&
		   (n = send(sock, out.data + sent, out.size - sent, MSG_NOSIGNAL)) > 0)
		sent += (size_t) n;
	if (sent < out.size)
		return false;
	buffer_drop(&out, sent);
	sent = 0;
	return true;
}

/* What recv tells of the connection, receiving all that is there. */
static ConnectionEnd
receive(void)
{
	for (;;)
	{
		char	   *room = wire_reader_room(&reader, RECEIVE_SIZE);
		ssize_t		n;

		if (room == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed while receiving from the inference engine.")));
		n = recv(sock, room, RECEIVE_SIZE, 0);
		if (n > 0)
		{
			wire_reader_received(&reader, (size_t) n);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
			return CONNECTION_LIVES;
		return CONNECTION_DIED;
	}
}

ConnectionEnd
connection_wait(long timeout_ms, WaitEventName name)
{
	int			events = WL_LATCH_SET | WL_SOCKET_READABLE | WL_EXIT_ON_PM_DEATH;

	if (!connection_flush())
		events |= WL_SOCKET_WRITEABLE;
	if (timeout_ms >= 0)
		events |= WL_TIMEOUT;
	events = WaitLatchOrSocket(MyLatch, events, sock, timeout_ms, wait_event(name));
	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (events & WL_SOCKET_READABLE)
		return receive();
	return CONNECTION_LIVES;
}

bool
connection_next_frame(struct wire_frame *frame, ConnectionEnd *end)
{
	int			got = wire_reader_next(&reader, frame);

	if (got < 0)
		*end = CONNECTION_DIED; /* not the stream of an engine in good health */
	if (got > 0 && frame->type == WIRE_HELLO)
		greeted = true;

	/*
	 * The socket of an engine that is being killed takes connections for a
	 * moment longer.
	 */
	if (got <= 0 && *end == CONNECTION_DIED && !greeted)
		*end = CONNECTION_LEFT;
	if (got > 0 && frame->type == WIRE_GOODBYE)
	{
		*end = CONNECTION_LEFT;
		return false;
	}
	return got > 0;
}
