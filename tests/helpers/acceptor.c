/* SPDX-License-Identifier: MIT */
/*
 * acceptor COUNTER: listens on 127.0.0.1, prints "PORT" and "ready", accepts and closes for ever.  How
 * many accepts have returned is kept in the file COUNTER (8 bytes), by a mapping: it is right
 * whenever the process is killed.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int file = open(argc > 1 ? argv[1] : "", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	_Atomic uint64_t *count;

	if (file < 0 || ftruncate(file, 8) != 0)
		return 2;
	count = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (count == MAP_FAILED || fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 ||
	    listen(fd, 512) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		return 1;
	printf("%u\nready\n", ntohs(a.sin_port));
	fflush(stdout);
	for (;;) {
		int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (got < 0)
			return 1;
		(*count)++;
		close(got);
	}
}
