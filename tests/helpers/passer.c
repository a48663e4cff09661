/* SPDX-License-Identifier: MIT */
/*
 * passer send PATH FD-COUNT: listens FD-COUNT times on 127.0.0.1, waits for a connection to the UNIX
 * socket PATH, passes them over it, prints "ready", and waits for stdin.
 * passer receive PATH: fetches them, prints their numbers and "ready", and waits for stdin.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST 8

int main(int argc, char **argv)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MOST * sizeof(int))];
	} control;
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes };
	int carrier = socket(AF_UNIX, SOCK_STREAM, 0), fds[MOST], n;

	if (argc < 3 || carrier < 0)
		return 2;
	memset(&control, 0, sizeof(control));
	strncpy(path.sun_path, argv[2], sizeof(path.sun_path) - 1);
	if (strcmp(argv[1], "send") == 0) {
		n = argc > 3 ? atoi(argv[3]) : 1;
		if (n < 1 || n > MOST || bind(carrier, (struct sockaddr *)&path, sizeof(path)) != 0 ||
		    listen(carrier, 1) != 0)
			return 1;
		for (int i = 0; i < n; i++) {
			struct sockaddr_in a = { .sin_family = AF_INET,
						 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

			fds[i] = socket(AF_INET, SOCK_STREAM, 0);
			if (bind(fds[i], (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fds[i], 5) != 0)
				return 1;
		}
		puts("listening");
		fflush(stdout);
		carrier = accept(carrier, NULL, NULL);
		control.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS,
						  .cmsg_len = CMSG_LEN((size_t)n * sizeof(int)) };
		memcpy(CMSG_DATA(&control.align), fds, (size_t)n * sizeof(int));
		m.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
		if (sendmsg(carrier, &m, 0) != 1)
			return 1;
	} else {
		m.msg_controllen = sizeof(control);
		if (connect(carrier, (struct sockaddr *)&path, sizeof(path)) != 0 ||
		    recvmsg(carrier, &m, 0) != 1 || CMSG_FIRSTHDR(&m) == NULL)
			return 1;
		n = (int)((control.align.cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(&control.align), (size_t)n * sizeof(int));
		for (int i = 0; i < n; i++)
			printf("%d\n", fds[i]);
	}
	puts("ready");
	fflush(stdout);
	return read(STDIN_FILENO, &byte, 1) >= 0 ? 0 : 1;
}
