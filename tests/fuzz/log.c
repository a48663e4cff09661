/* SPDX-License-Identifier: MIT */
/*
 * The reader and the model on logs that make no sense, for libFuzzer.  The first byte says what the rest is:
 *
 *   0  an arena from its first byte on, as any program of its uid could have left it
 *   1  the session's own file
 *   2  slots: they are put into a chunk whose header is right, with commit words, kinds and ids that the
 *      reader lets pass, so that what is wrong in them reaches the model
 *   3  as 2, in a ring
 *
 * Half of it is there at the first poll; all of it at the second, as if it had been written meanwhile.
 */
#include <fcntl.h>
#include <json-c/json_object.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/session.h"
#include "event_text.h"
#include "model.h"
#include "out.h"
#include "reader.h"
#include "view.h"

#define ARENA_SIZE (64u << 10) /* the least that a session file may say */
#define CHUNK_PAGES 4u
#define IDS 16u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/portshim-fuzz-XXXXXX";
static char session_path[64], arena_path[64];
static char session_text[128];
static FILE *nowhere;

static void check(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static void remove_all(void)
{
	unlink(session_path);
	unlink(arena_path);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	check(mkdtemp(dir) != NULL, dir);
	snprintf(session_path, sizeof(session_path), "%s/" SESSION_FILE, dir);
	snprintf(arena_path, sizeof(arena_path), "%s/" SESSION_ARENA_PREFIX "%u", dir, geteuid());
	snprintf(session_text, sizeof(session_text), "portshim-session %d\nsize %u\ncreated 1\nboot x\n",
		 PS_VERSION, ARENA_SIZE);
	nowhere = fopen("/dev/null", "w");
	check(nowhere != NULL, "/dev/null");
	atexit(remove_all);
	return 0;
}

/* The file anew, with these bytes; of an arena's size if it is one. */
static void write_file(const char *path, const void *bytes, size_t len, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check(fd >= 0, path);
	check(write(fd, bytes, len) == (ssize_t)len, path);
	check(ftruncate(fd, (off_t)size) == 0, path);
	close(fd);
}

/* What the reader would refuse at first sight is made right; all else stays as it came. */
static void make_slot(struct ps_event *ev)
{
	uint64_t *ids = (uint64_t *)(void *)ev->payload;

	ev->commit = PS_COMMIT(0, PS_DONE);
	ev->kind = (uint8_t)(1 + ev->kind % (PS_KINDS - 1));
	ev->slots = (uint8_t)(1 + ev->slots % 4);
	ev->tail = (uint16_t)(ev->tail % ((ev->slots - 1u) * PS_TAIL_BYTES + 1));
	/* Few of each, or they would never meet. */
	ev->process = 1 + ev->process % IDS;
	ev->fd = ev->fd % (int)IDS;
	ev->stamp %= 1u << 20;
	ids[0] %= IDS;
}

static size_t make_chunk(const uint8_t *data, size_t size, bool ring, char *arena)
{
	const struct ps_chunk head = { .magic = PS_CHUNK_MAGIC,
				       .version = PS_VERSION,
				       .endian = PS_ENDIAN,
				       .pages = CHUNK_PAGES,
				       .owner = 1,
				       .ring = ring };
	struct ps_chunk *chunk = (void *)(arena + PS_PAGE);
	char *slots = (char *)(chunk + 1);
	size_t n = size / PS_SLOT_SIZE, tails = 0;

	if (n > PS_CHUNK_SLOTS(CHUNK_PAGES))
		n = PS_CHUNK_SLOTS(CHUNK_PAGES);
	memcpy(slots, data, n * PS_SLOT_SIZE);
	for (size_t i = 0; i < n; i++) {
		struct ps_event *ev = (void *)(slots + i * PS_SLOT_SIZE);

		if (tails > 0) {
			ev->commit = PS_COMMIT(0, PS_TAIL);
			tails--;
			continue;
		}
		make_slot(ev);
		tails = ev->slots - 1u;
	}
	*chunk = head;
	chunk->count = n;
	return PS_PAGE + CHUNK_PAGES * PS_PAGE;
}

static void lay(uint8_t mode, const uint8_t *data, size_t size)
{
	static char arena[ARENA_SIZE];
	size_t len = size < sizeof(arena) ? size : sizeof(arena);

	memset(arena, 0, sizeof(arena));
	if (mode >= 2)
		len = make_chunk(data, size, mode == 3, arena);
	else if (mode == 0)
		memcpy(arena, data, len);
	else
		len = 0;
	write_file(arena_path, arena, len, ARENA_SIZE);
}

/* All that can be said of it, said. */
static void tell(struct model *m, const struct record *records, size_t n)
{
	const struct holder_filter every = { .live = true, .past = true, .all = true };
	struct event_writer writer = { .model = m };
	struct view v;

	for (size_t i = 0; i < n; i++) {
		event_put_text(&writer, &records[i], nowhere);
		json_object_put(event_object(&writer, &records[i]));
	}
	if (view_holders(m, 0, &every, &v) == 0) {
		out_json(&v, nowhere);
		view_free(&v);
	}
	if (view_tree(m, 0, true, true, &v) == 0) {
		out_json(&v, nowhere);
		view_free(&v);
	}
}

static void read_twice(uint8_t mode, const uint8_t *data, size_t size)
{
	struct reader *r;
	struct reader_stats stats;
	struct model *m;
	const struct record *records;
	size_t n = 0, before;

	if (reader_open(dir, &r) != 0)
		return;
	m = model_new();
	check(m != NULL, "model_new");
	for (int poll = 0; poll < 2; poll++) {
		before = n;
		if (poll == 1)
			lay(mode, data, size);
		if (reader_poll(r) < 0)
			break;
		records = reader_records(r, &n);
		check(n >= before, "records are not forgotten");
		if (n > before)
			check(model_add(m, records + before, n - before) == 0, "model_add");
		check(model_settle(m, false) == 0, "model_settle");
		if (poll == 1 && n > 0)
			tell(m, records, n);
	}
	reader_stats(r, &stats);
	model_free(m);
	reader_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t mode;

	if (size == 0)
		return 0;
	mode = data[0] & 3;
	data++;
	size--;
	if (mode == 1)
		write_file(session_path, data, size, size);
	else
		write_file(session_path, session_text, strlen(session_text), strlen(session_text));
	lay(mode, data, size / 2);
	read_twice(mode, data, size);
	return 0;
}
