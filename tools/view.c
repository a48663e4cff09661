/* SPDX-License-Identifier: MIT */
#include "view_private.h"

void view_free(struct view *v)
{
	free(v->rows);
	*v = (struct view){ 0 };
}

/* The relation's words */

const char *holder_state(const struct holder *h)
{
	return holder_live(h) ? socket_state(h->socket) : "ended";
}

const char *process_command(const struct process *p, uint64_t stamp)
{
	const char *comm = NULL;

	for (const struct image *i = p->first_image; i != NULL && (comm == NULL || i->since <= stamp);
	     i = i->next)
		comm = i->comm;
	return comm;
}

static bool is_ip(const struct socket *s)
{
	return s->local.family == AF_INET || s->local.family == AF_INET6;
}

static bool is_server_side(const struct socket *s)
{
	return s->state == STATE_LISTEN || s->state == STATE_BOUND;
}

/* Holders, as `ls` lists them */

#define H ((const struct holder *)item)

GET(holder_process)
{
	set_number(out, H->process->id);
}

GET(holder_pid)
{
	set_number_known(out, (uint64_t)H->process->pid);
}

GET(holder_start)
{
	set_number_known(out, H->process->start);
}

GET(holder_command)
{
	set_text(out, process_command(H->process, UINT64_MAX));
}

GET(holder_fds)
{
	out->kind = VALUE_INTS;
	out->ints = H->fds;
	out->n = holder_live(H) ? H->n_fds : 0;
}

GET(holder_inode)
{
	set_number_known(out, H->socket->inode);
}

GET(holder_cookie)
{
	set_number_known(out, H->socket->cookie);
}

GET(holder_proto)
{
	set_text(out, socket_proto(H->socket));
}

GET(holder_type)
{
	set_text(out, socket_type(H->socket));
}

/* Rows of one socket, or of one name, follow one another. */
GET(holder_local)
{
	static struct endpoint last;
	static char text[ENDPOINT_TEXT_MAX];

	if (!endpoint_equal(&last, &H->socket->local)) {
		last = H->socket->local;
		endpoint_text(&last, text);
	}
	set_text(out, text);
	memcpy(out->scratch, text, out->len + 1);
	out->text = out->scratch;
}

GET(holder_asked)
{
	if (H->socket->asked != NULL)
		set_endpoint(out, H->socket->asked);
	else
		set_null(out);
}

GET(holder_rule)
{
	if (H->socket->rule != NULL)
		set_text(out, H->socket->rule);
	else
		set_null(out);
}

GET(holder_state)
{
	set_text(out, holder_state(H));
}

GET(holder_how)
{
	set_text(out, holder_how(H));
}

GET(holder_from)
{
	if (H->from != NULL)
		set_number(out, H->from->id);
}

GET(holder_from_pid)
{
	if (H->from != NULL)
		set_number_known(out, (uint64_t)H->from->pid);
}

GET(holder_since)
{
	set_stamp(out, v, H->since);
}

GET(holder_until)
{
	set_stamp(out, v, H->until);
}

GET(holder_live)
{
	set_bool(out, holder_live(H));
}

GET(holder_accepts)
{
	set_number(out, H->accepts);
}

GET(holder_empty_accepts)
{
	set_number(out, H->empty_accepts);
}

static const struct column holder_columns[] = {
	{ NULL, "process", 0, get_holder_process },
	{ "PID", "pid", COLUMN_RIGHT, get_holder_pid },
	{ NULL, "start", 0, get_holder_start },
	{ "COMMAND", "command", 0, get_holder_command },
	{ "FDS", "fds", 0, get_holder_fds },
	{ NULL, "inode", 0, get_holder_inode },
	{ NULL, "cookie", 0, get_holder_cookie },
	{ "PROTO", "proto", 0, get_holder_proto },
	{ NULL, "type", 0, get_holder_type },
	{ "LOCAL", "local", 0, get_holder_local },
	{ "ASKED", "asked", COLUMN_OPTIONAL, get_holder_asked },
	{ "RULE", "rule", COLUMN_OPTIONAL, get_holder_rule },
	{ "STATE", "state", 0, get_holder_state },
	{ "HOW", "how", 0, get_holder_how },
	{ NULL, "from", 0, get_holder_from },
	{ "FROM", "from_pid", COLUMN_RIGHT, get_holder_from_pid },
	{ "SINCE", "since", 0, get_holder_since },
	{ NULL, "until", 0, get_holder_until },
	{ NULL, "live", 0, get_holder_live },
	{ "ACCEPTS", "accepts", COLUMN_RIGHT, get_holder_accepts },
	{ NULL, "empty_accepts", 0, get_holder_empty_accepts },
	{ 0 },
};

/* By port, then name; what has no port last. */
static int compare_local(const struct endpoint *a, const struct endpoint *b)
{
	bool ip = a->family != AF_UNIX;
	size_t len = a->port < b->port ? a->port : b->port;
	int order;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	order = ip ? memcmp(a->ip, b->ip, sizeof(a->ip)) : memcmp(a->name, b->name, len);
	if (order != 0)
		return order;
	if (!ip)
		return (int)a->port - (int)b->port;
	return (a->scope > b->scope) - (a->scope < b->scope);
}

static int compare_process(const struct process *a, const struct process *b)
{
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

static uint32_t port_order(const struct socket *s)
{
	return is_ip(s) ? s->local.port : UINT32_MAX;
}

static int compare_sockets(const struct socket *a, const struct socket *b)
{
	uint32_t pa = port_order(a), pb = port_order(b);

	if (pa != pb)
		return pa < pb ? -1 : 1;
	return compare_local(&a->local, &b->local);
}

static int by_name(const void *a, const void *b)
{
	return compare_sockets(*(const struct socket *const *)a, *(const struct socket *const *)b);
}

static int compare_holders(const struct view_row *x, const struct view_row *y)
{
	const struct holder *a = x->item, *b = y->item;
	int order = a->socket != b->socket ? compare_sockets(a->socket, b->socket) : 0;

	if (order == 0)
		order = compare_process(a->process, b->process);
	if (order != 0)
		return order;
	return (a->since > b->since) - (a->since < b->since);
}

/* The end of the rows from `begin` on that are in order already. */
static size_t run_end(const struct view *v, size_t begin)
{
	size_t end = begin + 1;

	while (end < v->n && compare_holders(&v->rows[end - 1], &v->rows[end]) <= 0)
		end++;
	return end;
}

/* Merges [begin, middle) and [middle, end) into `to`. */
static void merge_runs(const struct view *v, size_t begin, size_t middle, size_t end, struct view_row *to)
{
	const struct view_row *a = &v->rows[begin], *b = &v->rows[middle];

	for (size_t i = begin; i < end; i++) {
		bool first = b == &v->rows[end] || (a < &v->rows[middle] && compare_holders(a, b) <= 0);

		to[i] = first ? *a++ : *b++;
	}
}

/*
 * The sockets come in order, and the holders of each in order of time, mostly that of pids too: there are
 * long runs to merge, and a comparison looks at memory that is far apart.
 */
static int sort_holders(struct view *v)
{
	struct view_row *to = huge_alloc((v->n + 1) * sizeof(*to)), *swap;
	size_t end, runs = 2;

	if (to == NULL)
		return -ENOMEM;
	for (; runs > 1; swap = v->rows, v->rows = to, to = swap) {
		runs = 0;
		for (size_t begin = 0; begin < v->n; begin = end, runs++) {
			size_t middle = run_end(v, begin);

			end = middle < v->n ? run_end(v, middle) : middle;
			merge_runs(v, begin, middle, end, to);
		}
	}
	v->room = v->n;
	free(to);
	return 0;
}

static bool has_word(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], word) == 0)
			return true;
	}
	return n == 0;
}

static bool wants_socket(const struct holder_filter *f, const struct socket *s)
{
	bool found = f->n_ports == 0;

	if (!f->all && !is_server_side(s))
		return false;
	for (size_t i = 0; i < f->n_ports && !found; i++)
		found = is_ip(s) && s->local.port >= f->ports[i][0] && s->local.port <= f->ports[i][1];
	return found && has_word(f->protos, f->n_protos, socket_proto(s));
}

static bool wants_holder(const struct holder_filter *f, const struct holder *h)
{
	bool found = f->n_pids == 0;

	if (holder_live(h) ? !f->live : !f->past)
		return false;
	for (size_t i = 0; i < f->n_pids && !found; i++)
		found = f->pids[i] == h->process->pid;
	return found && has_word(f->states, f->n_states, holder_state(h));
}

static int add_holders(struct view *v, const struct holder_filter *filter, const struct socket *s)
{
	int ret = 0;

	for (const struct holder *h = s->holders; h != NULL && ret == 0; h = h->next_of_socket) {
		if (!wants_holder(filter, h))
			continue;
		ret = add_row(v, h, VIEW_NO_PARENT);
		v->optional |= s->rule != NULL;
	}
	return ret;
}

/* The sockets that are wanted, by their names; *out is the caller's to free. */
static int find_sockets(struct model *m, const struct holder_filter *filter, const struct socket ***out,
			size_t *n)
{
	const struct socket **list = NULL, **more;
	size_t room = 0;

	*n = 0;
	for (const struct socket *s = model_sockets(m); s != NULL; s = s->next) {
		if (s->holders == NULL || !wants_socket(filter, s))
			continue;
		more = huge_room(list, &room, *n, *n + 1, sizeof(const struct socket *));
		if (more == NULL) {
			free(list);
			return -ENOMEM;
		}
		list = more;
		list[(*n)++] = s;
	}
	if (*n > 0)
		qsort(list, *n, sizeof(const struct socket *), by_name);
	*out = list;
	return 0;
}

int view_holders(struct model *m, int64_t offset, const struct holder_filter *filter, struct view *out)
{
	struct view v = { .name = "holders", .columns = holder_columns, .offset = offset };
	const struct socket **sockets = NULL;
	size_t n = 0;
	int ret = filter->all && filter->past ? model_unpack(m) : 0;

	if (ret == 0)
		ret = find_sockets(m, filter, &sockets, &n);
	for (size_t i = 0; i < n && ret == 0; i++)
		ret = add_holders(&v, filter, sockets[i]);
	free(sockets);
	if (ret == 0)
		ret = sort_holders(&v);
	if (ret < 0)
		view_free(&v);
	else
		*out = v;
	return ret;
}

/* Processes, as `tree` shows them */

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

static const struct column process_socket_columns[] = {
	{ "LOCAL", "local", 0, get_holder_local }, { "PROTO", "proto", 0, get_holder_proto },
	{ NULL, "fds", 0, get_holder_fds },	   { "HOW", "how", 0, get_holder_how },
	{ NULL, "state", 0, get_holder_state },	   { 0 },
};

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
	return shown_holder(v, H->next_of_process);
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
	set_rows(out, process_socket_columns, shown_holder(v, P->holders), next_holder);
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
