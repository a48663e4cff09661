/* SPDX-License-Identifier: MIT */
/*
 * A real server: what a request, with a connection of its own, costs nginx with two workers in CPU time.
 * Master and workers of each variant stay; batches of requests go to each in turn.
 */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH 25 /* requests on their way at a time */
#define BATCHES 20
#define BATCHES_TRACED 2
#define SECONDS 30 /* at most */
#define START_TRIES 5
#define NGINX_PROCESSES 3

struct server {
	struct child child;
	char dir[4200];
	unsigned port;
	pid_t pids[NGINX_PROCESSES]; /* the master first */
	bool runs;
};

static const char config[] = "daemon off;\n"
			     "worker_processes 2;\n"
			     "pid nginx.pid;\n"
			     "error_log error.log;\n"
			     "events { worker_connections 256; }\n"
			     "http {\n"
			     "	access_log off;\n"
			     "	client_body_temp_path body;\n"
			     "	proxy_temp_path proxy;\n"
			     "	fastcgi_temp_path fastcgi;\n"
			     "	uwsgi_temp_path uwsgi;\n"
			     "	scgi_temp_path scgi;\n"
			     "	server {\n"
			     "		listen 127.0.0.1:%u backlog=256;\n"
			     "		location / { return 200 \"hello\\n\"; }\n"
			     "	}\n"
			     "}\n";

static void configure(struct server *s)
{
	char path[4300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/nginx.conf", s->dir);
	f = fopen(path, "w");
	if (f == NULL || fprintf(f, config, s->port) < 0 || fclose(f) != 0)
		die(path);
}

/* Whatever the kernel has free now; whoever takes it meanwhile is noticed, and another is tried. */
static unsigned free_port(void)
{
	unsigned port;

	close(loopback_listener(&port));
	return port;
}

static pid_t read_pid(const struct server *s)
{
	char path[4300];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/nginx.pid", s->dir);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

/* The master and its workers, if all are there. */
static bool find_processes(struct server *s)
{
	char path[64];
	unsigned n = 1;
	FILE *f;

	s->pids[0] = read_pid(s);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", s->pids[0], s->pids[0]);
	f = s->pids[0] > 0 ? fopen(path, "r") : NULL;
	if (f == NULL)
		return false;
	while (n < NGINX_PROCESSES && fscanf(f, "%d", &s->pids[n]) == 1)
		n++;
	fclose(f);
	return n == NGINX_PROCESSES;
}

static bool wait_ready(struct server *s)
{
	for (int i = 0; i < 500; i++) {
		if (find_processes(s))
			return true;
		if (waitpid(s->child.pid, NULL, WNOHANG) != 0)
			return false;
		usleep(20000);
	}
	return false;
}

static struct server start_server(enum variant v)
{
	struct server s = { .runs = false };
	char error_log[4300], session[4200];
	const char *argv[] = { "nginx", "-e", error_log, "-p", s.dir, "-c", "nginx.conf", NULL };

	if (!can_start(v))
		return s;
	for (int i = 0; i < START_TRIES && !s.runs; i++) {
		new_dir(s.dir, sizeof(s.dir));
		new_dir(session, sizeof(session));
		snprintf(error_log, sizeof(error_log), "%s/error.log", s.dir);
		s.port = free_port();
		if (mkdir(s.dir, 0755) != 0)
			die(s.dir);
		configure(&s);
		s.child = start(v, session, argv);
		s.runs = wait_ready(&s);
	}
	if (!s.runs)
		die("nginx does not start");
	return s;
}

static void stop_server(struct server *s)
{
	kill(s->pids[0], SIGQUIT);
	stop(&s->child);
}

/* Time on a CPU, all that its processes have had: the first number of schedstat, in ns. */
static double cpu_ns(const struct server *s)
{
	double total = 0;

	for (unsigned i = 0; i < NGINX_PROCESSES; i++) {
		char path[64];
		double ns = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/schedstat", s->pids[i]);
		f = fopen(path, "r");
		if (f == NULL || fscanf(f, "%lf", &ns) != 1)
			die(path);
		fclose(f);
		total += ns;
	}
	return total;
}

static void send_request(int fd)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

	if (send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL) != sizeof(text) - 1)
		die("send");
}

static void take_answer(int fd)
{
	char text[1024];
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, text + len, sizeof(text) - len, 0)) > 0)
		len += (size_t)n;
	if (n < 0 || len < 16 || memcmp(text, "HTTP/1.1 200", 12) != 0)
		die("an answer of nginx");
}

static void request_batch(const struct server *s)
{
	int fds[BATCH];

	for (unsigned i = 0; i < BATCH; i++) {
		fds[i] = loopback_connect(s->port);
		if (fds[i] < 0)
			die("connect to nginx");
		send_request(fds[i]);
	}
	for (unsigned i = 0; i < BATCH; i++) {
		take_answer(fds[i]);
		close(fds[i]);
	}
}

static double run_round(const struct server *s, unsigned batches)
{
	double before = cpu_ns(s);

	for (unsigned i = 0; i < batches; i++)
		request_batch(s);
	return (cpu_ns(s) - before) / (batches * BATCH);
}

static void one_round(const struct server *servers, struct samples *s)
{
	unsigned r = s->rounds++;

	for (unsigned i = 0; i < VARIANTS; i++) {
		enum variant v = in_turn(r, i);

		if (servers[v].runs)
			s->of[v][r] = run_round(&servers[v], bench.smoke   ? 1
							     : v == STRACE ? BATCHES_TRACED
									   : BATCHES);
	}
}

static void measure_start(struct samples *samples, double end)
{
	struct server servers[VARIANTS];

	for (unsigned v = 0; v < VARIANTS; v++)
		servers[v] = start_server(v);
	for (unsigned r = 0; another_round(r, end); r++)
		one_round(servers, samples);
	for (unsigned v = 0; v < VARIANTS; v++) {
		if (servers[v].runs)
			stop_server(&servers[v]);
	}
}

void measure_nginx(void)
{
	static const char row[] = "nginx, CPU time a request";
	static struct samples samples;

	if (!wanted(row))
		return;
	if (!have_program("nginx")) {
		row_missing(row, "no nginx");
		return;
	}
	for (unsigned i = 0; i < starts(); i++)
		measure_start(&samples, now() + SECONDS * 1e9 / STARTS);
	row_compared(row, &samples, (struct budget){ .kind = RATIO, .value = 1.02 });
}
