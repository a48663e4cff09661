/* SPDX-License-Identifier: MIT */
#include "chunk.h"

#include <stdbool.h>
#include <string.h>

static unsigned slots_of(chunk_ref ref)
{
	unsigned pages = chunk_pages(ref);

	/* A constant here spares the append a division by a variable. */
	return pages == CHUNK_LATER ? PS_CHUNK_SLOTS(CHUNK_LATER) : PS_CHUNK_SLOTS(pages);
}

static struct ps_event *slot_at(chunk_ref ref, unsigned i)
{
	return (struct ps_event *)(void *)((char *)chunk_of(ref) + sizeof(struct ps_chunk) +
					   (size_t)i * PS_SLOT_SIZE);
}

static void write_slot(void *slot, const void *from, uint32_t lap, enum ps_state state)
{
	_Atomic uint32_t *commit = slot;

	atomic_store_explicit(commit, PS_COMMIT(lap, PS_BEGIN), RELAXED);
	/* A reader that sees any of the new bytes must not see the old lap's commit word. */
	atomic_thread_fence(RELEASE);
	memcpy((char *)slot + sizeof(*commit), (const char *)from + sizeof(*commit),
	       PS_SLOT_SIZE - sizeof(*commit));
	atomic_store_explicit(commit, PS_COMMIT(lap, state), RELEASE);
}

static void write_tails(chunk_ref ref, unsigned i, unsigned slots, uint32_t lap, const char *tail, size_t len)
{
	for (unsigned k = 1; k < slots; k++) {
		struct ps_tail piece = { 0 };
		size_t part = len < sizeof(piece.data) ? len : sizeof(piece.data);

		memcpy(piece.data, tail, part);
		tail += part;
		len -= part;
		write_slot(slot_at(ref, i + k), &piece, lap, PS_TAIL);
	}
}

static void pad(chunk_ref ref, uint64_t from, uint64_t to)
{
	static const struct ps_event none = { .kind = PS_PAD, .slots = 1, .fd = -1 };
	unsigned total = slots_of(ref);

	for (; from < to; from++)
		write_slot(slot_at(ref, (unsigned)(from % total)), &none, (uint32_t)(from / total), PS_DONE);
}

struct ps_event *chunk_append(chunk_ref ref, const struct ps_event *ev, const void *tail, size_t tail_len)
{
	unsigned total = slots_of(ref);
	unsigned slots = 1 + (unsigned)((tail_len + PS_TAIL_BYTES - 1) / PS_TAIL_BYTES);
	_Atomic uint64_t *count = SHARED(chunk_of(ref)->count);

	for (;;) {
		uint64_t n;
		unsigned i;

		if (!(ref & CHUNK_RING) && atomic_load_explicit(count, RELAXED) >= total)
			return NULL;
		n = atomic_fetch_add_explicit(count, slots, RELAXED);
		if (!(ref & CHUNK_RING) && n >= total)
			return NULL;
		i = (unsigned)(n % total);
		if (i + slots <= total) {
			struct ps_event *slot = slot_at(ref, i);
			uint32_t lap = (uint32_t)(n / total);

			write_tails(ref, i, slots, lap, tail, tail_len);
			write_slot(slot, ev, lap, PS_DONE);
			return slot;
		}
		/* It would straddle the end. */
		if (!(ref & CHUNK_RING)) {
			pad(ref, n, total);
			return NULL;
		}
		pad(ref, n, n + slots);
	}
}
