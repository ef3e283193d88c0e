/*-------------------------------------------------------------------------
 *
 * engine_process.c
 *	  the supervisor's child, dsr1-engine
 *
 * The child shall have nothing of PostgreSQL's: between fork and exec it
 * closes every descriptor but the standard ones and its end of a socket,
 * resets signals, and offers itself to the kernel as the process to kill when
 * memory is short.  It stays in the supervisor's process group, so that a
 * shutdown reaches it even when the supervisor hangs.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compat.h"
#include "dsr1.h"
#include "engine_process.h"
#include "utils/timestamp.h"

#define CHILD_FD	3			/* its socket, named by --parent-fd */

extern char **environ;

/* ------------------------------------------------------------------
 *	In the child
 *
 *	Only what is safe after fork, and nothing that could raise an error.
 * ------------------------------------------------------------------
 */

static void
write_bytes(int fd, const char *bytes, size_t size)
{
	ssize_t		n = write(fd, bytes, size);

	(void) n;					/* there is nobody else to tell */
}

static void
child_close_files(int socket)
{
	struct rlimit limit;
	int			null = open("/dev/null", O_RDWR);
	int			last = 1024;

	if (null >= 0)
		dup2(null, STDIN_FILENO);

	/* dup2 leaves the copy open across exec, unless there was nothing to do */
	if (socket == CHILD_FD)
		fcntl(socket, F_SETFD, 0);
	else
		dup2(socket, CHILD_FD);

#ifdef SYS_close_range
	if (syscall(SYS_close_range, CHILD_FD + 1, ~0U, 0) == 0)
		return;
#endif
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1 << 20)
		last = (int) limit.rlim_cur;
	for (int fd = CHILD_FD + 1; fd < last; fd++)
		close(fd);
}

static void
child_reset_signals(void)
{
	sigset_t	none;

	for (int signo = 1; signo < 32; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
child_volunteer_for_oom_kill(void)
{
	int			fd = open("/proc/self/oom_score_adj", O_WRONLY);

	if (fd >= 0)
	{
		write_bytes(fd, "1000", 4);
		close(fd);
	}
}

/* The engine's own variables and nothing else: no passwords, no locale. */
static void
child_reduce_environment(void)
{
	char	  **keep = environ;

	for (char **variable = environ; *variable; variable++)
		if (strncmp(*variable, "DSR1_", 5) == 0)
			*keep++ = *variable;
	*keep = NULL;
}

static void
pg_attribute_noreturn()
child_main(int socket, char *const argv[])
{
	char		line[1200];
	int			length;

	child_close_files(socket);
	child_reset_signals();
	child_volunteer_for_oom_kill();
	child_reduce_environment();
	execv(argv[0], argv);
	length = snprintf(line, sizeof(line), "failed %d could not execute \"%.800s\": %s\n",
					  DSR1_ERR_IO, argv[0], strerror(errno));
	write_bytes(CHILD_FD, line, length);
	_exit(127);
}

/* ------------------------------------------------------------------
 *	In the supervisor
 * ------------------------------------------------------------------
 */

bool
engine_process_start(EngineProcess *process, char *const argv[])
{
	int			sockets[2];
	pid_t		pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
	{
		ereport(LOG, (errmsg("could not create socket for the inference engine: %m")));
		return false;
	}

	/* no line may be written twice, by the child too */
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child_main(sockets[1], argv);
	close(sockets[1]);
	if (pid < 0)
	{
		ereport(LOG, (errmsg("could not fork the inference engine: %m")));
		close(sockets[0]);
		return false;
	}
	fcntl(sockets[0], F_SETFL, O_NONBLOCK);
	process->pid = pid;
	process->fd = sockets[0];
	process->last_sign = GetCurrentTimestamp();
	process->line_length = 0;
	return true;
}

static void
close_socket(EngineProcess *process)
{
	if (process->fd >= 0)
		close(process->fd);
	process->fd = -1;
}

/* A line that does not fit is handed over in pieces: it comes from a peer that is not ours. */
static void
take_bytes(EngineProcess *process, const char *bytes, ssize_t size,
		   EngineLineFunction function, void *arg)
{
	for (ssize_t i = 0; i < size; i++)
	{
		if (bytes[i] != '\n' && process->line_length < sizeof(process->line) - 1)
		{
			process->line[process->line_length++] = bytes[i];
			continue;
		}
		process->line[process->line_length] = '\0';
		process->line_length = 0;
		function(process->line, arg);
	}
}

void
engine_process_read(EngineProcess *process, EngineLineFunction function,
					void *arg)
{
	char		bytes[4096];
	ssize_t		n;

	if (process->fd < 0)
		return;
	while ((n = recv(process->fd, bytes, sizeof(bytes), 0)) > 0)
	{
		process->last_sign = GetCurrentTimestamp();
		take_bytes(process, bytes, n, function, arg);
	}
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
		close_socket(process);
}

bool
engine_process_ended(EngineProcess *process, int *status)
{
	if (process->pid == 0 || waitpid(process->pid, status, WNOHANG) != process->pid)
		return false;
	close_socket(process);
	process->pid = 0;
	return true;
}

void
engine_process_stop(EngineProcess *process, int patience_ms)
{
	int			status;

	if (process->pid == 0)
		return;
	kill(process->pid, SIGTERM);
	for (int waited = 0; waited < patience_ms; waited += 10)
	{
		if (engine_process_ended(process, &status))
			return;
		pg_usleep(10 * 1000L);
	}
	kill(process->pid, SIGKILL);
	while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
		;
	close_socket(process);
	process->pid = 0;
}
