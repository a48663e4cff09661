/* SPDX-License-Identifier: MIT */
/*
 * check [options]: for each seed lets a tree of processes loose under `portshim run`, stops it several
 * times, and holds the relation against /proc while nothing moves.  Speaks TAP, a test a seed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compare.h"
#include "util.h"

#define MS 1000000ull
#define STOP_MS 20000ull
#define SEED_MS 120000ull
#define PIDS_MAX 512
#define JOBS_MAX 64

struct options {
	unsigned long first, last;
	uint64_t holdings; /* 0: as many as the seeds give */
	unsigned jobs, rounds;
	bool verbose, keep;
	char own[PATH_MAX - 64], portshim[PATH_MAX], torture[PATH_MAX];
	char also[NAMES_MAX], without[NAMES_MAX], only[NAMES_MAX];
};

/* What one seed came to; written by its worker. */
struct result {
	struct count count;
	uint64_t rounds, processes;
};

struct worker {
	pid_t pid; /* 0: free */
	unsigned long seed;
	FILE *out;
	struct result *result;
};

/* One tree and its checker. */
struct run {
	const struct options *o;
	unsigned long seed;
	char dir[64], session[96], board_path[96], errors[96];
	struct board *board;
	struct relation relation;
	struct result *result;
	FILE *out;
	bool failed;
	pid_t pids[PIDS_MAX]; /* that live, ascending */
	size_t n_pids;
};

__attribute__((format(printf, 2, 3))) static void fail(struct run *r, const char *format, ...)
{
	va_list ap;

	r->failed = true;
	fputs("# ", r->out);
	va_start(ap, format);
	vfprintf(r->out, format, ap);
	va_end(ap);
	fputc('\n', r->out);
}

static void nap(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };

	nanosleep(&ts, NULL);
}

/* Who is there: the descendants of this process that are not only waited for. */

struct relative {
	pid_t pid, parent;
	bool dead, ours;
};

/* A process in the middle of an exec by another thread looks like a dead one by its first. */
static bool has_threads(pid_t pid)
{
	char path[64];
	CLEANUP_DIR DIR *dir = NULL;
	struct dirent *e;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir != NULL && (e = readdir(dir)) != NULL)
		n += e->d_name[0] != '.';
	return n > 1;
}

static bool read_relative(const char *pid, struct relative *out)
{
	char path[300], buf[512];
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;
	char *end, state;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	end = strrchr(buf, ')');
	*out = (struct relative){ .pid = atoi(pid) };
	if (end == NULL || sscanf(end + 1, " %c %d", &state, &out->parent) != 2)
		return false;
	out->dead = state == 'X' || (state == 'Z' && !has_threads(out->pid));
	return true;
}

/* All of the machine's, or those that fit. */
static size_t read_relatives(struct relative *list, size_t room)
{
	CLEANUP_DIR DIR *proc = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (proc != NULL && n < room && (e = readdir(proc)) != NULL) {
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && read_relative(e->d_name, &list[n]))
			n++;
	}
	return n;
}

static bool is_ours(const struct relative *list, size_t n, pid_t parent)
{
	if (parent == getpid())
		return true;
	for (size_t i = 0; i < n; i++) {
		if (list[i].pid == parent)
			return list[i].ours;
	}
	return false;
}

static int by_pid(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void find_pids(struct run *r)
{
	static struct relative list[8192];
	size_t n = read_relatives(list, ARRAY_LEN(list));
	bool more = true;

	r->n_pids = 0;
	while (more) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			if (list[i].ours || !is_ours(list, n, list[i].parent))
				continue;
			list[i].ours = more = true;
			if (!list[i].dead && r->n_pids < PIDS_MAX)
				r->pids[r->n_pids++] = list[i].pid;
		}
	}
	qsort(r->pids, r->n_pids, sizeof(pid_t), by_pid);
}

static bool lives(const struct run *r, pid_t pid)
{
	return pid > 0 && bsearch(&pid, r->pids, r->n_pids, sizeof(pid_t), by_pid) != NULL;
}

/* Orphans come to us.  False: there is nobody any more, and nobody can come. */
static bool reap(struct run *r)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		/* 127: of a child that posix_spawn could not make a program of. */
		if (status != 0 && status != W_EXITCODE(127, 0) && !r->failed)
			fprintf(r->out, "# pid %d ended with status %#x\n", pid, status);
	}
	return pid == 0;
}

/* Standing still; see board.h. */

static bool slots_stand(const struct run *r)
{
	for (size_t i = 0; i < SLOTS; i++) {
		const struct slot *s = &r->board->slots[i];

		if (atomic_load(&s->taken) == 0 || atomic_load(&s->leaving) != 0 || atomic_load(&s->pid) == 0)
			continue;
		if (atomic_load(&s->threads) != atomic_load(&s->parked) &&
		    (r->n_pids == 0 || lives(r, s->pid)))
			return false;
	}
	return true;
}

static struct slot *slot_of(const struct run *r, pid_t pid)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &r->board->slots[i];

		if (atomic_load(&s->taken) != 0 && atomic_load(&s->pid) == pid)
			return s;
	}
	return NULL;
}

static bool all_have_slots(const struct run *r)
{
	for (size_t i = 0; i < r->n_pids; i++) {
		const struct slot *s = slot_of(r, r->pids[i]);

		if (s == NULL || atomic_load(&s->leaving) != 0)
			return false;
	}
	return r->n_pids > 0;
}

/* A process whose number is lower than its parent's can be missed by one look. */
static bool finds_the_same_twice(struct run *r)
{
	pid_t first[PIDS_MAX];
	size_t n;

	find_pids(r);
	n = r->n_pids;
	memcpy(first, r->pids, n * sizeof(pid_t));
	find_pids(r);
	return r->n_pids == n && memcmp(first, r->pids, n * sizeof(pid_t)) == 0;
}

static bool stands_still(struct run *r)
{
	uint64_t taken = atomic_load(&r->board->taken);

	r->n_pids = 0;
	if (!slots_stand(r)) {
		/* Somebody may have died in the middle: then only /proc tells. */
		find_pids(r);
		if (!slots_stand(r))
			return false;
	}
	reap(r);
	return finds_the_same_twice(r) && all_have_slots(r) && slots_stand(r) &&
	       atomic_load(&r->board->taken) == taken;
}

static void wake(struct run *r)
{
	syscall(SYS_futex, &r->board->phase, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static bool stop(struct run *r)
{
	uint64_t until = board_now() + STOP_MS * MS;

	atomic_fetch_add(&r->board->phase, 1);
	while (!stands_still(r)) {
		if (board_now() > until)
			return false;
		nap(MS / 5);
	}
	return true;
}

static void go_on(struct run *r)
{
	atomic_fetch_add(&r->board->phase, 1);
	wake(r);
}

/* It did not say that it would: what it did last, and what it ended with if its parent has seen it. */
static void tell_death(struct run *r, pid_t pid)
{
	uint64_t end = atomic_load(&r->board->traces);

	fail(r, "pid %d has died", pid);
	for (uint64_t i = end > TRACES ? end - TRACES : 0; i < end; i++) {
		const struct trace *t = &r->board->trace[i % TRACES];

		if (t->pid == pid || t->a == pid)
			fprintf(r->out, "#   pid %d tid %d: %.15s %d %d\n", t->pid, t->tid, t->name, t->a,
				t->b);
	}
}

/* Slots of the dead, and of those who were never born. */
static void tidy_slots(struct run *r)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &r->board->slots[i];
		pid_t pid = atomic_load(&s->pid);

		if (atomic_load(&s->taken) == 0 || lives(r, pid))
			continue;
		if (atomic_load(&s->leaving) == 0) {
			atomic_fetch_sub(&r->board->live, 1);
			if (pid != 0)
				tell_death(r, pid);
		}
		atomic_store(&s->taken, 0);
	}
}

static void tell_standing(struct run *r)
{
	find_pids(r);
	for (size_t i = 0; i < r->n_pids; i++) {
		const struct slot *s = slot_of(r, r->pids[i]);
		char path[64], buf[128];
		CLEANUP_CLOSE int fd = -1;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/wchan", r->pids[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
		buf[n > 0 ? n : 0] = '\0';
		fprintf(r->out, "#   pid %d: slot %d, %u of %u threads parked%s; %s\n", r->pids[i],
			s != NULL ? (int)(s - r->board->slots) : -1, s != NULL ? s->parked : 0,
			s != NULL ? s->threads : 0, s != NULL && s->leaving ? ", leaving" : "", buf);
	}
}

/* A seed. */

static int map_board(struct run *r)
{
	CLEANUP_CLOSE int fd = open(r->board_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof(*r->board)) < 0)
		return -errno;
	r->board = mmap(NULL, sizeof(*r->board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return r->board == MAP_FAILED ? -errno : 0;
}

static int prepare(struct run *r)
{
	struct board *b;
	int ret;

	snprintf(r->dir, sizeof(r->dir), "/dev/shm/torture-XXXXXX");
	if (mkdtemp(r->dir) == NULL)
		return -errno;
	snprintf(r->session, sizeof(r->session), "%s/session", r->dir);
	snprintf(r->board_path, sizeof(r->board_path), "%s/board", r->dir);
	snprintf(r->errors, sizeof(r->errors), "%s/errors", r->dir);
	ret = map_board(r);
	if (ret < 0)
		return ret;
	b = r->board;
	b->deadline = board_now() + SEED_MS * MS;
	snprintf(b->name, sizeof(b->name), "%s", strrchr(r->dir, '/') + 1);
	memcpy(b->also, r->o->also, NAMES_MAX);
	memcpy(b->without, r->o->without, NAMES_MAX);
	memcpy(b->only, r->o->only, NAMES_MAX);
	b->slots[0].taken = 1;
	b->live = 1;
	return 0;
}

static void become_tree(struct run *r)
{
	struct rlimit limit = { FD_LIMIT, FD_LIMIT }, no_core = { 0 };
	char seed[32];
	int null = open("/dev/null", O_RDWR), errors = open(r->errors, O_WRONLY | O_CREAT | O_APPEND, 0600);

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)r->seed * 0x9e3779b97f4a7c15u);
	unsetenv("LD_PRELOAD");
	unsetenv("PORTSHIM_SESSION");
	unsetenv("PORTSHIM_PROCESS");
	dup2(null, 0);
	dup2(null, 1);
	dup2(errors, 2);
	close_range(3, ~0u, 0);
	setrlimit(RLIMIT_NOFILE, &limit);
	setrlimit(RLIMIT_CORE, &no_core);
	execl(r->o->portshim, r->o->portshim, "run", "-o", r->session, "--", r->o->torture, r->board_path,
	      "0", seed, (char *)NULL);
	_exit(126);
}

/* Until its first process has taken its slot: then there is a session to read. */
static bool start_tree(struct run *r)
{
	uint64_t until = board_now() + STOP_MS * MS;
	pid_t pid = fork();

	if (pid == 0)
		become_tree(r);
	while (pid > 0 && atomic_load(&r->board->slots[0].pid) != pid) {
		if (board_now() > until || waitpid(pid, NULL, WNOHANG) == pid)
			return false;
		nap(MS);
	}
	return pid > 0;
}

/* The fold of one poll after the other, and the same from the start. */
static void compare_anew(struct run *r)
{
	struct relation again = { 0 };
	struct count count = { 0 };

	if (relation_open(r->session, &again) == 0)
		compare(&again, r->pids, r->n_pids, r->board, &count, r->out);
	if (count.differences > 0)
		fail(r, "that was in a fold from the start");
	r->result->count.differences += count.differences;
	relation_close(&again);
}

static bool one_round(struct run *r, bool anew)
{
	uint64_t before = r->result->count.differences;

	if (!stop(r)) {
		fail(r, "does not stop");
		tell_standing(r);
		return false;
	}
	tidy_slots(r);
	compare(&r->relation, r->pids, r->n_pids, r->board, &r->result->count, r->out);
	if (anew)
		compare_anew(r);
	r->result->rounds++;
	r->result->processes += r->n_pids;
	if (r->o->verbose)
		fprintf(r->out, "# round %llu: %zu processes, %llu holdings so far\n",
			(unsigned long long)r->result->rounds, r->n_pids,
			(unsigned long long)r->result->count.holdings);
	if (r->result->count.differences != before)
		fail(r, "seed %lu, round %llu", r->seed, (unsigned long long)r->result->rounds);
	go_on(r);
	return !r->failed;
}

static void rounds(struct run *r)
{
	unsigned short dice[3] = { (unsigned short)r->seed, (unsigned short)(r->seed >> 16), 7 };

	for (unsigned i = 0; i < r->o->rounds; i++) {
		nap((uint64_t)(5 + nrand48(dice) % 40) * MS);
		if (!one_round(r, i + 1 == r->o->rounds))
			return;
	}
}

/* Those who do not end when told to are ours to end: nobody else descends from this process. */
static void end_tree(struct run *r)
{
	uint64_t until = board_now() + STOP_MS * MS;

	atomic_store(&r->board->end, 1);
	if (atomic_load(&r->board->phase) & 1)
		atomic_fetch_add(&r->board->phase, 1);
	wake(r);
	for (;;) {
		if (!reap(r))
			break;
		find_pids(r);
		if (board_now() > until) {
			if (!r->failed) {
				fail(r, "does not end");
				tell_standing(r);
			}
			for (size_t i = 0; i < r->n_pids; i++)
				kill(r->pids[i], SIGKILL);
		}
		nap(MS);
	}
	r->n_pids = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void tell_errors(struct run *r)
{
	CLEANUP_CLOSE int fd = open(r->errors, O_RDONLY | O_CLOEXEC);
	char buf[2048];
	ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	for (char *rest = buf, *line; (line = strsep(&rest, "\n")) != NULL;) {
		if (*line != '\0')
			fprintf(r->out, "# said: %s\n", line);
	}
}

static void keep_traces(struct run *r)
{
	uint64_t end = atomic_load(&r->board->traces);
	char path[sizeof(r->dir) + 16];
	FILE *f;

	fprintf(r->out, "# kept in %s\n", r->dir);
	snprintf(path, sizeof(path), "%s/traces", r->dir);
	f = fopen(path, "we");
	for (uint64_t i = end > TRACES ? end - TRACES : 0; f != NULL && i < end; i++) {
		const struct trace *t = &r->board->trace[i % TRACES];

		fprintf(f, "%llu %d %d %.15s %d %d\n", (unsigned long long)t->stamp, t->pid, t->tid, t->name,
			t->a, t->b);
	}
	if (f != NULL)
		fclose(f);
}

static void run_seed(struct run *r)
{
	int ret = prepare(r);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (ret < 0) {
		fail(r, "%s: %s", r->dir, strerror(-ret));
		return;
	}
	if (!start_tree(r))
		fail(r, "the tree does not start");
	else if ((ret = relation_open(r->session, &r->relation)) < 0)
		fail(r, "%s: %s", r->session, strerror(-ret));
	else
		rounds(r);
	end_tree(r);
	if (!r->failed) {
		compare(&r->relation, NULL, 0, r->board, &r->result->count, r->out);
		if (r->result->count.differences > 0)
			fail(r, "seed %lu, after the end", r->seed);
	}
	tell_errors(r);
	relation_close(&r->relation);
	if (r->failed && r->o->keep)
		keep_traces(r);
	else
		nftw(r->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Workers. */

static void start_worker(const struct options *o, struct worker *w, unsigned long seed)
{
	struct run run = { .o = o, .seed = seed, .result = w->result };

	memset(w->result, 0, sizeof(*w->result));
	w->seed = seed;
	w->out = tmpfile();
	if (w->out == NULL)
		exit(2);
	fflush(stdout);
	w->pid = fork();
	if (w->pid < 0)
		exit(2);
	if (w->pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run.out = w->out;
	run_seed(&run);
	fflush(run.out);
	_exit(run.failed);
}

static void copy_out(FILE *from)
{
	char buf[4096];
	size_t n;

	rewind(from);
	while ((n = fread(buf, 1, sizeof(buf), from)) > 0)
		fwrite(buf, 1, n, stdout);
	fclose(from);
}

struct totals {
	const struct options *o;
	uint64_t seeds, failed, rounds, processes;
	struct count count;
};

static void finish_worker(struct worker *w, int status, struct totals *t)
{
	const struct result *r = w->result;

	printf("%s %llu - seed %lu: %llu rounds, %llu holdings\n", status == 0 ? "ok" : "not ok",
	       (unsigned long long)++t->seeds, w->seed, (unsigned long long)r->rounds,
	       (unsigned long long)r->count.holdings);
	copy_out(w->out);
	if (status != 0)
		printf("# again: %s --seed %lu --keep\n", t->o->own, w->seed);
	fflush(stdout);
	t->failed += status != 0;
	t->rounds += r->rounds;
	t->processes += r->processes;
	t->count.holdings += r->count.holdings;
	t->count.nameless += r->count.nameless;
	t->count.twins += r->count.twins;
	t->count.partly += r->count.partly;
	t->count.dropped += r->count.dropped;
	t->count.differences += r->count.differences;
	w->pid = 0;
}

static void wait_worker(struct worker *workers, unsigned n, struct totals *t)
{
	int status;
	pid_t pid = wait(&status);

	for (unsigned i = 0; i < n; i++) {
		if (workers[i].pid == pid && pid > 0)
			finish_worker(&workers[i], status, t);
	}
}

static struct worker *free_worker(struct worker *workers, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (workers[i].pid == 0)
			return &workers[i];
	}
	return NULL;
}

static bool busy(const struct worker *workers, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (workers[i].pid != 0)
			return true;
	}
	return false;
}

static void run_all(const struct options *o, struct totals *t)
{
	struct worker workers[JOBS_MAX] = { 0 };
	struct result *results = mmap(NULL, sizeof(*results) * JOBS_MAX, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned long seed = o->first;

	if (results == MAP_FAILED)
		exit(2);
	for (unsigned i = 0; i < o->jobs; i++)
		workers[i].result = &results[i];
	for (;;) {
		struct worker *w = free_worker(workers, o->jobs);
		bool more =
			o->holdings > 0 ? t->count.holdings < o->holdings && t->failed == 0 : seed <= o->last;

		if (more && w != NULL)
			start_worker(o, w, seed++);
		else if (busy(workers, o->jobs))
			wait_worker(workers, o->jobs, t);
		else
			return;
	}
}

/* Options. */

static int usage(void)
{
	fputs("usage: check [--seeds A-B | --seed N | --from N --holdings N] [--jobs N] [--rounds N] "
	      "[--keep]\n"
	      "             [--also OP,…] [--without OP,…] [--only OP,…]\n",
	      stderr);
	return 2;
}

static bool set_names(char out[NAMES_MAX], const char *list)
{
	return snprintf(out, NAMES_MAX, ",%s,", list) < NAMES_MAX;
}

static bool set_option(struct options *o, int opt, const char *value)
{
	switch (opt) {
	case 's':
		return sscanf(value, "%lu-%lu", &o->first, &o->last) == 2;
	case 'n':
		o->first = o->last = strtoul(value, NULL, 10);
		o->verbose = true;
		return true;
	case 'f':
		o->first = strtoul(value, NULL, 10);
		return true;
	case 'h':
		o->holdings = strtoull(value, NULL, 10);
		return o->holdings > 0;
	case 'j':
		o->jobs = (unsigned)atoi(value);
		return o->jobs > 0 && o->jobs <= JOBS_MAX;
	case 'r':
		o->rounds = (unsigned)atoi(value);
		return o->rounds > 0;
	case 'k':
		o->keep = true;
		return true;
	case 'a':
		return set_names(o->also, value);
	case 'w':
		return set_names(o->without, value);
	case 'o':
		return set_names(o->only, value);
	default:
		return false;
	}
}

static bool parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", 1, NULL, 's' },
		{ "seed", 1, NULL, 'n' },
		{ "from", 1, NULL, 'f' },
		{ "holdings", 1, NULL, 'h' },
		{ "jobs", 1, NULL, 'j' },
		{ "rounds", 1, NULL, 'r' },
		{ "also", 1, NULL, 'a' },
		{ "only", 1, NULL, 'o' },
		{ "without", 1, NULL, 'w' },
		{ "keep", 0, NULL, 'k' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (!set_option(o, opt, optarg))
			return false;
	}
	return optind == argc;
}

/* BUILD/tests/torture/check: the others are near. */
static bool find_programs(struct options *o)
{
	ssize_t n = readlink("/proc/self/exe", o->own, sizeof(o->own) - 1);
	int dir;

	if (n <= 0)
		return false;
	o->own[n] = '\0';
	dir = (int)(strrchr(o->own, '/') - o->own);
	snprintf(o->torture, sizeof(o->torture), "%.*s/torture", dir, o->own);
	snprintf(o->portshim, sizeof(o->portshim), "%.*s/../../portshim", dir, o->own);
	return access(o->torture, X_OK) == 0 && access(o->portshim, X_OK) == 0;
}

static void print_totals(const struct totals *t)
{
	const struct count *c = &t->count;

	printf("1..%llu\n", (unsigned long long)t->seeds);
	printf("# %llu rounds of %llu processes, %llu holdings (%llu nameless, %llu of them twins, %llu of "
	       "partly covered), %llu records dropped\n",
	       (unsigned long long)t->rounds, (unsigned long long)t->processes,
	       (unsigned long long)c->holdings, (unsigned long long)c->nameless, (unsigned long long)c->twins,
	       (unsigned long long)c->partly, (unsigned long long)c->dropped);
	printf("# %llu seeds, %llu failed: %llu differences in %llu holdings\n", (unsigned long long)t->seeds,
	       (unsigned long long)t->failed, (unsigned long long)c->differences,
	       (unsigned long long)c->holdings);
}

int main(int argc, char **argv)
{
	struct options o = {
		.first = 1, .last = 200, .rounds = 6, .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)
	};
	struct totals t = { .o = &o };

	if (o.jobs > JOBS_MAX)
		o.jobs = JOBS_MAX;
	if (!parse(&o, argc, argv) || !find_programs(&o))
		return usage();
	run_all(&o, &t);
	print_totals(&t);
	return t.failed > 0 || t.count.holdings == 0;
}
