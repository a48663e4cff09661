/* SPDX-License-Identifier: MIT */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include "out.h"
#include "util.h"
#include "view.h"

enum { OPT_ALL = CMD_OPT_OWN, OPT_PAST, OPT_PORT, OPT_PID, OPT_PROTO, OPT_STATE };

static const struct cmd_opt opts[] = {
	{ 's', "session", "DIR", "read the session in DIR, not all live ones" },
	{ OPT_ALL, "all", NULL, "every socket, connected and open ones too" },
	{ OPT_PAST, "past", NULL, "only holders that have ended, of ended sessions too" },
	{ OPT_PORT, "port", "N[-M],…", "only these local ports" },
	{ OPT_PID, "pid", "N,…", "only these processes" },
	{ OPT_PROTO, "proto", "P,…", "only these protocols: tcp, tcp6, udp, udp6, unix, …" },
	{ OPT_STATE, "state", "S,…", "only these states: listen, bound, connected, open, ended" },
	{ CMD_OPT_JSON, "json", NULL, "print JSON" },
	{ 0 },
};

static const struct cmd_usage usage = {
	.verb = "ls",
	.synopsis = "[options]",
	.about = "Lists who holds which listening or bound socket, how each came by it, from whom and since\n"
		 "when. Exit status 1 if there is none.\n",
	.opts = opts,
};

static const char *const states[] = { "listen", "bound", "connected", "open", "ended" };

/* socket_proto() has these words; it writes a family that it has none for as a number. */
static const char *const protos[] = {
	"tcp",	   "tcp6",     "udp",	    "udp6",  "unix", "sctp", "sctp6",  "mptcp",	  "mptcp6",
	"udplite", "udplite6", "icmp",	    "icmp6", "raw",  "raw6", "packet", "netlink", "vsock",
	"alg",	   "xdp",      "bluetooth", "can",   "tipc", "key",  "rds",
};

static bool is_known(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], word) == 0)
			return true;
	}
	return false;
}

struct ls {
	const char *session;
	bool json;
	bool scan;		     /* asks for what only /proc knows */
	struct holder_filter filter; /* its words are argv's */
};

static void ls_free(struct ls *ls)
{
	free(ls->filter.ports);
	free(ls->filter.pids);
	free(ls->filter.protos);
	free(ls->filter.states);
}

static int wrong(const char *option, const char *value, const char *cause)
{
	return cmd_error(usage.verb, "%s %s: %s; see 'portshim ls --help'", option, value, cause);
}

static int no_memory(void)
{
	return cmd_error(usage.verb, "%s", strerror(ENOMEM));
}

/* Digits alone, up to max, all of [s, end). */
static bool parse_number(const char *s, const char *end, unsigned long max, unsigned long *out)
{
	unsigned long n = 0;

	if (s == end)
		return false;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = n * 10 + (unsigned long)(*s - '0');
		if (n > max)
			return false;
	}
	*out = n;
	return true;
}

static int add_port(struct ls *ls, const char *word)
{
	struct holder_filter *f = &ls->filter;
	const char *end = word + strlen(word), *dash = strchr(word, '-');
	unsigned long from, to;
	uint16_t(*ports)[2];

	if (!parse_number(word, dash != NULL ? dash : end, 65535, &from))
		return wrong("port", word, "not in 0-65535");
	to = from;
	if (dash != NULL && !parse_number(dash + 1, end, 65535, &to))
		return wrong("port", word, "not in 0-65535");
	if (from > to)
		return wrong("port", word, "its end comes before its start");
	ports = array_room(f->ports, &f->ports_room, f->n_ports + 1, sizeof(*ports));
	if (ports == NULL)
		return no_memory();
	f->ports = ports;
	ports[f->n_ports][0] = (uint16_t)from;
	ports[f->n_ports++][1] = (uint16_t)to;
	return 0;
}

static int add_pid(struct ls *ls, const char *word)
{
	struct holder_filter *f = &ls->filter;
	unsigned long n;
	pid_t *pids;

	if (!parse_number(word, word + strlen(word), INT32_MAX, &n) || n == 0)
		return wrong("pid", word, "not a process id");
	pids = array_room(f->pids, &f->pids_room, f->n_pids + 1, sizeof(*pids));
	if (pids == NULL)
		return no_memory();
	f->pids = pids;
	pids[f->n_pids++] = (pid_t)n;
	return 0;
}

static int add_proto(struct ls *ls, const char *word)
{
	struct holder_filter *f = &ls->filter;
	const char **list = array_room(f->protos, &f->protos_room, f->n_protos + 1, sizeof(*list));

	if (list == NULL)
		return no_memory();
	f->protos = list;
	if (!is_known(protos, ARRAY_LEN(protos), word) && word[strcspn(word, "0123456789")] == '\0')
		return wrong("proto", word, "no protocol; tcp, tcp6, udp, udp6 and unix are some");
	list[f->n_protos++] = word;
	return 0;
}

/* A state that is asked for by name is shown, whether the default would leave it out or not. */
static void widen(struct ls *ls, const char *state)
{
	if (strcmp(state, "ended") == 0) {
		ls->filter.past = true;
	} else if (strcmp(state, "connected") == 0 || strcmp(state, "open") == 0) {
		ls->filter.all = true;
		ls->scan = true;
	}
}

static int add_state(struct ls *ls, const char *word)
{
	struct holder_filter *f = &ls->filter;
	const char **list = array_room(f->states, &f->states_room, f->n_states + 1, sizeof(*list));

	if (list == NULL)
		return no_memory();
	f->states = list;
	if (!is_known(states, ARRAY_LEN(states), word))
		return wrong("state", word, "not one of listen, bound, connected, open, ended");
	list[f->n_states++] = word;
	widen(ls, word);
	return 0;
}

/* Takes a comma list apart in place; an empty word is given to `add`, to be complained about. */
static int each_word(struct ls *ls, char *list, int (*add)(struct ls *ls, const char *word))
{
	int ret = 0;
	char *word;

	while (ret == 0 && (word = strsep(&list, ",")) != NULL)
		ret = add(ls, word);
	return ret;
}

static int set_option(struct ls *ls, int opt)
{
	switch (opt) {
	case 's':
		ls->session = optarg;
		return 0;
	case OPT_ALL:
		ls->filter.all = true;
		ls->scan = true;
		return 0;
	case OPT_PAST:
		ls->filter.past = true;
		ls->filter.live = false;
		return 0;
	case OPT_PORT:
		return each_word(ls, optarg, add_port);
	case OPT_PID:
		return each_word(ls, optarg, add_pid);
	case OPT_PROTO:
		return each_word(ls, optarg, add_proto);
	case OPT_STATE:
		return each_word(ls, optarg, add_state);
	default:
		ls->json = true;
		return 0;
	}
}

static int parse(struct ls *ls, int argc, char **argv)
{
	int opt;

	while ((opt = cmd_option(&usage, argc, argv)) >= 0) {
		int status = set_option(ls, opt);

		if (status != 0)
			return status;
	}
	return cmd_parsed_all(&usage, opt, argc, argv);
}

static int show(const struct ls *ls, struct recording *r)
{
	CLEANUP(view_freep) struct view v = { 0 };
	int ret = ls->json ? model_learn_inodes(r->model) : 0;

	if (ret == 0)
		ret = view_holders(r->model, recording_offset(r), &ls->filter, &v);
	if (ret == 0)
		ret = ls->json ? out_json(&v, stdout) : out_table(&v, stdout);
	if (ret < 0)
		return cmd_error(usage.verb, "%s", strerror(-ret));
	if (r->n_readers == 0)
		cmd_no_session(usage.verb);
	return v.n > 0 ? 0 : EXIT_NONE;
}

int cmd_ls(int argc, char **argv)
{
	CLEANUP(ls_free) struct ls ls = { .filter.live = true };
	CLEANUP(recording_closep) struct recording r = { 0 };
	int status = parse(&ls, argc, argv);
	unsigned flags = 0;

	if (status >= 0)
		return status;
	if (ls.scan)
		flags |= RECORDING_SCAN_FDS;
	if (ls.filter.past)
		flags |= RECORDING_ENDED_TOO;
	status = cmd_read(usage.verb, ls.session, flags, &r);
	return status != 0 ? status : show(&ls, &r);
}
