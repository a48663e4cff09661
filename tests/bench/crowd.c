/* SPDX-License-Identifier: MIT */
/* What the tool makes of a record: `ls` over many processes, and binds that no poll would see. */
#include "bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTENERS 10
#define PROCESSES 1000
#define ROUNDS 15
#define BINDS 150
#define BIND_LIVES 500000

/* N children that have ten listeners of their parent's, until stdin ends. */
int crowd(const char *processes)
{
	int gate[2], first = 0;
	unsigned port;
	char byte;

	for (int i = 0; i < LISTENERS; i++)
		first = loopback_listener(&port);
	if (pipe(gate) != 0)
		die("pipe");
	for (int i = 0; i < atoi(processes); i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			/* Its first record, so that it is known by more than its parent's. */
			close(dup(first));
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

int short_binds(const char *binds)
{
	for (int i = 0; i < atoi(binds); i++) {
		unsigned port;
		double begin = now();
		int fd = loopback_listener(&port);

		while (now() - begin < BIND_LIVES)
			;
		close(fd);
	}
	return 0;
}

/* Wall time of a command, its output thrown away. */
static double command_ns(const char *const argv[])
{
	double begin = now();
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, STDOUT_FILENO);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die(argv[0]);
	return now() - begin;
}

/* What the kernel alone takes to say who lives. */
static double stats_ns(const struct child *c)
{
	char path[64], text[2048];
	double begin;
	int pid;
	FILE *children;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", c->pid, c->pid);
	children = fopen(path, "r");
	if (children == NULL)
		die(path);
	begin = now();
	while (fscanf(children, "%d", &pid) == 1) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
			die(path);
		close(fd);
	}
	fclose(children);
	return now() - begin;
}

static void measure_ls(void)
{
	static const char row[] = "ls, 1,000 processes x 10 ports";
	const char *crowd_argv[] = { bench.self, "--crowd", bench.smoke ? "20" : "1000", NULL };
	double times[ROUNDS], stats[ROUNDS];
	unsigned rounds = bench.smoke ? 1 : ROUNDS;
	char session[4200], line[16] = "";
	struct child c;

	if (!wanted(row))
		return;
	new_dir(session, sizeof(session));
	c = start(PORTSHIM, session, crowd_argv);
	if (fgets(line, sizeof(line), c.from) == NULL || strcmp(line, "ready\n") != 0)
		die("no crowd");
	for (unsigned r = 0; r < rounds; r++) {
		times[r] = command_ns((const char *[]){ bench.portshim, "ls", "-s", session, NULL });
		stats[r] = stats_ns(&c);
	}
	if (!bench.smoke)
		thousand_stats.here = median(stats, rounds);
	row_beside(row, median(stats, rounds), median(times, rounds), NS,
		   (struct budget){ AT_MOST, 20e6, &thousand_stats });
	stop(&c);
}

static void measure_short_binds(void)
{
	static const char row[] = "binds of 500 us seen, of 150";
	const char *argv[] = { bench.self, "--short-binds", "150", NULL };
	char session[4200], *line = NULL;
	const char *events_argv[] = { bench.portshim, "events", "--json", "-s", session, NULL };
	struct child c;
	size_t size = 0;
	int n = 0;

	if (!wanted(row))
		return;
	new_dir(session, sizeof(session));
	c = start(PORTSHIM, session, argv);
	stop(&c);
	c = start(BARE, NULL, events_argv);
	while (getline(&line, &size, c.from) > 0)
		n += strstr(line, "\"bind\"") != NULL;
	free(line);
	stop(&c);
	row_single(row, n, COUNT, (struct budget){ .kind = AT_LEAST, .value = BINDS });
}

void measure_crowd(void)
{
	measure_ls();
	measure_short_binds();
}
