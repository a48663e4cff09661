/* SPDX-License-Identifier: MIT */
/*
 * Another preloaded library: it listens before any other constructor has run, as allocators and C++
 * statics may, and keeps the listener.  EARLY_FDS: the numbers that it got.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((constructor(101))) static void listen_early(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), copy = dup(fd);
	char text[32];

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 5) != 0 ||
	    close(copy) != 0)
		_exit(99);
	snprintf(text, sizeof(text), "%d %d", fd, copy);
	setenv("EARLY_FDS", text, 1);
}
