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

const struct column holder_columns_of_process[] = {
	{ "LOCAL", "local", 0, get_holder_local }, { "PROTO", "proto", 0, get_holder_proto },
	{ NULL, "fds", 0, get_holder_fds },	   { "HOW", "how", 0, get_holder_how },
	{ NULL, "state", 0, get_holder_state },	   { 0 },
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
