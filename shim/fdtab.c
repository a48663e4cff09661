/* SPDX-License-Identifier: MIT */
#include "fdtab.h"

#include <sys/mman.h>

#include "common/sys.h"
#include "common/unshared.h"

#define SEGMENT_BITS 10
#define SEGMENT_FDS (1u << SEGMENT_BITS)
#define SEGMENTS 1024u
_Static_assert(SEGMENT_FDS == FDTAB_FIRST, "the first segment is one of them");

TABLE struct fd_entry fdtab_first[FDTAB_FIRST];
TABLE static _Atomic(struct fd_entry *) segments[SEGMENTS]; /* the first is fdtab_first, and not here */
HOT static _Atomic unsigned end;
HOT _Atomic bool fdtab_lacking;

static void raise_end(unsigned to)
{
	unsigned now = atomic_load_explicit(&end, memory_order_relaxed);

	while (now < to && !atomic_compare_exchange_weak(&end, &now, to))
		;
}

static struct fd_entry *map_segment(unsigned i)
{
	struct fd_entry *none = NULL;
	size_t size = SEGMENT_FDS * sizeof(struct fd_entry);
	long p = sys6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p < 0 && p > -4096)
		return NULL;
	/* It may be late: what is open there was not entered. */
	if (atomic_load_explicit(&fdtab_lacking, memory_order_relaxed)) {
		for (unsigned n = 0; n < SEGMENT_FDS; n++)
			atomic_init(&((struct fd_entry *)p)[n].word, FD_MAYBE);
		raise_end((i + 1) * SEGMENT_FDS);
	}
	if (atomic_compare_exchange_strong(&segments[i], &none, (struct fd_entry *)p))
		return (struct fd_entry *)p;
	sys2(SYS_munmap, p, size);
	return none;
}

static struct fd_entry *find_entry(unsigned n, bool may_map)
{
	unsigned i = n >> SEGMENT_BITS;
	struct fd_entry *segment;

	if (i >= SEGMENTS)
		return NULL;
	segment = i == 0 ? fdtab_first : atomic_load_explicit(&segments[i], memory_order_acquire);
	if (segment == NULL && may_map)
		segment = map_segment(i);
	return segment == NULL ? NULL : &segment[n & (SEGMENT_FDS - 1)];
}

struct fd_entry *fdtab_beyond(int fd)
{
	return find_entry((unsigned)fd, false);
}

struct fd_entry *fdtab_entry(int fd, bool may_map)
{
	struct fd_entry *e = find_entry((unsigned)fd, may_map);

	if (e != NULL && (unsigned)fd >= atomic_load_explicit(&end, memory_order_relaxed))
		raise_end((unsigned)fd + 1);
	return e;
}

unsigned fdtab_end(void)
{
	return atomic_load_explicit(&end, memory_order_acquire);
}
