/* SPDX-License-Identifier: MIT */
/*
 * bench PORTSHIM SCRATCH: what recording costs.  Two workers, one bare and one under `portshim run`,
 * live as long as the bench; each is told over a pipe to run a short round in turn, so that both meet
 * the same machine.  Medians of the rounds.
 *
 *   bench --worker        a round for each line "NAME COUNT" on stdin, its ns per turn to stdout
 *   bench --crowd N       ten listeners and N children that have them too, until stdin ends
 *   bench --short-binds   150 binds that live 500 us each
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/session.h"

#define ROUNDS 61
#define BATCH 200 /* connections waiting to be accepted in a round */

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
	qsort(values, n, sizeof(values[0]), by_value);
	return values[n / 2];
}

static int listener(struct sockaddr_in *a)
{
	socklen_t len = sizeof(*a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0 || bind(fd, (struct sockaddr *)a, len) != 0 || listen(fd, 2 * BATCH) != 0 ||
	    getsockname(fd, (struct sockaddr *)a, &len) != 0)
		die("listen");
	return fd;
}

/* ---- the worker ---- */

static int worker_listener;
static const char *worker_program;

static void turn_accept(void)
{
	if (close(accept4(worker_listener, NULL, NULL, SOCK_CLOEXEC)) != 0)
		die("accept4");
}

static void turn_dup_file(void)
{
	close(dup(STDIN_FILENO));
}

static void turn_dup_socket(void)
{
	close(dup(worker_listener));
}

static void turn_listen(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 5) != 0 || close(fd) != 0)
		die("bind");
}

static void turn_fork(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(0);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("fork");
}

static void turn_exec(void)
{
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		execl(worker_program, worker_program, (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("exec");
}

struct task {
	const char *name;
	void (*turn)(void);
	unsigned count; /* turns a round */
};

static const struct task tasks[] = {
	{ "accept4 + close, TCP loopback", turn_accept, BATCH },
	{ "close(dup(0)), not a socket", turn_dup_file, 5000 },
	{ "close(dup(socket))", turn_dup_socket, 2000 },
	{ "socket + bind + listen + close", turn_listen, 500 },
	{ "fork + _exit + wait", turn_fork, 40 },
	{ "exec of a small program", turn_exec, 20 },
};
#define TASKS (sizeof(tasks) / sizeof(tasks[0]))
#define FIRST_PROCESS_TASK 4

static int worker(const char *program)
{
	struct sockaddr_in a;
	unsigned task;

	worker_program = program;
	worker_listener = listener(&a);
	printf("%u\n", ntohs(a.sin_port));
	fflush(stdout);
	while (scanf("%u", &task) == 1 && task < TASKS) {
		double start = now();

		for (unsigned i = 0; i < tasks[task].count; i++)
			tasks[task].turn();
		printf("%f\n", (now() - start) / tasks[task].count);
		fflush(stdout);
	}
	return 0;
}

static int crowd(int n)
{
	struct sockaddr_in a;
	int gate[2];
	char byte;

	for (int i = 0; i < 10; i++)
		listener(&a);
	if (pipe(gate) != 0)
		die("pipe");
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			/* Its first record, so that it is known by more than its parent's. */
			close(dup(3));
			close(gate[1]);
			_exit(read(gate[0], &byte, 1) != 0);
		}
	}
	puts("ready");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		die("read");
	close(gate[1]);
	while (wait(NULL) > 0)
		;
	return 0;
}

static int short_binds(void)
{
	for (int i = 0; i < 150; i++) {
		struct sockaddr_in a;
		double start = now();
		int fd = listener(&a);

		while (now() - start < 500000)
			;
		close(fd);
	}
	return 0;
}

/* ---- the driver ---- */

struct child {
	pid_t pid;
	FILE *to, *from;
	struct sockaddr_in address;
};

static struct child start(char *const argv[])
{
	struct child c = { .pid = -1 };
	int to[2], from[2];

	if (pipe(to) != 0 || pipe(from) != 0)
		die("pipe");
	c.pid = fork();
	if (c.pid == 0) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		closefrom(3);
		execv(argv[0], argv);
		die(argv[0]);
	}
	close(to[0]);
	close(from[1]);
	/* Not for the next one: it would never see its own stdin end. */
	fcntl(to[1], F_SETFD, FD_CLOEXEC);
	fcntl(from[0], F_SETFD, FD_CLOEXEC);
	c.to = fdopen(to[1], "w");
	c.from = fdopen(from[0], "r");
	if (c.pid < 0 || c.to == NULL || c.from == NULL)
		die("start");
	return c;
}

static void stop(struct child *c)
{
	fclose(c->to);
	fclose(c->from);
	waitpid(c->pid, NULL, 0);
}

static double run_round(struct child *c, unsigned task)
{
	int clients[BATCH];
	double ns;
	bool accepts = tasks[task].turn == turn_accept;

	for (int i = 0; accepts && i < BATCH; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(clients[i], (struct sockaddr *)&c->address, sizeof(c->address)) != 0)
			die("connect");
	}
	fprintf(c->to, "%u\n", task);
	fflush(c->to);
	if (fscanf(c->from, "%lf", &ns) != 1)
		die("a worker has gone");
	for (int i = 0; accepts && i < BATCH; i++)
		close(clients[i]);
	return ns;
}

struct budget {
	enum { RATIO, MORE } kind;
	double most; /* ratio, or ns more */
};

static const struct budget budgets[TASKS] = { { RATIO, 1.10 }, { RATIO, 1.05 }, { MORE, 380 },
					      { RATIO, 1.25 }, { MORE, 8000 },	{ MORE, 160000 } };

static void print_row(const char *what, double bare, double wrapped, struct budget b)
{
	double ratio = wrapped / bare;
	bool met = b.kind == RATIO ? ratio <= b.most : wrapped - bare <= b.most;
	char budget[32];

	if (b.kind == RATIO)
		snprintf(budget, sizeof(budget), "%.2fx", b.most);
	else
		snprintf(budget, sizeof(budget), "+%.0f", b.most);
	printf("%-32s %10.0f %10.0f %+10.0f %7.2fx  %8s  %s\n", what, bare, wrapped, wrapped - bare, ratio,
	       budget, met ? "met" : "OVER");
}

static void print_single(const char *what, double value, double most)
{
	char budget[32];

	snprintf(budget, sizeof(budget), "%.0f", most);
	printf("%-32s %10s %10.0f %10s %8s  %8s  %s\n", what, "-", value, "-", "-", budget,
	       value <= most ? "met" : "OVER");
}

/* The log alone, without a hook around it. */
static double append_ns(const char *dir, bool ring)
{
	static struct log log;
	struct session_info info;
	double rounds[ROUNDS];
	char path[LOG_PATH_MAX];

	memset(&log, 0, sizeof(log));
	if (session_make(dir) != 0 || session_info(dir, geteuid(), &info) != 0)
		die(dir);
	if (session_arena_make(dir, geteuid(), info.size) != 0 ||
	    session_arena_path(dir, geteuid(), path, sizeof(path)) != 0 ||
	    log_open(&log, path, geteuid(), 1) != 0)
		die("arena");
	for (unsigned r = 0; r < ROUNDS; r++) {
		double begin = now();

		for (int i = 0; i < 20000; i++) {
			struct ps_event ev = { .kind = PS_CLOSE, .stamp = log_stamp(), .fd = i };

			if (log_append(&log, &ev, NULL, 0, ring, NULL) != LOG_OK)
				die("append");
		}
		rounds[r] = (now() - begin) / 20000;
	}
	return median(rounds, ROUNDS);
}

/* Median wall time of a command, its output thrown away. */
static double command_ns(char *const argv[], unsigned rounds)
{
	double times[ROUNDS];

	for (unsigned r = 0; r < rounds; r++) {
		double begin = now();
		pid_t pid = vfork();

		if (pid == 0) {
			if (freopen("/dev/null", "w", stdout) == NULL)
				_exit(126);
			execv(argv[0], argv);
			_exit(127);
		}
		waitpid(pid, NULL, 0);
		times[r] = now() - begin;
	}
	return median(times, rounds);
}

/* The tasks from first up to, but not, end. */
static void compare_workers(char *self, char *portshim, char *program, char *session, unsigned first,
			    unsigned end)
{
	char *bare_argv[] = { self, (char *)"--worker", program, NULL };
	char *wrapped_argv[] = { portshim, (char *)"run",      (char *)"-o", session, (char *)"--",
				 self,	   (char *)"--worker", program,	     NULL };
	struct child workers[2] = { start(bare_argv), start(wrapped_argv) };
	double times[TASKS][2][ROUNDS];

	for (int w = 0; w < 2; w++) {
		unsigned port;

		if (fscanf(workers[w].from, "%u", &port) != 1)
			die("a worker does not start");
		workers[w].address = (struct sockaddr_in){ .sin_family = AF_INET,
							   .sin_port = htons((uint16_t)port),
							   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	}
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned t = first; t < end; t++) {
			/* Whoever is second finds the caches warm: so each is in turn. */
			for (unsigned i = 0; i < 2; i++) {
				unsigned w = (i + r) % 2;

				times[t][w][r] = run_round(&workers[w], t);
			}
		}
	}
	for (unsigned t = first; t < end; t++)
		print_row(tasks[t].name, median(times[t][0], ROUNDS), median(times[t][1], ROUNDS),
			  budgets[t]);
	stop(&workers[0]);
	stop(&workers[1]);
}

static void measure_ls(char *self, char *portshim, char *session)
{
	char *crowd_argv[] = { portshim, (char *)"run",	    (char *)"-o",   session, (char *)"--",
			       self,	 (char *)"--crowd", (char *)"1000", NULL };
	char *ls_argv[] = { portshim, (char *)"ls", (char *)"-s", session, NULL };
	struct child c = start(crowd_argv);
	char line[16] = "";

	if (fgets(line, sizeof(line), c.from) == NULL || strcmp(line, "ready\n") != 0)
		die("no crowd");
	print_single("ls, 1,000 processes x 10 ports", command_ns(ls_argv, 15), 20e6);
	stop(&c);
}

static void measure_short_binds(char *self, char *portshim, char *session)
{
	char *argv[] = { portshim, (char *)"run",	    (char *)"-o", session, (char *)"--",
			 self,	   (char *)"--short-binds", NULL };
	char *events_argv[] = { portshim, (char *)"events", (char *)"--json", (char *)"-s", session, NULL };
	struct child c = start(argv), events;
	char *line = NULL;
	size_t size = 0;
	int n = 0;

	stop(&c);
	events = start(events_argv);
	while (getline(&line, &size, events.from) > 0)
		n += strstr(line, "\"bind\"") != NULL;
	free(line);
	stop(&events);
	printf("%-32s %10s %10d %10s %8s  %8s  %s\n", "binds of 500 us seen, of 150", "-", n, "-", "-", "150",
	       n == 150 ? "met" : "MISSED");
}

int main(int argc, char **argv)
{
	char self[4096] = "", program[4200], path[8][4200];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	cpu_set_t last;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "--worker") == 0)
		return worker(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--crowd") == 0)
		return crowd(atoi(argv[2]));
	if (argc == 2 && strcmp(argv[1], "--short-binds") == 0)
		return short_binds();
	if (argc != 3 || len <= 0) {
		fprintf(stderr, "usage: bench PORTSHIM SCRATCH\n");
		return 2;
	}
	/* All on one CPU: only one of them ever runs. */
	CPU_ZERO(&last);
	CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
	(void)sched_setaffinity(0, sizeof(last), &last);

	snprintf(program, sizeof(program), "%.*s/nothing", (int)(strrchr(self, '/') - self), self);
	for (int i = 0; i < 6; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%d", argv[2], i);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%-32s %10s %10s %10s %8s  %8s\n", "what (ns, medians)", "bare", "recorded", "more", "ratio",
	       "budget");
	print_single("one event appended", append_ns(path[0], false), 75);
	print_single("one event appended, ring", append_ns(path[1], true), 45);
	compare_workers(self, argv[1], program, path[2], 0, FIRST_PROCESS_TASK);
	/* In workers of their own: a fork copies what the tasks above have mapped. */
	compare_workers(self, argv[1], program, path[5], FIRST_PROCESS_TASK, TASKS);
	measure_ls(self, argv[1], path[3]);
	measure_short_binds(self, argv[1], path[4]);
	return 0;
}
