/* SPDX-License-Identifier: MIT */
/*
 * server [--reuseport] [--accept] ENDPOINT…: makes exactly these sockets, prints "FD ENDPOINT" for
 * each and then "ready", and ends at the first byte on stdin.  tcp:IP:PORT, tcp6:IP:PORT, udp:, udp6:,
 * unix:PATH, unix-dgram:PATH, abstract:NAME.  --accept: takes connections meanwhile and closes them,
 * and prints the errno of a bind that fails instead of ending.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

static socklen_t parse(const char *text, union address *a, int *type)
{
	const char *rest = strchr(text, ':');
	char ip[64];
	unsigned port;

	memset(a, 0, sizeof(*a));
	if (rest == NULL)
		return 0;
	rest++;
	*type = strncmp(text, "udp", 3) == 0 || strncmp(text, "unix-dgram", 10) == 0 ? SOCK_DGRAM
										     : SOCK_STREAM;
	if (strncmp(text, "unix", 4) == 0) {
		a->un.sun_family = AF_UNIX;
		strncpy(a->un.sun_path, rest, sizeof(a->un.sun_path) - 1);
		return sizeof(a->un);
	}
	if (strncmp(text, "abstract", 8) == 0) {
		a->un.sun_family = AF_UNIX;
		strncpy(a->un.sun_path + 1, rest, sizeof(a->un.sun_path) - 2);
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(rest));
	}
	snprintf(ip, sizeof(ip), "%s", rest);
	if (strrchr(ip, ':') == NULL)
		return 0;
	port = (unsigned)strtoul(strrchr(ip, ':') + 1, NULL, 10);
	*strrchr(ip, ':') = '\0';
	if (text[3] == '6') {
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, ip, &a->in6.sin6_addr) == 1 ? sizeof(a->in6) : 0;
	}
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, ip, &a->in.sin_addr) == 1 ? sizeof(a->in) : 0;
}

static unsigned port_of(int fd)
{
	union address a = { .sa = { .sa_family = 0 } };
	socklen_t len = sizeof(a);

	if (getsockname(fd, &a.sa, &len) != 0)
		return 0;
	return a.sa.sa_family == AF_INET    ? ntohs(a.in.sin_port)
	       : a.sa.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port)
					    : 0;
}

int main(int argc, char **argv)
{
	struct pollfd polled[64] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	nfds_t n = 1;
	bool reuseport = false, serve = false;

	for (int i = 1; i < argc; i++) {
		union address a;
		int type = SOCK_STREAM, fd, on = 1;
		socklen_t len;

		if (strcmp(argv[i], "--reuseport") == 0) {
			reuseport = true;
			continue;
		}
		if (strcmp(argv[i], "--accept") == 0) {
			serve = true;
			continue;
		}
		len = parse(argv[i], &a, &type);
		if (len == 0 || n == 64) {
			fprintf(stderr, "server: %s: what is that?\n", argv[i]);
			return 2;
		}
		fd = socket(a.sa.sa_family, type, 0);
		if (fd < 0 || (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)) {
			perror(argv[i]);
			return 1;
		}
		if (bind(fd, &a.sa, len) != 0 || (type == SOCK_STREAM && listen(fd, 512) != 0)) {
			printf("%s: %s\n", argv[i], strerrorname_np(errno));
			if (!serve)
				return 1;
			close(fd);
			continue;
		}
		printf("%d %s %u\n", fd, argv[i], port_of(fd));
		polled[n++] = (struct pollfd){ .fd = fd,
					       .events = (short)(type == SOCK_STREAM && serve ? POLLIN : 0) };
	}
	puts("ready");
	fflush(stdout);

	while (poll(polled, n, -1) > 0 && polled[0].revents == 0) {
		for (nfds_t i = 1; i < n; i++) {
			if (polled[i].revents & POLLIN)
				close(accept(polled[i].fd, NULL, NULL));
		}
	}
	return 0;
}
