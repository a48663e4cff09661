/* SPDX-License-Identifier: MIT */
/*
 * sneak WHAT: moves a descriptor where no wrapper can see it: by the bare instruction.  Listens on
 * 127.0.0.1 (A), binds a second socket there (B), prints "A FD" and "B FD"; does WHAT; prints "at FD"
 * where a descriptor came about, and "ready"; waits for stdin.
 *   dup       a copy of A
 *   over      A over B
 *   close     A closed
 *   accepted  accepts two connections of its own (C, D) and puts C over D
 *   listen    B listens
 *   nameless  makes two sockets without a name (C, D) and puts C over D
 *   fork      a child that waits to be killed: prints "child PID"
 *   nothing
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long bare(long nr, long a, long b, long c)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
#else
#error "the system call of this machine"
#endif
}

/* With no flag but the signal, what comes behind the stack is not looked at. */
static long bare_fork(void)
{
	return bare(SYS_clone, SIGCHLD, 0, 0);
}

static int bound(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 ? fd : -1;
}

static int connection(int listener)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int client = socket(AF_INET, SOCK_STREAM, 0);

	if (getsockname(listener, (struct sockaddr *)&a, &len) != 0 ||
	    connect(client, (struct sockaddr *)&a, sizeof(a)) != 0)
		return -1;
	len = sizeof(a);
	return accept(listener, (struct sockaddr *)&a, &len);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "nothing";
	int a = bound(), b = bound();
	char byte;

	if (a < 0 || b < 0 || listen(a, 5) != 0)
		return 1;
	printf("A %d\nB %d\n", a, b);
	if (strcmp(what, "dup") == 0) {
		printf("at %ld\n", bare(SYS_dup, a, 0, 0));
	} else if (strcmp(what, "over") == 0) {
		if (bare(SYS_dup3, a, b, 0) != b)
			return 1;
	} else if (strcmp(what, "close") == 0) {
		if (bare(SYS_close, a, 0, 0) != 0)
			return 1;
	} else if (strcmp(what, "listen") == 0) {
		if (bare(SYS_listen, b, 5, 0) != 0)
			return 1;
	} else if (strcmp(what, "accepted") == 0) {
		int c = connection(a), d = connection(a);

		printf("C %d\nD %d\n", c, d);
		if (c < 0 || d < 0 || bare(SYS_dup3, c, d, 0) != d)
			return 1;
	} else if (strcmp(what, "nameless") == 0) {
		int c = socket(AF_INET, SOCK_STREAM, 0), d = socket(AF_INET, SOCK_STREAM, 0);

		printf("C %d\nD %d\n", c, d);
		if (bare(SYS_dup3, c, d, 0) != d || bare(SYS_close, c, 0, 0) != 0)
			return 1;
	} else if (strcmp(what, "fork") == 0) {
		long pid = bare_fork();

		while (pid == 0)
			bare(SYS_nanosleep, (long)&(struct timespec){ .tv_sec = 1000 }, 0, 0);
		printf("child %ld\n", pid);
	} else if (strcmp(what, "nothing") != 0) {
		return 2;
	}
	puts("ready");
	fflush(stdout);
	return read(STDIN_FILENO, &byte, 1) >= 0 ? 0 : 1;
}
