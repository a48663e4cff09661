/* SPDX-License-Identifier: MIT */
#include "event_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/program.h"
#include "common/rules.h"
#include "event_reason.h"
#include "out.h"
#include "util.h"
#include "view.h"

/* The schema as rows: each event's own, its fields, an end. */
enum row_type { ROW_u64, ROW_id, ROW_hex, ROW_u32, ROW_i32, ROW_u16, ROW_addr, ROW_TEXT, ROW_EVENT, ROW_END };

struct row {
	enum row_type type;
	const char *name;
	size_t size, align;
};

static const struct row rows[] = {
#define EVENT(NAME, name, lane) { ROW_EVENT, #name, 0, 0 },
#define FIELD(type, name) { ROW_##type, #name, sizeof(PS_TYPE_##type), _Alignof(PS_TYPE_##type) },
#define TEXT(name) { ROW_TEXT, #name, 0, 0 },
#define END { ROW_END, NULL, 0, 0 },
#include "portshim/event.def"
};

/* Kinds are numbered as they stand in event.def, from 1. */
static const struct row *event_row(uint8_t kind)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].type == ROW_EVENT && ++n == kind)
			return &rows[i];
	}
	return NULL;
}

/* A field of a record. */
struct field {
	const struct row *row;
	const uint8_t *at;
	size_t end; /* offset behind it */
};

/* Fields lie in the payload as C lays out a struct of them. */
static bool next_field(const struct record *r, struct field *f)
{
	size_t offset;

	f->row++;
	if (f->row->type == ROW_END)
		return false;
	if (f->row->type == ROW_TEXT)
		return true;
	offset = (f->end + f->row->align - 1) / f->row->align * f->row->align;
	f->at = r->ev.payload + offset;
	f->end = offset + f->row->size;
	return true;
}

static uint64_t field_number(const struct field *f)
{
	uint64_t u64;
	uint32_t u32;
	uint16_t u16;
	int32_t i32;

	switch (f->row->type) {
	case ROW_u16:
		memcpy(&u16, f->at, sizeof(u16));
		return u16;
	case ROW_u32:
		memcpy(&u32, f->at, sizeof(u32));
		return u32;
	case ROW_i32:
		memcpy(&i32, f->at, sizeof(i32));
		return (uint64_t)(int64_t)i32;
	default:
		memcpy(&u64, f->at, sizeof(u64));
		return u64;
	}
}

static void field_endpoint(const struct record *r, const struct field *f, char out[static ENDPOINT_TEXT_MAX])
{
	struct ps_addr addr;
	struct endpoint ep;

	memcpy(&addr, f->at, sizeof(addr));
	addr_unpack(&addr, r->tail != NULL ? r->tail : "", r->tail_len, &ep);
	endpoint_text(&ep, out);
}

/* Words for numbers */

struct word {
	uint64_t number;
	const char *word;
};

static const char *find_word(const struct word *words, size_t n, uint64_t number)
{
	for (size_t i = 0; i < n; i++) {
		if (words[i].number == number)
			return words[i].word;
	}
	return NULL;
}

#define FIND_WORD(words, number) find_word((words), ARRAY_LEN(words), (number))
#define WORD(constant)              \
	{                           \
		constant, #constant \
	}

static const char *family_word(const struct record *r, uint64_t n)
{
	static const struct word words[] = { WORD(AF_UNIX),    WORD(AF_INET),	WORD(AF_INET6),
					     WORD(AF_NETLINK), WORD(AF_PACKET), WORD(AF_VSOCK) };

	return FIND_WORD(words, n);
}

static const char *type_word(const struct record *r, uint64_t n)
{
	static const struct word words[] = { WORD(SOCK_STREAM), WORD(SOCK_DGRAM), WORD(SOCK_SEQPACKET),
					     WORD(SOCK_RAW) };

	return FIND_WORD(words, n);
}

static const char *shutdown_word(const struct record *r, uint64_t n)
{
	static const struct word words[] = { WORD(SHUT_RD), WORD(SHUT_WR), WORD(SHUT_RDWR) };

	return FIND_WORD(words, n);
}

static const char *level_word(const struct record *r, uint64_t n)
{
	static const struct word words[] = { WORD(SOL_SOCKET), WORD(IPPROTO_IP), WORD(IPPROTO_IPV6),
					     WORD(IPPROTO_TCP) };

	return FIND_WORD(words, n);
}

static const char *option_word(const struct record *r, uint64_t n)
{
	static const struct word socket[] = { WORD(SO_REUSEADDR), WORD(SO_REUSEPORT), WORD(SO_KEEPALIVE),
					      WORD(SO_BINDTODEVICE) };
	static const struct word ipv6[] = { WORD(IPV6_V6ONLY) };

	if (r->ev.option.level == SOL_SOCKET)
		return FIND_WORD(socket, n);
	return r->ev.option.level == IPPROTO_IPV6 ? FIND_WORD(ipv6, n) : NULL;
}

static const char *seen_word(const struct record *r, uint64_t n)
{
	if (n == PS_SEEN)
		return "seen";
	return n < PS_SEEN_COUNT ? program_reason((enum ps_seen)n) : NULL;
}

static const char *stock_word(const struct record *r, uint64_t n)
{
	static const struct word words[] = { { PS_STOCK_START, "start" },
					     { PS_STOCK_CONTENDED, "contended" },
					     { PS_STOCK_LOST, "lost" },
					     { PS_STOCK_UNSEEN_FORK, "unseen fork" } };

	return FIND_WORD(words, n);
}

static const char *sandbox_word(const struct record *r, uint64_t n)
{
	static const struct word words[] = { { PS_SANDBOX_CHROOT, "chroot" },
					     { PS_SANDBOX_NO_NEW_PRIVS, "no_new_privs" },
					     { PS_SANDBOX_SECCOMP, "seccomp" },
					     { PS_SANDBOX_NAMESPACE, "namespace" },
					     { PS_SANDBOX_SHARED, "shared" } };

	return FIND_WORD(words, n);
}

static const char *action_word(const struct record *r, uint64_t n)
{
	return n < RULE_ACTIONS ? rule_action_word((enum rule_action_kind)n) : NULL;
}

static const char *call_word(const struct record *r, uint64_t n)
{
	return n < RULE_CALLS ? rule_call_word((enum rule_call)n) : NULL;
}

/* By the field's name, and where that means different things, by the event's: NULL is any. */
static const struct {
	const char *event, *field;
	const char *(*word)(const struct record *r, uint64_t n);
} namers[] = {
	{ NULL, "family", family_word },      { NULL, "type", type_word },
	{ "shutdown", "how", shutdown_word }, { "option", "level", level_word },
	{ "option", "name", option_word },    { NULL, "seen", seen_word },
	{ NULL, "why", stock_word },	      { NULL, "what", sandbox_word },
	{ "act", "action", action_word },     { "act", "call", call_word },
};

static const char *field_word(const struct record *r, const struct row *event, const struct field *f)
{
	for (size_t i = 0; i < ARRAY_LEN(namers); i++) {
		if (strcmp(namers[i].field, f->row->name) == 0 &&
		    (namers[i].event == NULL || strcmp(namers[i].event, event->name) == 0))
			return namers[i].word(r, field_number(f));
	}
	return NULL;
}

static const struct word flags[] = {
	{ PS_F_STOCK, "stock" },     { PS_F_RECEIVED, "received" }, { PS_F_SAME, "same" },
	{ PS_F_UNKNOWN, "unknown" }, { PS_F_CLOEXEC, "cloexec" },   { PS_F_TRUNCATED, "truncated" },
	{ PS_F_VFORK, "vfork" },     { PS_F_SPAWN, "spawn" },	    { PS_F_ATFORK, "atfork" },
	{ PS_F_UNSEEN, "unseen" },   { PS_F_EXECED, "execed" },	    { PS_F_FETCHED, "fetched" },
	{ PS_F_AFTER, "after" },
};

bool event_is_internal(const struct record *r)
{
	return r->ev.kind == PS_PAD || r->ev.kind == PS_COUNT;
}

static pid_t pid_of(const struct event_writer *w, uint64_t id)
{
	const struct process *p = id != 0 ? model_process(w->model, id) : NULL;

	return p != NULL ? p->pid : 0;
}

/* Text */

/* How many bytes at s are one printable character, or 0. */
static size_t printable(const char *s, size_t len)
{
	unsigned char c = (unsigned char)s[0];
	size_t n = utf8_len(s, len);

	/* C0, DEL and C1 (U+0080 to U+009F). */
	if (c < 0x20 || c == 0x7f || (n == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0))
		return 0;
	return n;
}

/* Names come from programs: none shall reach the terminal as anything but text. */
void event_put_escaped(const char *s, size_t len, FILE *f)
{
	size_t n;

	for (size_t i = 0; i < len; i += n != 0 ? n : 1) {
		n = printable(s + i, len - i);
		if (n == 0)
			fprintf(f, "\\x%02x", (unsigned char)s[i]);
		else if (s[i] == '"' || s[i] == '\\')
			fprintf(f, "\\%c", s[i]);
		else
			fwrite(s + i, 1, n, f);
	}
}

static void put_quoted(const char *s, size_t len, FILE *f)
{
	fputc('"', f);
	event_put_escaped(s, len, f);
	fputc('"', f);
}

static void put_tail(const struct record *r, FILE *f)
{
	const char *text, *comma = "";
	size_t at = 0, n;

	for (; (text = next_text(r->tail, r->tail_len, &at, &n)) != NULL; comma = ", ") {
		fputs(comma, f);
		put_quoted(text, n, f);
	}
	if (r->ev.flags & PS_F_TRUNCATED)
		fputs(", ...", f);
}

static void put_address(const struct record *r, const struct field *f, FILE *out)
{
	char text[ENDPOINT_TEXT_MAX];
	struct ps_addr addr;

	memcpy(&addr, f->at, sizeof(addr));
	field_endpoint(r, f, text);
	if (addr.family == AF_UNIX)
		put_quoted(text, strlen(text), out);
	else
		fputs(text[0] != '\0' ? text : "-", out);
}

static void put_number(const struct event_writer *w, const struct record *r, const struct row *event,
		       const struct field *f, FILE *out)
{
	const char *word = field_word(r, event, f);
	uint64_t n = field_number(f);

	if (word != NULL)
		fputs(word, out);
	else if (f->row->type == ROW_hex)
		fprintf(out, "%s=%#" PRIx64, f->row->name, n);
	else if (f->row->type == ROW_i32)
		fprintf(out, "%s=%" PRId64, f->row->name, (int64_t)n);
	else if (f->row->type != ROW_id)
		fprintf(out, "%s=%" PRIu64, f->row->name, n);
	else if (pid_of(w, n) != 0)
		fprintf(out, "%s=%d", f->row->name, pid_of(w, n));
	else
		fprintf(out, "%s=-", f->row->name);
}

static void put_fields(const struct event_writer *w, const struct record *r, const struct row *event, FILE *f)
{
	struct field field = { .row = event };
	const char *comma = "";

	if (r->ev.fd >= 0) {
		fprintf(f, "%" PRId32, r->ev.fd);
		comma = ", ";
	}
	while (next_field(r, &field)) {
		if (field.row->type == ROW_hex && !w->verbose)
			continue;
		fputs(comma, f);
		comma = ", ";
		if (field.row->type == ROW_addr)
			put_address(r, &field, f);
		else if (field.row->type == ROW_TEXT)
			put_tail(r, f);
		else
			put_number(w, r, event, &field, f);
	}
}

static void put_result(const struct record *r, FILE *f)
{
	const char *space = " [", *name = strerrorname_np(r->ev.error);

	if (r->ev.error == 0)
		fputs(" = 0", f);
	else if (name != NULL)
		fprintf(f, " = -1 %s (%s)", name, strerror(r->ev.error));
	else
		fprintf(f, " = -1 %u", r->ev.error);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (!(r->ev.flags & flags[i].number))
			continue;
		fprintf(f, "%s%s", space, flags[i].word);
		space = " ";
	}
	fputs(space[1] == '\0' ? "]\n" : "\n", f);
}

void event_put_text(const struct event_writer *w, const struct record *r, FILE *f)
{
	const struct row *event = event_row(r->ev.kind);
	const struct process *p = model_process(w->model, r->ev.process);
	const char *command = p != NULL ? process_command(p, r->ev.stamp) : NULL;
	char time[TIME_TEXT_MAX];

	if (event == NULL)
		return;
	time_local(r->ev.stamp + (uint64_t)w->offset, true, time);
	fprintf(f, "%s %7d ", time, p != NULL ? p->pid : 0);
	event_put_escaped(command != NULL ? command : "-", command != NULL ? strlen(command) : 1, f);
	fprintf(f, " %s(", event->name);
	put_fields(w, r, event, f);
	fputc(')', f);
	put_result(r, f);
	event_put_reason(w, r, f);
}

/* JSON */

static struct json_object *error_object(int error)
{
	const char *name = strerrorname_np(error);
	char text[16];

	if (error == 0)
		return NULL;
	snprintf(text, sizeof(text), "%d", error);
	return json_object_new_string(name != NULL ? name : text);
}

static struct json_object *flags_object(uint32_t set)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; a != NULL && i < ARRAY_LEN(flags); i++) {
		if (set & flags[i].number)
			json_object_array_add(a, json_object_new_string(flags[i].word));
	}
	return a;
}

static struct json_object *field_object(const struct record *r, const struct field *f)
{
	char text[ENDPOINT_TEXT_MAX];

	switch (f->row->type) {
	case ROW_TEXT:
		return json_texts(r->tail, r->tail_len);
	case ROW_addr:
		field_endpoint(r, f, text);
		return json_text(text, strlen(text));
	case ROW_i32:
		return json_object_new_int64((int64_t)field_number(f));
	case ROW_id:
	case ROW_hex:
		return json_number(field_number(f));
	default:
		return json_object_new_uint64(field_number(f));
	}
}

/* A field that is called as something that every event has goes by the event's name too: its pid is
 * not the caller's (forked). */
static void add_field(struct json_object *o, const struct row *event, const struct field *f,
		      struct json_object *value)
{
	char key[64];

	if (!json_object_object_get_ex(o, f->row->name, NULL)) {
		json_object_object_add(o, f->row->name, value);
		return;
	}
	snprintf(key, sizeof(key), "%s_%s", event->name, f->row->name);
	json_object_object_add(o, key, value);
}

static void add_action(const struct record *r, struct json_object *o)
{
	const char *action = action_word(r, r->ev.act.action), *call = call_word(r, r->ev.act.call);

	json_object_object_add(o, "action", action != NULL ? json_object_new_string(action) : NULL);
	json_object_object_add(o, "call", call != NULL ? json_object_new_string(call) : NULL);
}

struct json_object *event_object(const struct event_writer *w, const struct record *r)
{
	const struct row *event = event_row(r->ev.kind);
	struct json_object *o = json_object_new_object();
	struct field field = { .row = event };

	if (o == NULL || event == NULL)
		return o;
	json_object_object_add(o, "time", json_time(r->ev.stamp + (uint64_t)w->offset));
	json_object_object_add(o, "process", json_number(r->ev.process));
	json_object_object_add(o, "pid", json_number((uint64_t)pid_of(w, r->ev.process)));
	json_object_object_add(o, "event", json_object_new_string(event->name));
	json_object_object_add(o, "fd", r->ev.fd >= 0 ? json_object_new_int(r->ev.fd) : NULL);
	json_object_object_add(o, "error", error_object(r->ev.error));
	json_object_object_add(o, "flags", flags_object(r->ev.flags));
	while (next_field(r, &field))
		add_field(o, event, &field, field_object(r, &field));
	if (r->ev.kind == PS_ACT)
		add_action(r, o);
	event_add_reason(w, r, o);
	return o;
}
