/* SPDX-License-Identifier: MIT */
/* Numbers: copied, replaced, closed one by one and in ranges, and used again for other things. */

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "torture.h"

static int some_fd(void)
{
	return dice(2) == 0 ? any_fd() : hint_any((enum hint)dice(HINTS));
}

static void op_dup(void)
{
	hint_add((enum hint)dice(HINTS), dup(some_fd()));
}

static void op_dup2(void)
{
	int old = some_fd(), new = any_fd();

	trace("dup2", old, new);
	dup2(old, new);
}

static void op_dup3(void)
{
	int old = some_fd(), new = any_fd();

	trace("dup3", old, new);
	dup3(old, new, dice(2) == 0 ? O_CLOEXEC : 0);
}

static void op_dupfd(void)
{
	hint_add((enum hint)dice(HINTS),
		 fcntl(some_fd(), dice(2) == 0 ? F_DUPFD : F_DUPFD_CLOEXEC, any_fd()));
}

static void op_close(void)
{
	int fd = some_fd();

	trace("close", fd, -1);
	close(fd);
}

static void op_close_range(void)
{
	unsigned first = (unsigned)any_fd(), last = first + dice(8);

	trace("close_range", (int)first, (int)last);
	close_range(first, last, dice(4) == 0 ? CLOSE_RANGE_CLOEXEC : 0);
}

static void op_close_loop(void)
{
	int first = any_fd(), last = first + 9;

	trace("close_range", first, last);
	for (int fd = first; fd <= last; fd++)
		close(fd);
}

static void op_closefrom(void)
{
	int first = 8 + any_fd();

	trace("close_range", first, FD_LIMIT);
	closefrom(first);
}

static void op_open(void)
{
	hint_add((enum hint)dice(HINTS), open("/dev/null", O_RDWR | (dice(2) == 0 ? O_CLOEXEC : 0)));
}

static void op_open_close(void)
{
	int fd = open("/dev/null", O_RDONLY);

	close(fd);
}

static void op_pipe(void)
{
	int ends[2];

	if (pipe2(ends, O_NONBLOCK | (dice(2) == 0 ? O_CLOEXEC : 0)) == 0 && dice(2) == 0)
		close(ends[dice(2)]);
}

static void op_cloexec(void)
{
	fcntl(some_fd(), F_SETFD, dice(2) == 0 ? FD_CLOEXEC : 0);
}

static void op_fclose(void)
{
	int fd = some_fd();
	FILE *f = fdopen(fd, "r");

	trace("fclose", fd, -1);
	if (f != NULL)
		fclose(f);
}

static void op_freopen(void)
{
	int fd = some_fd();
	FILE *f = fdopen(fd, "r");

	trace("freopen", fd, -1);
	if (f == NULL)
		return;
	f = freopen("/dev/null", "r", f);
	if (f != NULL)
		fclose(f);
}

/* By syscall(2), as node does. */
static void op_syscall(void)
{
	int fd = some_fd();

	switch (dice(6)) {
	case 0:
		hint_add(HINT_SOCKET, (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
		break;
	case 1:
		hint_add(HINT_SOCKET, (int)syscall(SYS_dup, fd));
		break;
	case 2:
		syscall(SYS_dup3, fd, any_fd(), O_CLOEXEC);
		break;
	case 3:
		hint_add(HINT_SOCKET, (int)syscall(SYS_fcntl, fd, F_DUPFD, any_fd()));
		break;
	case 4:
		hint_add(HINT_SOCKET,
			 (int)syscall(SYS_accept4, hint_any(HINT_LISTENER), NULL, NULL, SOCK_NONBLOCK));
		break;
	default:
		syscall(SYS_close, fd);
	}
}

const struct op fd_ops[] = {
	{ "dup", op_dup, 24, 0, NULL },
	{ "dup2", op_dup2, 30, 0, NULL },
	{ "dup3", op_dup3, 16, 0, NULL },
	{ "dupfd", op_dupfd, 24, 0, NULL },
	{ "close", op_close, 130, 0, NULL },
	{ "close_range", op_close_range, 6, 0, NULL },
	{ "close_loop", op_close_loop, 4, 0, NULL },
	{ "closefrom", op_closefrom, 4, 0, NULL },
	{ "open", op_open, 16, 0, NULL },
	{ "open_close", op_open_close, 8, 0, NULL },
	{ "pipe", op_pipe, 8, 0, NULL },
	{ "cloexec", op_cloexec, 24, 0, NULL },
	{ "fclose", op_fclose, 10, NEED_MALLOC, NULL },
	{ "freopen", op_freopen, 4, NEED_MALLOC, NULL },
	{ "syscall", op_syscall, 30, 0, "syscall" },
	{ 0 },
};
