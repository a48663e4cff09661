/* SPDX-License-Identifier: MIT */
/* The processes that are measured, and their places. */
#include "bench.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "portshim/env.h"

#define ARGS_MAX 24
#define BACKLOG 1024

/* The calls that portshim records. */
#define TRACED                                                                                           \
	"trace=socket,socketpair,bind,listen,accept,accept4,connect,shutdown,dup,dup2,dup3,fcntl,close," \
	"close_range,sendmsg,recvmsg,fork,vfork,clone,clone3,execve,execveat,exit_group"

_Noreturn void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* What stands before a program to make it this variant. */
static const char *const *prefix(enum variant v, const char *session)
{
	static const char *const none[] = { NULL };
	static const char *const strace[] = { "strace",	   "-f", "--seccomp-bpf", "-o",
					      "/dev/null", "-e", TRACED,	  NULL };
	static const char *run[7];

	switch (v) {
	case PORTSHIM:
		run[0] = bench.portshim;
		run[1] = "run";
		run[2] = "-o";
		run[3] = session;
		run[4] = "--";
		return run;
	case STRACE:
		return strace;
	default:
		return none;
	}
}

static _Noreturn void become(enum variant v, const char *session, const char *const argv[])
{
	const char *all[ARGS_MAX];
	unsigned n = 0;

	for (const char *const *p = prefix(v, session); *p != NULL; p++)
		all[n++] = *p;
	for (; *argv != NULL && n < ARGS_MAX - 1; argv++)
		all[n++] = *argv;
	all[n] = NULL;
	if (v == PORTSHIM && bench.rules != NULL)
		setenv(PS_ENV_RULES, bench.rules, 1);
	if (v == DOING_NOTHING)
		setenv("LD_PRELOAD", bench.nothing_library, 1);
	execvp(all[0], (char *const *)(uintptr_t)all);
	fprintf(stderr, "bench: %s: %s\n", all[0], strerror(errno));
	_exit(127);
}

struct child start(enum variant v, const char *session, const char *const argv[])
{
	struct child c = { .pid = -1 };
	int to[2], from[2];

	/* Not for the next one: it would never see its own stdin end. */
	if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
		die("pipe");
	c.pid = fork();
	if (c.pid == 0) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		/* What we were given ourselves is no part of what is measured. */
		closefrom(3);
		become(v, session, argv);
	}
	close(to[0]);
	close(from[1]);
	c.to = fdopen(to[1], "w");
	c.from = fdopen(from[0], "r");
	if (c.pid < 0 || c.to == NULL || c.from == NULL)
		die("start");
	return c;
}

void stop(struct child *c)
{
	fclose(c->to);
	fclose(c->from);
	waitpid(c->pid, NULL, 0);
}

bool can_start(enum variant v)
{
	static const char *const argv[] = { "true", NULL };
	struct child c;
	int status;

	if (v != STRACE)
		return true;
	if (!have_program("strace"))
		return false;
	c = start(v, NULL, argv);
	fclose(c.to);
	fclose(c.from);
	return waitpid(c.pid, &status, 0) == c.pid && status == 0;
}

bool have_program(const char *name)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (const char *p = path; p != NULL && *p != '\0'; p += strspn(p, ":")) {
		int len = (int)strcspn(p, ":");

		snprintf(file, sizeof(file), "%.*s/%s", len, p, name);
		if (access(file, X_OK) == 0)
			return true;
		p += len;
	}
	return false;
}

void new_dir(char *out, size_t size)
{
	static unsigned n;

	if ((size_t)snprintf(out, size, "%s/%u", bench.scratch, n++) >= size)
		die("the name of a directory");
}

void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	rmdir(dir);
}

void apart(void (*measure)(double *out, unsigned n), double *out, unsigned n)
{
	size_t size = n * sizeof(*out);
	double *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	if (shared == MAP_FAILED)
		die("mmap");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		measure(shared, n);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		die("a measurement apart");
	memcpy(out, shared, size);
	munmap(shared, size);
}

static struct sockaddr_in loopback(unsigned port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int loopback_listener(unsigned *port)
{
	struct sockaddr_in a = loopback(0);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 || listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		die("listen");
	*port = ntohs(a.sin_port);
	return fd;
}

int loopback_connect(unsigned port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}
