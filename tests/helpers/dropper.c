/* SPDX-License-Identifier: MIT */
/*
 * dropper PORT: as root binds PORT on 127.0.0.1, becomes nobody, binds any other port, and starts two
 * children that execute this program again and do the same.  Each prints "ROLE PID FD…"; once all are
 * there, "ready".  They end when stdin can be read.
 */
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static int listener(unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((unsigned short)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 5) != 0) {
		perror("listener");
		_exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	int go[2], told[2], first, own;
	char byte;

	if (argc == 4 && strcmp(argv[1], "--child") == 0) {
		own = listener(0);
		printf("child %d %d\n", (int)getpid(), own);
		fflush(stdout);
		if (write(atoi(argv[3]), "", 1) != 1)
			return 1;
		return read(atoi(argv[2]), &byte, 1) >= 0 ? 0 : 1;
	}
	if (argc != 2)
		return 2;
	first = listener((unsigned)atoi(argv[1]));
	if (initgroups("nobody", NOBODY) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0) {
		perror("dropper");
		return 1;
	}
	own = listener(0);
	printf("parent %d %d %d\n", (int)getpid(), first, own);
	fflush(stdout);
	if (pipe(go) != 0 || pipe(told) != 0)
		return 1;
	for (int i = 0; i < 2; i++) {
		if (fork() == 0) {
			char read_end[16], write_end[16];

			close(go[1]);
			snprintf(read_end, sizeof(read_end), "%d", go[0]);
			snprintf(write_end, sizeof(write_end), "%d", told[1]);
			execl("/proc/self/exe", argv[0], "--child", read_end, write_end, (char *)NULL);
			perror("exec");
			_exit(1);
		}
	}
	for (int i = 0; i < 2; i++) {
		if (read(told[0], &byte, 1) != 1)
			return 1;
	}
	puts("ready");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		return 1;
	close(go[1]);
	while (wait(NULL) > 0)
		;
	return 0;
}
