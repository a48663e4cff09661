/* SPDX-License-Identifier: MIT */
/* The log: concurrent writers, torn records, a full file, corrupt files, children, other uids. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/session.h"
#include "reader.h"

#define THREADS 4
#define PER_THREAD 20000u

static char dir[64];
static char arena[SESSION_PATH_MAX];
static struct log writer;

static int setup(void **state)
{
	strcpy(dir, "/dev/shm/portshim-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(session_make(dir), 0);
	assert_int_equal(session_arena_path(dir, geteuid(), arena, sizeof(arena)), 0);
	memset(&writer, 0, sizeof(writer));
	return 0;
}

static int teardown(void **state)
{
	char path[SESSION_PATH_MAX + 16];

	unlink(arena);
	snprintf(path, sizeof(path), "%s/session", dir);
	unlink(path);
	return rmdir(dir);
}

static struct ps_event event(uint8_t kind, int fd)
{
	return (struct ps_event){ .kind = kind, .slots = 1, .fd = fd, .stamp = log_stamp() };
}

static size_t read_all(struct reader **r, const struct record **records)
{
	size_t n;

	assert_int_equal(reader_open(dir, r), 0);
	assert_true(reader_poll(*r) >= 0);
	*records = reader_records(*r, &n);
	return n;
}

static struct reader_stats stats_of(struct reader *r)
{
	struct reader_stats s;

	reader_stats(r, &s);
	return s;
}

static void one_record_comes_back(void **state)
{
	struct ps_event ev = event(PS_LISTEN, 7);
	const struct record *records;
	struct reader *r;

	ev.listen.backlog = 128;
	ev.listen.cookie = UINT64_C(0xfeedfacecafe);
	assert_int_equal(log_open(&writer, arena, geteuid(), 42), 0);
	assert_int_equal(log_append(&writer, &ev, NULL, 0, false, NULL), LOG_OK);
	assert_int_equal(read_all(&r, &records), 1);
	assert_int_equal(records[0].ev.kind, PS_LISTEN);
	assert_int_equal(records[0].ev.process, 42);
	assert_int_equal(records[0].ev.fd, 7);
	assert_int_equal(records[0].ev.listen.backlog, 128);
	assert_int_equal(records[0].ev.listen.cookie, UINT64_C(0xfeedfacecafe));
	assert_int_equal(records[0].uid, geteuid());
	reader_close(r);
}

static void tails_of_every_length(void **state)
{
	char tail[PS_TAIL_MAX];
	const struct record *records;
	struct reader *r;
	size_t n;

	for (size_t i = 0; i < sizeof(tail); i++)
		tail[i] = (char)('a' + i % 26);
	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	for (size_t len = 0; len <= sizeof(tail); len++) {
		struct ps_event ev = event(PS_EXEC, (int)len);

		assert_int_equal(log_append(&writer, &ev, tail, len, false, NULL), LOG_OK);
	}
	n = read_all(&r, &records);
	assert_int_equal(n, sizeof(tail) + 1);
	for (size_t i = 0; i < n; i++) {
		size_t len = (size_t)records[i].ev.fd;

		assert_int_equal(records[i].tail_len, len);
		assert_memory_equal(len > 0 ? records[i].tail : "", tail, len);
	}
	assert_int_equal(stats_of(r).torn, 0);
	assert_int_equal(stats_of(r).bad, 0);
	reader_close(r);
}

static void a_tail_too_long_is_cut_and_says_so(void **state)
{
	char tail[PS_TAIL_MAX + 1] = "x";
	struct ps_event ev = event(PS_EXEC, 1);
	const struct record *records;
	struct reader *r;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	assert_int_equal(log_append(&writer, &ev, tail, sizeof(tail), false, NULL), LOG_OK);
	assert_int_equal(read_all(&r, &records), 1);
	assert_true(records[0].ev.flags & PS_F_TRUNCATED);
	assert_int_equal(records[0].tail_len, PS_TAIL_MAX);
	reader_close(r);
}

static void *write_many(void *arg)
{
	for (uint32_t i = 0; i < PER_THREAD; i++) {
		struct ps_event ev = event(PS_OPTION, (int)(intptr_t)arg);

		ev.option.value = (int32_t)i;
		/* Some with a tail, so that records straddle the ends of chunks. */
		log_append(&writer, &ev, "tail", i % 7 == 0 ? 4 : 0, false, NULL);
	}
	return NULL;
}

static void concurrent_writers_lose_nothing(void **state)
{
	static unsigned char seen[THREADS][PER_THREAD];
	const struct record *records;
	pthread_t threads[THREADS];
	struct reader *r;
	size_t n;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	for (intptr_t t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, write_many, (void *)t), 0);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	n = read_all(&r, &records);
	assert_int_equal(n, THREADS * PER_THREAD);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(seen[records[i].ev.fd][records[i].ev.option.value]++, 0);
		assert_true(i == 0 || records[i].ev.stamp >= records[i - 1].ev.stamp);
	}
	assert_int_equal(stats_of(r).torn + stats_of(r).dropped + stats_of(r).bad, 0);
	reader_close(r);
}

/* As many logs as there are writers, which take turns: one order, however often it is read. */
static void many_chunks_are_one_order(void **state)
{
	enum { LOGS = 5, TURNS = 3000 };
	static struct log logs[LOGS];
	const struct record *record;
	struct reader *r;
	uint32_t n;

	for (uint64_t i = 0; i < LOGS; i++) {
		memset(&logs[i], 0, sizeof(logs[i]));
		assert_int_equal(log_open(&logs[i], arena, geteuid(), i + 1), 0);
	}
	for (uint32_t i = 0; i < LOGS * TURNS; i++) {
		struct ps_event ev = event(PS_OPTION, 3);

		ev.option.value = (int32_t)i;
		assert_int_equal(
			log_append(&logs[i / 7 % LOGS], &ev, "tail", i % 50 == 0 ? 4 : 0, false, NULL),
			LOG_OK);
	}
	assert_int_equal(reader_open(dir, &r), 0);
	for (int times = 0; times < 2; times++) {
		assert_int_equal(reader_begin(r), 0);
		for (n = 0; reader_next(r, &record) > 0; n++) {
			assert_int_equal(record->ev.option.value, n);
			assert_int_equal(record->tail_len, n % 50 == 0 ? 4 : 0);
		}
		assert_int_equal(n, LOGS * TURNS);
		assert_int_equal(reader_begin(r), 0);
		assert_int_equal(reader_next(r, &record), 0);
		reader_rewind(r);
	}
	reader_close(r);
}

/* A reader beside the writers never sees a record twice, half or wrong. */
static void reading_while_written(void **state)
{
	pthread_t threads[THREADS];
	const struct record *records;
	struct reader *r;
	size_t n;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	assert_int_equal(reader_open(dir, &r), 0);
	for (intptr_t t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, write_many, (void *)t), 0);
	for (int i = 0; i < 20; i++)
		assert_true(reader_poll(r) >= 0);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	assert_true(reader_poll(r) >= 0);
	records = reader_records(r, &n);
	assert_int_equal(n, THREADS * PER_THREAD);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(records[i].ev.kind, PS_OPTION);
	assert_int_equal(stats_of(r).bad, 0);
	reader_close(r);
}

static void the_ring_keeps_the_last_and_counts_the_rest(void **state)
{
	const uint32_t all = 50000;
	const struct record *records;
	struct reader *r;
	size_t n;
	int32_t last = -1;
	uint64_t in_ring = 0;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	for (uint32_t i = 0; i < all; i++) {
		struct ps_event ev = event(PS_ACCEPT, (int)i);

		assert_int_equal(log_append(&writer, &ev, NULL, 0, true, NULL), LOG_OK);
	}
	n = read_all(&r, &records);
	for (size_t i = 0; i < n; i++) {
		assert_true(records[i].ev.fd > last);
		last = records[i].ev.fd;
		in_ring++;
	}
	assert_int_equal(last, all - 1);
	assert_int_equal(stats_of(r).overwritten + in_ring, all);
	assert_true(stats_of(r).bytes < 256 * 1024);
	reader_close(r);
}

static void main_records_survive_any_number_of_ring_records(void **state)
{
	struct ps_event keep = event(PS_LISTEN, 3);
	const struct record *records;
	struct reader *r;
	size_t n, kept = 0;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	for (int i = 0; i < 30000; i++) {
		struct ps_event ev = event(PS_ACCEPT, i);

		log_append(&writer, &ev, NULL, 0, true, NULL);
		if (i % 100 == 0)
			log_append(&writer, &keep, NULL, 0, false, NULL);
	}
	n = read_all(&r, &records);
	for (size_t i = 0; i < n; i++)
		kept += records[i].ev.kind == PS_LISTEN;
	assert_int_equal(kept, 300);
	reader_close(r);
}

static void a_counter_changes_in_place(void **state)
{
	struct ps_event ev = event(PS_COUNT, 3), *place = NULL;
	const struct record *records;
	struct reader *r;
	size_t n;

	ev.count.accepts = 1;
	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	assert_int_equal(log_append(&writer, &ev, NULL, 0, false, &place), LOG_OK);
	assert_int_equal(read_all(&r, &records), 1);
	place->count.accepts = 1000;
	assert_int_equal(reader_poll(r), 1);
	records = reader_records(r, &n);
	assert_int_equal(records[1].ev.count.accepts, 1000);
	assert_int_equal(records[1].place, records[0].place);
	reader_close(r);
}

static void a_torn_record_is_counted_and_left_out(void **state)
{
	struct ps_event ev = event(PS_LISTEN, 1), *place = NULL;
	const struct record *records;
	struct reader *r;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	log_append(&writer, &ev, NULL, 0, false, NULL);
	log_append(&writer, &ev, NULL, 0, false, &place);
	log_append(&writer, &ev, NULL, 0, false, NULL);
	/* As a writer leaves it that was killed in the middle. */
	place->commit = PS_COMMIT(0, PS_BEGIN);
	assert_int_equal(read_all(&r, &records), 2);
	assert_int_equal(stats_of(r).torn, 1);
	/* And if it was only slow. */
	place->commit = PS_COMMIT(0, PS_DONE);
	assert_int_equal(reader_poll(r), 1);
	assert_int_equal(stats_of(r).torn, 0);
	reader_close(r);
}

static void killed_at_any_instant(void **state)
{
	for (int i = 0; i < 40; i++) {
		struct ps_event ev = event(PS_OPTION, i);
		uint64_t *acknowledged =
			mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		const struct record *records;
		struct reader *r;
		pid_t pid;
		size_t n, mine = 0;

		assert_ptr_not_equal(acknowledged, MAP_FAILED);
		pid = fork();
		if (pid == 0) {
			memset(&writer, 0, sizeof(writer));
			if (log_open(&writer, arena, geteuid(), (uint64_t)i + 1) < 0)
				_exit(1);
			for (;;) {
				log_append(&writer, &ev, NULL, 0, false, NULL);
				(*(volatile uint64_t *)acknowledged)++;
			}
		}
		while (*(volatile uint64_t *)acknowledged < (uint64_t)i * 50)
			;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		n = read_all(&r, &records);
		for (size_t k = 0; k < n; k++)
			mine += records[k].ev.process == (uint64_t)i + 1;
		assert_true(mine >= *acknowledged);
		assert_true(mine <= *acknowledged + 1);
		reader_close(r);
		munmap(acknowledged, 4096);
	}
}

/* A file system of 256 KiB: the arena is sized to it, fills up, and nobody is hurt. */
static void a_full_disk_is_a_counted_drop(void **state)
{
	char fs[] = "/dev/shm/portshim-full-XXXXXX", path[SESSION_PATH_MAX], filler[64];
	struct session_info info;
	struct reader_stats s;
	struct reader *r;
	uint64_t dropped = 0;
	int fd;

	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(fs));
	if (mount("portshim-test", fs, "tmpfs", 0, "size=1m") < 0)
		skip();
	snprintf(filler, sizeof(filler), "%s/s", fs);
	assert_int_equal(session_make(filler), 0);
	assert_int_equal(session_info(filler, 0, &info), 0);
	assert_true(info.size <= 1 << 20);
	assert_int_equal(session_arena_path(filler, 0, path, sizeof(path)), 0);
	assert_int_equal(log_open(&writer, path, 0, 1), 0);
	snprintf(filler, sizeof(filler), "%s/filler", fs);
	fd = open(filler, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	while (write(fd, dir, sizeof(dir)) == (ssize_t)sizeof(dir))
		;
	for (int i = 0; i < 20000; i++) {
		struct ps_event ev = event(PS_OPTION, i);

		dropped += log_append(&writer, &ev, NULL, 0, false, NULL) == LOG_DROPPED;
	}
	assert_true(dropped > 0);
	/* Room again: the next records say how many are missing. */
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	for (int i = 0; i < 20000; i++) {
		struct ps_event ev = event(PS_OPTION, i);
		enum log_result result = log_append(&writer, &ev, NULL, 0, false, NULL);

		if (result == LOG_RECOVERED)
			break;
		dropped += result == LOG_DROPPED;
		assert_int_not_equal(i, 19999);
	}
	snprintf(filler, sizeof(filler), "%s/s", fs);
	assert_int_equal(reader_open(filler, &r), 0);
	assert_true(reader_poll(r) > 0);
	reader_stats(r, &s);
	assert_int_equal(s.dropped, dropped);
	reader_close(r);
	assert_int_equal(umount2(fs, MNT_DETACH), 0);
	rmdir(fs);
}

static void a_frozen_log_claims_nothing_more(void **state)
{
	struct reader_stats before;
	const struct record *records;
	uint64_t written = 0;
	struct reader *r;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	log_reserve(&writer);
	read_all(&r, &records);
	before = stats_of(r);
	reader_close(r);
	writer.frozen = true;
	for (int i = 0; i < 5000; i++) {
		struct ps_event ev = event(PS_OPTION, i);

		written += log_append(&writer, &ev, NULL, 0, false, NULL) == LOG_OK;
	}
	assert_true(written >= PS_CHUNK_SLOTS(16));
	assert_int_equal(read_all(&r, &records), written);
	assert_int_equal(stats_of(r).bytes, before.bytes);
	assert_int_equal(stats_of(r).dropped, 5000 - written);
	reader_close(r);
}

static void a_child_borrows_then_has_its_own(void **state)
{
	const struct record *records;
	struct reader *r;
	size_t n, own = 0;
	pid_t pid;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	pid = fork();
	if (pid == 0) {
		log_forked(&writer, 2);
		for (int i = 0; i < 30; i++) {
			struct ps_event ev = event(PS_OPTION, i);

			log_append(&writer, &ev, NULL, 0, false, NULL);
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	n = read_all(&r, &records);
	for (size_t i = 0; i < n; i++)
		own += records[i].ev.process == 2;
	assert_int_equal(own, 30);
	assert_int_equal(stats_of(r).chunks, 2);
	reader_close(r);
}

static void no_descriptor_stays_open(void **state)
{
	int before = dup(0), after;

	close(before);
	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	for (int i = 0; i < 3000; i++) {
		struct ps_event ev = event(PS_OPTION, i);

		log_append(&writer, &ev, NULL, 0, i % 2, NULL);
	}
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

static void an_arena_that_is_not_private_is_refused(void **state)
{
	assert_int_equal(chmod(arena, 0644), 0);
	assert_int_equal(log_open(&writer, arena, geteuid(), 1), -EPERM);
	assert_int_equal(chmod(arena, 0600), 0);
	assert_int_equal(log_open(&writer, arena, geteuid() + 1, 1), -EPERM);
	assert_int_equal(log_open(&writer, "/nonexistent/arena.0", geteuid(), 1), -ENOENT);
	assert_int_equal(rename(arena, "/dev/shm/portshim-test-moved"), 0);
	assert_int_equal(symlink("/dev/shm/portshim-test-moved", arena), 0);
	assert_int_equal(log_open(&writer, arena, geteuid(), 1), -ELOOP);
	assert_int_equal(rename("/dev/shm/portshim-test-moved", arena), 0);
}

/* Nothing that stands in the file may harm the reader, or be taken for more than it is. */
static void corrupt_files_do_not_harm_the_reader(void **state)
{
	unsigned seed = 1;
	int fd;

	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	for (int i = 0; i < 3000; i++) {
		struct ps_event ev = event((uint8_t)(1 + i % (PS_KINDS - 1)), i);

		log_append(&writer, &ev, "tail", i % 5, i % 3 == 0, NULL);
	}
	fd = open(arena, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	for (int round = 0; round < 200; round++) {
		struct reader *r;

		for (int i = 0; i < 50; i++) {
			off_t at = rand_r(&seed) % (300 * 1024);
			uint64_t junk = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 40);

			if (rand_r(&seed) % 4 == 0)
				at &= ~(off_t)4095;
			assert_true(pwrite(fd, &junk, 1 + (size_t)(rand_r(&seed) % 8), at) > 0);
		}
		assert_int_equal(reader_open(dir, &r), 0);
		assert_true(reader_poll(r) >= 0);
		assert_true(reader_poll(r) >= 0);
		reader_close(r);
	}
	close(fd);
}

static void session_files_are_checked(void **state)
{
	static const struct {
		const char *text;
		int ret;
	} cases[] = {
		{ "", -EBADMSG },
		{ "hello\n", -EBADMSG },
		{ "portshim-session 999\nsize 1048576\ncreated 1\nboot x\n", -EPROTO },
		{ "portshim-session 3\nsize 0\ncreated 1\nboot x\n", -EBADMSG },
		{ "portshim-session 3\nsize 99999999999999999999999\ncreated 1\nboot x\n", -EBADMSG },
		{ "portshim-session 3\nsize 1048576\n", -EBADMSG },
		{ "portshim-session 3\nsize 1048576\ncreated 1\nboot x\n", 0 },
	};
	char path[SESSION_PATH_MAX];
	struct session_info info;

	snprintf(path, sizeof(path), "%s/session", dir);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		size_t len = strlen(cases[i].text);

		assert_int_equal(write(fd, cases[i].text, len), len);
		close(fd);
		assert_int_equal(session_info(dir, geteuid(), &info), cases[i].ret);
	}
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(session_info(dir, geteuid(), &info), -EPERM);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(session_info(dir, geteuid(), &info), -ENOENT);
	assert_int_equal(session_make(dir), -ENOTEMPTY);
}

static void roots_are(uid_t uid, const char *root, const char *runtime_dir, const char *const *wanted)
{
	char out[SESSION_PATH_MAX];
	unsigned i = 0;

	for (; wanted[i] != NULL; i++) {
		assert_int_equal(session_root(i, uid, root, runtime_dir, out), 0);
		assert_string_equal(out, wanted[i]);
	}
	assert_int_equal(session_root(i, uid, root, runtime_dir, out), -ENOENT);
}

static void each_place_for_sessions_is_named_once(void **state)
{
	static const char *const shm[] = { "/dev/shm/portshim-7", NULL };
	static const char *const run[] = { "/run/user/7/portshim", "/dev/shm/portshim-7", NULL };
	static const char *const of_root[] = { "/run/portshim", "/dev/shm/portshim-0", NULL };
	static const char *const named[] = { "/x", NULL };

	roots_are(7, NULL, NULL, shm);
	roots_are(7, NULL, "relative", shm);
	roots_are(7, "relative", "", shm);
	roots_are(7, NULL, "/run/user/7", run);
	roots_are(0, NULL, NULL, of_root);
	roots_are(0, NULL, "/run/user/0", of_root);
	roots_are(7, "/x", "/run/user/7", named);
}

static void a_file_size_limit_is_no_sigxfsz(void **state)
{
	struct rlimit old, none = { 0, RLIM_INFINITY };
	char other[SESSION_PATH_MAX];

	snprintf(other, sizeof(other), "%s-limited", dir);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(session_make(other), -EFBIG);
	assert_int_equal(log_open(&writer, arena, geteuid(), 1), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(access(other, F_OK), -1);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_record_comes_back),
		TEST(tails_of_every_length),
		TEST(a_tail_too_long_is_cut_and_says_so),
		TEST(concurrent_writers_lose_nothing),
		TEST(many_chunks_are_one_order),
		TEST(reading_while_written),
		TEST(the_ring_keeps_the_last_and_counts_the_rest),
		TEST(main_records_survive_any_number_of_ring_records),
		TEST(a_counter_changes_in_place),
		TEST(a_torn_record_is_counted_and_left_out),
		TEST(killed_at_any_instant),
		TEST(a_full_disk_is_a_counted_drop),
		TEST(a_frozen_log_claims_nothing_more),
		TEST(a_child_borrows_then_has_its_own),
		TEST(no_descriptor_stays_open),
		TEST(an_arena_that_is_not_private_is_refused),
		TEST(corrupt_files_do_not_harm_the_reader),
		TEST(session_files_are_checked),
		TEST(each_place_for_sessions_is_named_once),
		TEST(a_file_size_limit_is_no_sigxfsz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
