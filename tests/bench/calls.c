/* SPDX-License-Identifier: MIT */
/*
 * What a call costs.  A worker of each variant lives as long as the rows do; each is told over a pipe
 * to run a short round in turn.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "portshim/env.h"

#define BATCH 200			  /* connections to accept in a round */
#define WARM_UP(turns) ((turns) / 10 + 1) /* turns before the clock runs */
#define SECONDS 24			  /* for the rows of one kind, at most */

/* ---- the worker ---- */

static int worker_listener;
static unsigned worker_port; /* the listener's, and so nobody's at the other addresses */
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

static void listen_at(in_addr_t address, unsigned port, bool shared)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(address) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (shared && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
		       setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0))
		die("setsockopt");
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 5) != 0 || close(fd) != 0)
		die("bind");
}

/* Nothing else of ours is at these addresses; the rules below are about two of them. */
#define PLAIN_ADDRESS (INADDR_LOOPBACK + 4)
#define MOVED (INADDR_LOOPBACK + 2)
#define SHARED (INADDR_LOOPBACK + 3)
#define RULES "bind addr 127.0.0.3 -> redirect 127.0.0.2; bind addr 127.0.0.4 -> reuseport"

static void turn_listen(void)
{
	listen_at(PLAIN_ADDRESS, worker_port, false);
}

static void turn_listen_any(void)
{
	listen_at(PLAIN_ADDRESS, 0, false);
}

static void turn_listen_moved(void)
{
	listen_at(MOVED, worker_port, false);
}

/* Where no rule does it the program does: what the kernel takes to share a port is not ours. */
static void turn_listen_shared(void)
{
	listen_at(SHARED, worker_port, getenv(PS_ENV_RULES) == NULL);
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

/*
 * A fork copies what the worker has mapped, chunks of the log among it: rows that fork have workers
 * of their own.  So have those with rules, as others are to be measured without.
 */
enum kind { PLAIN, RULED, FORKS, KINDS };

struct task {
	const char *row;
	void (*turn)(void);
	unsigned turns, turns_traced; /* a round */
	struct budget budget;
	enum kind kind;
};

static const struct task tasks[] = {
	{ "accept4 + close, TCP loopback", turn_accept, BATCH, 20, { RATIO, 1.10, NULL }, PLAIN },
	{ "close(dup(0)), not a socket", turn_dup_file, 4000, 40, { RATIO, 1.05, NULL }, PLAIN },
	{ "close(dup(socket))", turn_dup_socket, 2000, 40, { NO_BUDGET, 0, NULL }, PLAIN },
	{ "socket + bind + listen + close", turn_listen, 400, 20, { RATIO, 1.25, NULL }, PLAIN },
	{ "the same, the kernel's port", turn_listen_any, 400, 20, { NO_BUDGET, 0, NULL }, PLAIN },
	{ "the same, redirected by a rule", turn_listen_moved, 400, 20, { RATIO, 1.50, NULL }, RULED },
	{ "the same, shared: itself, a rule", turn_listen_shared, 400, 20, { RATIO, 1.50, NULL }, RULED },
	{ "fork + _exit + wait", turn_fork, 30, 6, { MORE, 8000, &bare_fork }, FORKS },
	{ "exec of a small program", turn_exec, 15, 3, { MORE, 160000, &any_library }, FORKS },
};
#define TASKS (sizeof(tasks) / sizeof(tasks[0]))

int calls_worker(const char *program)
{
	unsigned task, turns;

	worker_program = program;
	worker_listener = loopback_listener(&worker_port);
	printf("%u\n", worker_port);
	fflush(stdout);
	while (scanf("%u %u", &task, &turns) == 2 && task < TASKS) {
		double begin;

		for (unsigned i = 0; i < WARM_UP(turns); i++)
			tasks[task].turn();
		begin = now();
		for (unsigned i = 0; i < turns; i++)
			tasks[task].turn();
		printf("%f\n", (now() - begin) / turns);
		fflush(stdout);
	}
	return 0;
}

/* ---- the driver ---- */

struct worker {
	struct child child;
	unsigned port;
	bool runs;
};

static struct worker start_worker(enum variant v)
{
	const char *argv[] = { bench.self, "--worker", bench.nothing_program, NULL };
	struct worker w = { .runs = can_start(v) };
	char session[4200];

	if (!w.runs)
		return w;
	new_dir(session, sizeof(session));
	w.child = start(v, session, argv);
	if (fscanf(w.child.from, "%u", &w.port) != 1)
		die("a worker does not start");
	return w;
}

/* Whoever connects, and whatever that costs, the clock of the worker does not run meanwhile. */
static double run_round(struct worker *w, unsigned task, unsigned turns)
{
	int clients[BATCH + WARM_UP(BATCH)];
	unsigned n = tasks[task].turn == turn_accept ? turns + WARM_UP(turns) : 0;
	double ns;

	for (unsigned i = 0; i < n; i++) {
		clients[i] = loopback_connect(w->port);
		if (clients[i] < 0)
			die("connect");
	}
	fprintf(w->child.to, "%u %u\n", task, turns);
	fflush(w->child.to);
	if (fscanf(w->child.from, "%lf", &ns) != 1)
		die("a worker has gone");
	for (unsigned i = 0; i < n; i++)
		close(clients[i]);
	return ns;
}

static void one_round(struct worker *workers, unsigned task, struct samples *s)
{
	const struct task *t = &tasks[task];
	unsigned r = s->rounds++;

	for (unsigned i = 0; i < VARIANTS; i++) {
		enum variant v = in_turn(r, i);
		unsigned turns = v == STRACE ? t->turns_traced : t->turns;

		if (workers[v].runs)
			s->of[v][r] = run_round(&workers[v], task, bench.smoke ? 2 : turns);
	}
}

static bool is_meant(unsigned task, enum kind kind)
{
	return tasks[task].kind == kind && wanted(tasks[task].row);
}

/* Workers of their own for all rounds until `end`. */
static void measure_start(enum kind kind, struct samples *samples, double end)
{
	struct worker workers[VARIANTS];

	bench.rules = kind == RULED ? RULES : NULL;
	for (unsigned v = 0; v < VARIANTS; v++)
		workers[v] = start_worker(v);
	for (unsigned r = 0; another_round(r, end); r++) {
		for (unsigned t = 0; t < TASKS; t++) {
			if (is_meant(t, kind))
				one_round(workers, t, &samples[t]);
		}
	}
	for (unsigned v = 0; v < VARIANTS; v++) {
		if (workers[v].runs)
			stop(&workers[v].child);
	}
}

static void measure_tasks(enum kind kind)
{
	static struct samples samples[TASKS];
	bool any = false;

	for (unsigned t = 0; t < TASKS; t++)
		any = any || is_meant(t, kind);
	for (unsigned i = 0; any && i < starts(); i++)
		measure_start(kind, samples, now() + SECONDS * 1e9 / STARTS);
	for (unsigned t = 0; t < TASKS; t++) {
		if (!is_meant(t, kind))
			continue;
		if (tasks[t].turn == turn_fork)
			bare_fork.here = samples_bare(&samples[t]);
		if (tasks[t].turn == turn_exec)
			any_library.here = samples_more(&samples[t], DOING_NOTHING);
		row_compared(tasks[t].row, &samples[t], tasks[t].budget);
	}
}

void measure_calls(void)
{
	for (unsigned kind = 0; kind < KINDS; kind++)
		measure_tasks((enum kind)kind);
}
