/* SPDX-License-Identifier: MIT */
/*
 * daemonize MODE READY FIFO: closes every descriptor from 3 up, becomes a daemon, listens on
 * 127.0.0.1, writes "PID FD PORT" to the file READY and then waits until the FIFO can be read.
 * MODE: daemon, daemon-before (listens before it forks), double-fork, double-fork-before; with
 * "-range" or "-from" appended, by close_range or closefrom instead of a loop of close.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int listener(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 5) != 0) {
		perror("listener");
		_exit(1);
	}
	return fd;
}

static void close_all(const char *mode)
{
	if (strstr(mode, "-range") != NULL)
		close_range(3, ~0U, 0);
	else if (strstr(mode, "-from") != NULL)
		closefrom(3);
	else
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
}

static void double_fork(void)
{
	if (fork() != 0)
		_exit(0);
	setsid();
	if (fork() != 0)
		_exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char part[4096], byte;
	bool before;
	int fd = -1, ready, fifo;

	if (argc != 4)
		return 2;
	before = strstr(argv[1], "-before") != NULL;
	close_all(argv[1]);
	if (before)
		fd = listener();
	if (strncmp(argv[1], "daemon", 6) == 0) {
		if (daemon(1, 1) != 0)
			return 1;
	} else {
		double_fork();
	}
	if (!before)
		fd = listener();
	if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		return 1;

	/* Complete as soon as it is there. */
	snprintf(part, sizeof(part), "%s.part", argv[2]);
	ready = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	dprintf(ready, "%d %d %u\n", (int)getpid(), fd, ntohs(a.sin_port));
	close(ready);
	if (rename(part, argv[2]) != 0)
		return 1;
	fifo = open(argv[3], O_RDONLY | O_CLOEXEC);
	return read(fifo, &byte, 1) >= 0 ? 0 : 1;
}
