/* SPDX-License-Identifier: MIT */
/* Processes, as `tree` shows them. */
#include "view_private.h"

#define I ((const struct image *)item)

GET(image_exe)
{
	set_text(out, I->exe);
}

GET(image_comm)
{
	set_text(out, I->comm);
}

GET(image_argv)
{
	out->kind = VALUE_TEXTS;
	out->text = I->argv;
	out->len = I->argv_len;
}

GET(image_since)
{
	set_stamp(out, v, I->since);
}

static const struct column image_columns[] = {
	{ NULL, "exe", 0, get_image_exe },
	{ NULL, "comm", 0, get_image_comm },
	{ NULL, "argv", 0, get_image_argv },
	{ NULL, "since", 0, get_image_since },
	{ 0 },
};

static const void *next_image(const struct view *v, const void *item)
{
	return I->next;
}

/* What a live process holds; what an ended one held. */
static const struct holder *shown_holder(const struct view *v, const struct holder *h)
{
	while (h != NULL &&
	       ((h->process->live && !holder_live(h)) || (!v->all && !is_server_side(h->socket))))
		h = h->next_of_process;
	return h;
}

static const void *next_holder(const struct view *v, const void *item)
{
	return shown_holder(v, ((const struct holder *)item)->next_of_process);
}

#define P ((const struct process *)item)

GET(process_id)
{
	set_number(out, P->id);
}

GET(process_pid)
{
	set_number_known(out, (uint64_t)P->pid);
}

GET(process_start)
{
	set_number_known(out, P->start);
}

GET(process_parent)
{
	if (P->parent != NULL)
		set_number(out, P->parent->id);
}

GET(process_command)
{
	set_text(out, process_command(P, UINT64_MAX));
}

GET(process_exe)
{
	set_text(out, P->image != NULL ? P->image->exe : NULL);
}

GET(process_argv)
{
	if (P->image != NULL)
		get_image_argv(v, P->image, out);
}

GET(process_uid)
{
	set_number(out, P->uid);
}

GET(process_started)
{
	set_stamp(out, v, P->started);
}

GET(process_ended)
{
	set_stamp(out, v, P->ended);
}

GET(process_exit)
{
	if (P->exited)
		set_number(out, (uint64_t)(P->exit & 0xff));
}

GET(process_live)
{
	set_bool(out, P->live);
}

GET(process_state)
{
	if (P->live || !P->exited) {
		set_text(out, P->live ? "live" : "ended");
		return;
	}
	snprintf(out->scratch, sizeof(out->scratch), "exit %d", P->exit & 0xff);
	set_text(out, out->scratch);
}

GET(process_covered)
{
	set_text(out, P->covered);
}

GET(process_images)
{
	set_rows(out, image_columns, P->first_image, next_image);
}

GET(process_sockets)
{
	set_rows(out, holder_columns_of_process, shown_holder(v, P->holders), next_holder);
}

static const struct column process_columns[] = {
	{ NULL, "process", 0, get_process_id },
	{ "COMMAND", NULL, COLUMN_TREE, get_process_command },
	{ "PID", "pid", COLUMN_RIGHT, get_process_pid },
	{ NULL, "start", 0, get_process_start },
	{ NULL, "parent", 0, get_process_parent },
	{ NULL, "command", 0, get_process_command },
	{ NULL, "exe", 0, get_process_exe },
	{ NULL, "argv", 0, get_process_argv },
	{ NULL, "uid", 0, get_process_uid },
	{ "STATE", NULL, 0, get_process_state },
	{ "SINCE", "started", 0, get_process_started },
	{ NULL, "ended", 0, get_process_ended },
	{ NULL, "exit", 0, get_process_exit },
	{ NULL, "live", 0, get_process_live },
	{ "SEEN", "covered", 0, get_process_covered },
	{ NULL, "images", 0, get_process_images },
	{ "PORTS", "sockets", 0, get_process_sockets },
	{ 0 },
};

/* Which row each process has: parents must come before their children. */
struct place {
	const struct process *process;
	size_t row; /* SIZE_MAX: none yet */
};

struct places {
	struct place *list; /* by address */
	size_t n;
};

static int compare_places(const void *a, const void *b)
{
	const struct process *x = ((const struct place *)a)->process, *y = ((const struct place *)b)->process;

	return (x > y) - (x < y);
}

static struct place *find_place(const struct places *places, const struct process *p)
{
	const struct place key = { .process = p };

	return p == NULL ? NULL : bsearch(&key, places->list, places->n, sizeof(key), compare_places);
}

static int make_places(struct model *m, struct places *out)
{
	size_t n = 0;

	for (const struct process *p = model_processes(m); p != NULL; p = p->next)
		n++;
	out->list = calloc(n + 1, sizeof(*out->list));
	if (out->list == NULL)
		return -ENOMEM;
	for (const struct process *p = model_processes(m); p != NULL; p = p->next)
		out->list[out->n++] = (struct place){ p, SIZE_MAX };
	qsort(out->list, out->n, sizeof(*out->list), compare_places);
	return 0;
}

/* The highest ancestor first that has no row yet.  (The model lets nobody be his own ancestor.) */
static int place_with_ancestors(struct view *v, const struct places *places, const struct process *p)
{
	while (find_place(places, p)->row == SIZE_MAX) {
		struct place *top = find_place(places, p), *above;
		int ret;

		while ((above = find_place(places, top->process->parent)) != NULL && above->row == SIZE_MAX)
			top = above;
		ret = add_row(v, top->process, above != NULL ? above->row : VIEW_NO_PARENT);
		if (ret < 0)
			return ret;
		top->row = v->n - 1;
	}
	return 0;
}

static void places_free(struct places *p)
{
	free(p->list);
}

int view_tree(struct model *m, int64_t offset, bool past, bool all, struct view *out)
{
	struct view v = { .name = "processes", .columns = process_columns, .offset = offset, .all = all };
	CLEANUP(places_free) struct places places = { 0 };
	int ret = all ? model_unpack(m) : 0;

	if (ret == 0)
		ret = make_places(m, &places);
	for (const struct process *p = model_processes(m); p != NULL && ret == 0; p = p->next) {
		if (past || p->live)
			ret = place_with_ancestors(&v, &places, p);
	}
	if (ret < 0)
		view_free(&v);
	else
		*out = v;
	return ret;
}
