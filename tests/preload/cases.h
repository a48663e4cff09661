/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_TESTS_CASES_H
#define PORTSHIM_TESTS_CASES_H

/*
 * A program of cases, each one wrapped symbol in one situation.  `PROGRAM --list` prints their names
 * ("symbol" or "symbol/situation"), `PROGRAM NAME` runs one: it prints all that it can observe, and
 * asserts what it expects.  Run with and without the shim its output must be the same byte for byte,
 * so nothing that differs by itself is printed: no pid, no port chosen by the kernel.
 *
 * Exit status: 0 as expected; 1 an expectation failed, told on stderr; 77 skipped, with the reason.
 * The current directory of a case is its own, empty and writable by everybody.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct test_case {
	const char *name;
	void (*run)(void);
};

/* Each program's own table; the last name is NULL. */
extern const struct test_case cases[];

/* One write(2) to stdout, so that forked children repeat no buffer. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

void check(bool ok, const char *what, const char *file, int line);
#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

_Noreturn void skip(const char *why);
void need_root(void);
bool failed(void);

/* What errno is before each call: one that no call here gives. */
#define ERRNO_BEFORE EL3RST

/*
 * Each makes the call, prints it with its value and errno (where the call changed that), and returns
 * the value.  OK: at least 0.  IS: exactly this.  FAILS: -1 with this errno.
 */
long shown(const char *call, long value);
int shown_ok(const char *call, long value, const char *file, int line);
int shown_is(const char *call, long value, long expected, const char *file, int line);
void shown_fails(const char *call, long value, int error, const char *file, int line);
#define TRY(call) (errno = ERRNO_BEFORE, shown(#call, (long)(call)))
#define OK(call) (errno = ERRNO_BEFORE, shown_ok(#call, (long)(call), __FILE__, __LINE__))
#define IS(expected, call) \
	(errno = ERRNO_BEFORE, shown_is(#call, (long)(call), (long)(expected), __FILE__, __LINE__))
#define FAILS(error, call) \
	(errno = ERRNO_BEFORE, shown_fails(#call, (long)(call), (error), __FILE__, __LINE__))

/* Not readable, not writable; variables, so that no compiler sees through them. */
extern void *volatile bad_pointer;
extern void *volatile null_pointer;

struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	};
	socklen_t len;
};

struct address ip4(const char *ip, unsigned port);
struct address ip6(const char *ip, unsigned port);
struct address unix_path(const char *path);
struct address unix_abstract(const char *name); /* made unique by the case's own directory */
struct address local_of(int fd);

int tcp_listener(struct address *address); /* on 127.0.0.1, any port */
int tcp_connected(const struct address *to);
void tcp_pair(int out[2]);
void unix_pair(int out[2]);

/* Kernel-chosen ports are printed as P1, P2, … in order of appearance. */
void show_address(const char *what, const struct sockaddr *sa, socklen_t len);
void show_names(int fd);
void show_fd(int fd);
void show_fds(const char *when); /* every open one */
void put(int fd, const char *text);
void get(int fd, const char *expected); /* reads so many bytes; "" expects end of file */

/* Runs fn in a child, tells how that ended.  The child ends by _exit(what fn returned), or 99 where
 * an expectation failed in it. */
void in_child(int (*fn)(void));
void show_end(pid_t pid);

/* A handler for SIGUSR1 that runs fn; raises it; restores. */
void in_handler(void (*fn)(void));
void catch_usr1(int flags); /* a handler that does nothing */

struct thread {
	pthread_t id;
	_Atomic int stat; /* its /proc/thread-self/stat, far from the descriptors of the case */
	void (*fn)(void *);
	void *arg;
};
void thread_start(struct thread *t, void (*fn)(void *), void *arg);
void *thread_join(struct thread *t);		   /* (void *)1, or PTHREAD_CANCELED */
void thread_wait_blocked(const struct thread *t);  /* until it sleeps in a system call */
void many_threads(unsigned n, void (*fn)(void *)); /* arg: its number */

/* Path of this program, for exec: `self --child STATUS ARG…` prints its arguments, environment
 * (without what the shim adds) and descriptors, and exits with STATUS. */
extern char self[];
extern char **environ;

#endif
