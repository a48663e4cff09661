/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_VIEW_H
#define PORTSHIM_VIEW_H

/*
 * The relation as rows of typed values: made once, written as a table (out_table.c) or as JSON
 * (out_json.c).  One list of columns per view serves both.  A view points into its model, which must
 * outlive it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"
#include "reader.h"
#include "sessions.h"

struct column;
struct view;

enum value_kind {
	VALUE_NULL,
	VALUE_BOOL,
	VALUE_NUMBER,
	VALUE_SIZE, /* bytes */
	VALUE_TEXT,
	VALUE_TEXTS, /* NUL-terminated, one behind another */
	VALUE_TIME,  /* CLOCK_REALTIME, ns */
	VALUE_INTS,
	VALUE_ROWS, /* a list of objects; in a table, their columns with a heading */
};

struct value {
	enum value_kind kind;
	union {
		bool boolean;
		uint64_t number;
		uint64_t time;
		struct {
			const char *text;
			size_t len;
		};
		struct {
			const int32_t *ints;
			size_t n;
		};
		struct {
			const struct column *columns;
			const void *first;
			const void *(*next)(const struct view *view,
					    const void *item); /* NULL behind the last */
		};
	};
	char scratch[ENDPOINT_TEXT_MAX]; /* where a getter may put its text */
};

enum column_flag {
	COLUMN_RIGHT = 1u << 0,
	COLUMN_TREE = 1u << 1,
	COLUMN_OPTIONAL = 1u << 2, /* in a table only where view.optional */
};

struct column {
	const char *heading; /* NULL: not in the table */
	const char *key;     /* NULL: not in JSON */
	unsigned flags;
	void (*get)(const struct view *view, const void *item, struct value *out);
};

#define VIEW_NO_PARENT SIZE_MAX
struct view_row {
	const void *item;
	size_t parent; /* in a tree: an earlier row, or VIEW_NO_PARENT */
};

struct view {
	const char *name;	      /* of the list in JSON */
	const struct column *columns; /* ended by one without `get` */
	struct view_row *rows;
	size_t n, room;
	int64_t offset; /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
	bool optional;	/* some row has something in a column that is optional */
	bool all;	/* nested lists: every socket, not only listening and bound ones */
};

/* Which holders `ls` lists. */
struct holder_filter {
	bool live, past;
	bool all;	      /* connected and open sockets too */
	uint16_t (*ports)[2]; /* ranges; any where there is none */
	size_t n_ports, ports_room;
	pid_t *pids;
	size_t n_pids, pids_room;
	const char **protos;
	size_t n_protos, protos_room;
	const char **states;
	size_t n_states, states_room;
};

int view_holders(struct model *m, int64_t offset, const struct holder_filter *filter, struct view *out);

/* past: ended processes too; else the live ones and those between them. */
int view_tree(struct model *m, int64_t offset, bool past, bool all, struct view *out);

struct session_row {
	struct session session;
	size_t live, processes, records;
	struct reader_stats stats;
};

/* Takes no hold of rows; they must outlive the view. */
int view_sessions(const struct session_row *rows, size_t n, struct view *out);

/* A rule, or what one decides: NUL-terminated, NULL for what there is not. */
struct rule_row {
	const char *action; /* its word */
	char *does;	    /* the action as it would be written */
	char *result;	    /* where a redirect leads, or the error that it ends in */
	char *source, *rule;
};

/* decisions: what each does, too.  Takes no hold of rows. */
int view_rules(const struct rule_row *rows, size_t n, bool decisions, struct view *out);

void view_free(struct view *v);

static inline void view_freep(struct view *v)
{
	view_free(v);
}

/* The state as shown: socket_state(), or "ended". */
const char *holder_state(const struct holder *h);

/* What a process was called at a time, or as near to it as is known; NULL: never learnt. */
const char *process_command(const struct process *p, uint64_t stamp);

#endif
