/* SPDX-License-Identifier: MIT */
/*
 * Reading: from an arena of about a million records to the relation.  They are those of eight busy
 * servers that write at the same time, each to chunks of its own: connections accepted and closed,
 * listeners that come and go, children that inherit and end.
 */
#include "arena.h"
#include "bench.h"

#include <netinet/in.h>
#include <string.h>

#include "model.h"
#include "reader.h"

#define ROW_READ "events read"
#define ROW_FOLDED "events read and folded"
#define SERVERS 8
#define RECORDS 1000000
#define ROUNDS 5
#define LISTENER_FD 3
#define CONNECTION_FD 4
#define OTHER_FD 5
#define ACCEPTS 4 /* a turn */

struct server {
	struct log log;
	uint64_t process, children;
	unsigned records;
};

static uint64_t next_cookie = 1;

static struct ps_event *new_event(enum ps_kind kind, int fd)
{
	static struct ps_event ev;

	ev = (struct ps_event){ .kind = (uint8_t)kind, .fd = fd, .stamp = log_stamp() };
	return &ev;
}

static void add(struct server *s, struct ps_event *ev)
{
	if (log_append(&s->log, ev, NULL, 0, false, NULL) != LOG_OK)
		die("append");
	s->records++;
}

static struct ps_addr loopback_name(uint16_t port)
{
	return (struct ps_addr){ .family = AF_INET, .port = port, .bytes = { 127, 0, 0, 1 } };
}

static void add_listener(struct server *s, int fd)
{
	uint64_t cookie = next_cookie++;
	struct ps_event *ev = new_event(PS_SOCKET, fd);

	ev->socket.cookie = cookie;
	ev->socket.family = AF_INET;
	ev->socket.type = SOCK_STREAM;
	add(s, ev);
	ev = new_event(PS_BIND, fd);
	ev->bind.cookie = cookie;
	ev->bind.address = loopback_name((uint16_t)(1024 + cookie % 60000));
	add(s, ev);
	ev = new_event(PS_LISTEN, fd);
	ev->listen.cookie = cookie;
	ev->listen.backlog = 128;
	add(s, ev);
}

static void add_close(struct server *s, int fd, uint64_t cookie)
{
	struct ps_event *ev = new_event(PS_CLOSE, fd);

	ev->close.cookie = cookie;
	add(s, ev);
}

static void add_connection(struct server *s, uint64_t listener)
{
	struct ps_event *ev = new_event(PS_ACCEPT, CONNECTION_FD);

	ev->accept.listener = listener;
	ev->accept.address = loopback_name((uint16_t)(1024 + s->records % 60000));
	add(s, ev);
	add_close(s, CONNECTION_FD, 0);
}

static void add_child(struct server *s)
{
	uint64_t child = s->process + ++s->children;
	/* Beyond what any kernel gives, so that none of them lives. */
	uint32_t pid = 0x40000000u + (uint32_t)child;
	struct ps_event *ev = new_event(PS_FORK, -1);

	ev->fork.child = child;
	add(s, ev);
	ev = new_event(PS_FORKED, -1);
	ev->forked.child = child;
	ev->forked.pid = pid;
	add(s, ev);
	ev = new_event(PS_BORN, -1);
	ev->process = child;
	ev->born.parent = s->process;
	ev->born.pid = pid;
	add(s, ev);
	ev = new_event(PS_EXIT, -1);
	ev->process = child;
	add(s, ev);
}

static void add_turn(struct server *s, uint64_t listener)
{
	uint64_t other = next_cookie;

	for (unsigned i = 0; i < ACCEPTS; i++)
		add_connection(s, listener);
	add_listener(s, OTHER_FD);
	add_close(s, OTHER_FD, other);
	add_child(s);
}

static void start_server(struct server *s, unsigned i, const char *dir)
{
	struct ps_event *ev;

	s->process = (uint64_t)(i + 1) << 32;
	arena_open(&s->log, dir, s->process);
	ev = new_event(PS_START, -1);
	ev->start.pid = 0x40000000u + i;
	add(s, ev);
	add_listener(s, LISTENER_FD);
}

static const char *filled;
static unsigned records_wanted;

static void fill(double *out, unsigned n)
{
	static struct server servers[SERVERS];

	for (unsigned i = 0; i < SERVERS; i++)
		start_server(&servers[i], i, filled);
	while (servers[0].records < records_wanted / SERVERS) {
		for (unsigned i = 0; i < SERVERS; i++)
			add_turn(&servers[i], i + 1);
	}
	for (unsigned i = 0; i < SERVERS; i++)
		out[0] += servers[i].records;
}

enum { GOT, TIME, RESULTS };

/* Opens the session and takes all records in order; m: and folds them. */
static void take_all(struct model *m, double *out)
{
	const struct record *record;
	struct reader *reader;
	int ret;

	if (reader_open(filled, &reader) != 0 || reader_begin(reader) != 0)
		die("reading");
	for (; (ret = reader_next(reader, &record)) > 0; out[GOT]++) {
		if (m != NULL && model_add(m, record, 1) != 0)
			die("folding");
	}
	if (ret < 0)
		die("reading");
}

static void read_only(double *out, unsigned n)
{
	double begin = now();

	out[GOT] = 0;
	take_all(NULL, out);
	out[TIME] = now() - begin;
}

static void read_and_fold(double *out, unsigned n)
{
	double begin = now();
	struct model *m = model_new();

	if (m == NULL)
		die("folding");
	out[GOT] = 0;
	take_all(m, out);
	out[TIME] = now() - begin;
}

/* Records a second. */
static double one_round(void (*measure)(double *out, unsigned n), double written)
{
	double out[RESULTS];

	apart(measure, out, RESULTS);
	if (out[GOT] != written)
		die("records are missing");
	return written / out[TIME] * 1e9;
}

static void read_rounds(double *read, double *folded, unsigned rounds, double written)
{
	for (unsigned r = 0; r < rounds; r++) {
		read[r] = one_round(read_only, written);
		folded[r] = one_round(read_and_fold, written);
	}
}

void measure_reading(void)
{
	double read[ROUNDS], folded[ROUNDS], written = 0;
	unsigned rounds = bench.smoke ? 1 : ROUNDS;
	char dir[4200];

	if (!wanted(ROW_READ) && !wanted(ROW_FOLDED))
		return;
	new_dir(dir, sizeof(dir));
	filled = dir;
	records_wanted = bench.smoke ? RECORDS / 100 : RECORDS;
	apart(fill, &written, 1);
	read_rounds(read, folded, rounds, written);
	remove_dir(dir);
	if (wanted(ROW_READ))
		row_single(ROW_READ, median(read, rounds), PER_SECOND, (struct budget){ .kind = NO_BUDGET });
	if (wanted(ROW_FOLDED))
		row_single(ROW_FOLDED, median(folded, rounds), PER_SECOND,
			   (struct budget){ .kind = AT_LEAST, .value = 5e6 });
}
