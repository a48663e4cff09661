/* SPDX-License-Identifier: MIT */
#include "slots.h"

/* Finished, and the same at both looks: then the copy is whole. */
static bool is_whole(const struct walk *w, uint32_t i, enum ps_state state)
{
	uint32_t commit = slot_of(w->copy, i)->commit;

	return (commit & 3) == (uint32_t)state &&
	       (w->later == NULL || commit == slot_of(w->later, i)->commit);
}

/* Whether all tails of the record at slot i are its own. */
static bool has_tails(const struct walk *w, uint32_t i, const struct ps_event *ev)
{
	for (uint32_t k = 1; k < ev->slots; k++) {
		if (!is_whole(w, i + k, PS_TAIL) || slot_of(w->copy, i + k)->commit >> 2 != ev->commit >> 2)
			return false;
	}
	return true;
}

static bool is_sane(const struct walk *w, uint32_t i, const struct ps_event *ev)
{
	return ev->kind > PS_NO_EVENT && ev->kind < PS_KINDS && ev->slots >= 1 && ev->slots <= PS_SLOTS_MAX &&
	       i + ev->slots <= w->slots && ev->tail <= (ev->slots - 1u) * PS_TAIL_BYTES;
}

static void take(struct walk *w, const struct ps_event *ev)
{
	if (w->taken != NULL)
		w->taken[w->n] = (struct taken_slot){ ev->stamp, ev };
	w->n++;
	if (ev->stamp < w->first)
		w->first = ev->stamp;
}

static uint32_t settle(struct walk *w, uint32_t i, uint32_t n)
{
	w->settled += n;
	for (uint32_t k = i; w->taken != NULL && w->seen != NULL && k < i + n; k++)
		w->seen[k] = slot_of(w->copy, k)->commit;
	return n;
}

/* How many slots the record at slot i takes; 0: it is not there yet. */
static uint32_t walk_new(struct walk *w, uint32_t i)
{
	const struct ps_event *ev = slot_of(w->copy, i);

	if (!is_whole(w, i, PS_DONE))
		return 0;
	if (!is_sane(w, i, ev)) {
		w->bad++;
		return settle(w, i, 1);
	}
	if (!has_tails(w, i, ev))
		return 0;
	if (ev->kind == PS_PAD)
		return settle(w, i, ev->slots);
	if (ev->stamp < w->least)
		return 0;
	take(w, ev);
	w->counters += ev->kind == PS_COUNT;
	return settle(w, i, ev->slots);
}

/* A counter that was taken before: given again, the model finds what is new. */
static void walk_seen(struct walk *w, uint32_t i)
{
	const struct ps_event *ev = slot_of(w->copy, i);

	if (ev->kind == PS_COUNT && ev->slots == 1 && ev->stamp >= w->least && is_whole(w, i, PS_DONE))
		take(w, ev);
}

uint64_t slots_hash(const struct walk *w)
{
	uint64_t hash = 0;

	for (uint32_t i = 0; i < w->limit; i++)
		hash = (hash ^ slot_of(w->copy, i)->commit) * 0x9e3779b97f4a7c15ull;
	return hash;
}

_Static_assert(PS_PAD == PS_KINDS - 1, "no kind is behind it");

/* What nearly all are: a record in one slot, not seen before, and nothing to be careful about. */
static bool is_simple(const struct walk *w, const struct ps_event *ev)
{
	return (ev->commit & 3) == PS_DONE && ev->slots == 1 && ev->kind > PS_NO_EVENT && ev->kind < PS_PAD &&
	       ev->kind != PS_COUNT && ev->tail == 0 && ev->stamp >= w->least;
}

/* How many of them there are, from the first slot on. */
static uint32_t walk_simple(struct walk *w)
{
	const struct ps_event *ev = slot_of(w->copy, 0);
	uint64_t first = UINT64_MAX;
	uint32_t i;

	if (w->seen != NULL || w->later != NULL)
		return 0;
	for (i = 0; i < w->limit && is_simple(w, &ev[i]); i++) {
		if (w->taken != NULL)
			w->taken[i] = (struct taken_slot){ ev[i].stamp, &ev[i] };
		if (ev[i].stamp < first)
			first = ev[i].stamp;
	}
	w->first = first;
	w->n = w->settled = i;
	return i;
}

void slots_walk(struct walk *w)
{
	w->first = UINT64_MAX;
	for (uint32_t i = walk_simple(w); i < w->limit;) {
		uint32_t commit = slot_of(w->copy, i)->commit, taken;

		if (w->seen != NULL && w->seen[i] != 0 && w->seen[i] == commit) {
			walk_seen(w, i++);
			continue;
		}
		taken = walk_new(w, i);
		/* Tails of a record that is not whole are no records of their own. */
		if (taken == 0 && (commit & 3) != PS_TAIL)
			w->pending++;
		i += taken > 0 ? taken : 1;
	}
}
