/* SPDX-License-Identifier: MIT */
/* An allocation that fails leaves the element out of the hash, with hh.tbl NULL, instead of exiting;
 * and a hash function that clang does not warn of. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, value) HASH_FNV(key, len, value)
#include "verify_notes.h"

#include <errno.h>
#include <stdlib.h>

#include "common/program.h"

const struct note *notes_find(const struct note *notes, uint64_t id)
{
	struct note *n;

	HASH_FIND(hh, notes, &id, sizeof(id), n);
	return n;
}

static struct note *note_make(struct note **notes, uint64_t id)
{
	struct note *n;

	HASH_FIND(hh, *notes, &id, sizeof(id), n);
	if (n != NULL)
		return n;
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->id = id;
	HASH_ADD(hh, *notes, id, sizeof(n->id), n);
	if (n->hh.tbl != NULL)
		return n;
	free(n);
	return NULL;
}

static int note_record(struct note **notes, const struct ps_event *ev)
{
	bool lapped = ev->commit >> 2 != 0; /* PS_COMMIT(): only a ring has a second lap */
	struct note *n;

	if (!lapped)
		return 0;
	n = note_make(notes, ev->process);
	if (n == NULL)
		return -ENOMEM;
	n->lapped = true;
	return 0;
}

void notes_free(struct note **notes)
{
	struct note *n = *notes, *next;

	HASH_CLEAR(hh, *notes);
	for (; n != NULL; n = next) {
		next = n->hh.next;
		free(n);
	}
}

int notes_add(struct note **notes, const struct record *records, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++)
		err = note_record(notes, &records[i].ev);
	return err;
}
