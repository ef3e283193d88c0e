/*-------------------------------------------------------------------------
 *
 * state.c
 *	  what the supervisor lets others know, and that there is only one
 *
 * Without shared_preload_libraries there is no shared memory that processes
 * could find by name before PostgreSQL 17.  So the state is a small file,
 * replaced as a whole when it changes, which is rarely; and the supervisor is
 * whoever holds a lock on another one.  The kernel drops the lock when its
 * holder ends, however it ends, and tells everybody else who holds it.  The
 * same way serves preloaded and not, on every version.
 *
 * The files lie in pg_stat_tmp, where pg_stat_statements keeps its texts too:
 * base backups and pg_rewind leave that directory's contents out, sockets
 * among them.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "state.h"

#define LOCK_FILE	PG_STAT_TMP_DIR "/dsr1.lock"
#define STATE_FILE	PG_STAT_TMP_DIR "/dsr1.state"

#define STATE_MAGIC	0x64737201	/* changes with the struct */

static bool is_supervisor = false;

bool
state_become_supervisor(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int			fd;

	/*
	 * Kept open until the process ends.  Such a lock is lost when the process
	 * closes any descriptor of the file, so the supervisor never opens it
	 * again; a child made by fork does not inherit it.
	 */
	fd = BasicOpenFile(LOCK_FILE, O_RDWR | O_CREAT | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", LOCK_FILE)));
	if (fcntl(fd, F_SETLK, &lock) < 0)
	{
		close(fd);
		return false;
	}
	ReserveExternalFD();
	is_supervisor = true;
	return true;
}

/* The process that holds the supervisor's lock, or 0. */
static pid_t
lock_holder(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int			fd;
	int			rc;

	Assert(!is_supervisor);
	fd = OpenTransientFile(LOCK_FILE, O_RDONLY | PG_BINARY);
	if (fd < 0)
		return 0;
	rc = fcntl(fd, F_GETLK, &lock);
	CloseTransientFile(fd);
	return rc < 0 || lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

void
state_write(State *state)
{
	const char *temporary = STATE_FILE ".tmp";
	bool		written = false;
	int			save_errno;
	int			fd;

	state->magic = STATE_MAGIC;
	state->supervisor_pid = MyProcPid;
	fd = OpenTransientFile(temporary, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY);
	if (fd >= 0)
	{
		errno = 0;
		written = write(fd, state, sizeof(State)) == sizeof(State);
		/* if write didn't set errno, assume problem is no disk space */
		if (!written && errno == 0)
			errno = ENOSPC;
		save_errno = errno;
		CloseTransientFile(fd);
		errno = save_errno;
	}

	/* The engine runs on; who asks for it waits until there is room. */
	if (!written || rename(temporary, STATE_FILE) < 0)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", STATE_FILE)));
}

void
state_read(State *state)
{
	pid_t		holder = lock_holder();
	int			fd;
	ssize_t		n = 0;

	memset(state, 0, sizeof(*state));
	if (holder == 0)
		return;
	fd = OpenTransientFile(STATE_FILE, O_RDONLY | PG_BINARY);
	if (fd >= 0)
	{
		n = read(fd, state, sizeof(*state));
		CloseTransientFile(fd);
	}

	/* What an earlier supervisor, or one of another version, left behind */
	if (n != sizeof(*state) || state->magic != STATE_MAGIC ||
		state->supervisor_pid != holder)
	{
		memset(state, 0, sizeof(*state));
		state->phase = ENGINE_STARTING;
		state->supervisor_pid = holder;
	}
	state->last_error[sizeof(state->last_error) - 1] = '\0';
	state_clean_message(state->last_error);
}

const char *
state_phase_name(StatePhase phase)
{
	switch (phase)
	{
		case ENGINE_STOPPED:
			return "stopped";
		case ENGINE_STARTING:
			return "starting";
		case ENGINE_LOADING:
			return "loading";
		case ENGINE_READY:
			return "ready";
		case ENGINE_RESTARTING:
			return "restarting";
		case ENGINE_FAILED:
			return "failed";
	}
	return "unknown";
}

/*
 * Messages quote names out of model files, which may hold anything.
 */
void
state_clean_message(char *message)
{
	bool		utf8;

	utf8 = GetDatabaseEncoding() == PG_UTF8 &&
		pg_verify_mbstr(PG_UTF8, message, strlen(message), true);
	for (char *c = message; *c; c++)
	{
		unsigned char byte = (unsigned char) *c;

		if (byte < ' ' || byte == 0x7f || (byte >= 0x80 && !utf8))
			*c = '?';
	}
}
