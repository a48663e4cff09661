/* SPDX-License-Identifier: MIT */
/* The tool's entry, and what cmd.h promises to the verbs. */
#include "cmd.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sessions.h"
#include "util.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} cmds[] = {
#define CMD(verb, function, help) { verb, function, help },
#include "cmds.def"
};

/* Every verb has this one, behind its own. */
static const struct cmd_opt help_opt = { 'h', "help", NULL, "show this help" };

#define OPTS_MAX 32

int cmd_error(const char *verb, const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "portshim: %s%s", verb != NULL ? verb : "", verb != NULL ? ": " : "");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_BAD;
}

static int takes_argument(const struct cmd_opt *o)
{
	if (o->arg == NULL)
		return no_argument;
	return o->arg[0] == '[' ? optional_argument : required_argument;
}

static void print_option(const struct cmd_opt *o)
{
	char letter[5] = "    ", word[64];

	if (o->val < 256)
		snprintf(letter, sizeof(letter), "-%c, ", o->val);
	snprintf(word, sizeof(word), "--%s%s%s", o->name, takes_argument(o) == required_argument ? " " : "",
		 o->arg != NULL ? o->arg : "");
	printf("  %s%-20s  %s\n", letter, word, o->help);
}

static void print_usage(const struct cmd_usage *u)
{
	printf("Usage: portshim %s %s\n\n%s\nOptions:\n", u->verb, u->synopsis, u->about);
	for (const struct cmd_opt *o = u->opts; o->name != NULL; o++)
		print_option(o);
	print_option(&help_opt);
	if (u->more != NULL)
		u->more();
}

struct getopt_tables {
	struct option longs[OPTS_MAX + 1];
	char shorts[2 * OPTS_MAX + 3];
};

static void add_option(struct getopt_tables *t, size_t i, const struct cmd_opt *o)
{
	char *end = t->shorts + strlen(t->shorts);

	t->longs[i] = (struct option){ o->name, takes_argument(o), NULL, o->val };
	if (o->val >= 256)
		return;
	*end++ = (char)o->val;
	if (o->arg != NULL)
		*end++ = ':';
	*end = '\0';
}

static void make_tables(const struct cmd_usage *u, struct getopt_tables *t)
{
	size_t n = 0;

	memset(t, 0, sizeof(*t));
	memcpy(t->shorts, "+:", 2); /* stop at the first word; ':' for a missing argument */
	for (const struct cmd_opt *o = u->opts; o->name != NULL && n < OPTS_MAX - 1; o++)
		add_option(t, n++, o);
	add_option(t, n, &help_opt);
}

/* How many options a long word may mean. */
static int count_matches(const struct option *longs, const char *word, size_t len)
{
	int n = 0;

	for (; longs->name != NULL; longs++)
		n += strncmp(longs->name, word, len) == 0;
	return n;
}

/* getopt says no more than '?': looks again at the word that it did not like. */
static void explain_unknown(const struct cmd_usage *u, const struct option *longs, const char *word)
{
	size_t len = strcspn(word, "=");
	int matches;

	if (strncmp(word, "--", 2) != 0) {
		cmd_error(u->verb, "unknown option '-%c'; see 'portshim %s --help'", optopt, u->verb);
		return;
	}
	matches = count_matches(longs, word + 2, len - 2);
	if (optopt != 0 || (matches == 1 && word[len] == '='))
		cmd_error(u->verb, "option '%.*s' takes no argument; see 'portshim %s --help'", (int)len,
			  word, u->verb);
	else if (matches > 1)
		cmd_error(u->verb, "option '%.*s' may mean several; see 'portshim %s --help'", (int)len, word,
			  u->verb);
	else
		cmd_error(u->verb, "unknown option '%.*s'; see 'portshim %s --help'", (int)len, word,
			  u->verb);
}

static void explain_missing(const struct cmd_usage *u)
{
	for (const struct cmd_opt *o = u->opts; o->name != NULL; o++) {
		if (o->val == optopt)
			cmd_error(u->verb, "option '--%s' needs an argument: %s; see 'portshim %s --help'",
				  o->name, o->arg, u->verb);
	}
}

int cmd_option(const struct cmd_usage *u, int argc, char **argv)
{
	static struct getopt_tables tables;
	int opt;

	if (optind <= 1)
		make_tables(u, &tables);
	opterr = 0;
	/* Short options may be run together: the word at fault is the one that getopt stood at. */
	const char *word = optind < argc ? argv[optind] : "";

	opt = getopt_long(argc, argv, tables.shorts, tables.longs, NULL);
	switch (opt) {
	case 'h':
		print_usage(u);
		return CMD_HELPED;
	case '?':
		explain_unknown(u, tables.longs, word);
		return CMD_WRONG;
	case ':':
		explain_missing(u);
		return CMD_WRONG;
	default:
		return opt;
	}
}

int cmd_parsed(int opt)
{
	if (opt == CMD_END)
		return -1;
	return opt == CMD_HELPED ? 0 : EXIT_BAD;
}

int cmd_parsed_all(const struct cmd_usage *u, int opt, int argc, char **argv)
{
	if (opt == CMD_END && optind < argc)
		return cmd_error(u->verb, "unexpected argument '%s'; see 'portshim %s --help'", argv[optind],
				 u->verb);
	return cmd_parsed(opt);
}

int cmd_session_error(const char *verb, const char *dir, int err)
{
	return cmd_error(verb, "%s: %s", dir, session_why(dir, err));
}

/* The newest that can be read, or NULL; for the caller to free. */
static char *newest_session(void)
{
	CLEANUP(session_list_freep) struct session_list l = { 0 };

	if (session_list_find(true, &l) < 0)
		return NULL;
	for (size_t i = 0; i < l.n; i++) {
		if (l.list[i].error == 0)
			return strdup(l.list[i].dir);
	}
	return NULL;
}

void cmd_no_session(const char *verb)
{
	CLEANUP_FREE char *newest = newest_session();

	if (newest == NULL)
		cmd_error(NULL, "no live session; name one with -s DIR, or see 'portshim sessions'");
	else if (strcmp(verb, "events") == 0)
		cmd_error(NULL, "no live session; 'portshim events -s %s' shows the newest that has ended",
			  newest);
	else
		cmd_error(NULL,
			  "no live session; 'portshim ls --past' and 'portshim tree --past' show what has "
			  "ended, 'portshim sessions' lists it");
}

void cmd_losses(const char *verb, const struct recording *r)
{
	for (size_t i = 0; i < r->n_readers; i++) {
		struct reader_stats s;

		reader_stats(r->readers[i], &s);
		if (s.dropped == 0 && s.refused == 0)
			continue;
		cmd_error(verb,
			  "%s: incomplete: the log had no room for %" PRIu64 " records and was refused to "
			  "processes %" PRIu64 " times; a new session has room again",
			  reader_dir(r->readers[i]), s.dropped, s.refused);
	}
}

int cmd_read(const char *verb, const char *dir, unsigned flags, struct recording *out)
{
	bool all = dir == NULL && (flags & RECORDING_ENDED_TOO);
	int ret = all ? recording_open_all(out) : recording_open(dir, out);

	if (ret == 0)
		ret = recording_fold(out, flags | (dir == NULL && !all ? RECORDING_LIVE_ONLY : 0));
	if (ret == 0) {
		cmd_losses(verb, out);
		return 0;
	}
	recording_close(out);
	if (dir != NULL)
		return cmd_session_error(verb, dir, ret);
	return cmd_error(verb, "reading the sessions: %s; name one with -s DIR", strerror(-ret));
}

int cmd_finish(const char *verb, int status)
{
	int err = errno;

	if (fflush(stdout) != 0)
		err = errno;
	else if (!ferror(stdout))
		return status;
	/* Whoever read has read enough. */
	if (err == EPIPE)
		return status;
	return cmd_error(verb, "write: %s", strerror(err != 0 ? err : EIO));
}

static int print_help(void)
{
	fputs("Usage: portshim VERB [options]\n\n"
	      "Records which process holds which port, and how it came by it.\n\nVerbs:\n",
	      stdout);
	for (size_t i = 0; i < ARRAY_LEN(cmds); i++)
		printf("  %-10s %s\n", cmds[i].name, cmds[i].help);
	fputs("\nOptions:\n"
	      "  --help     show this help; 'portshim VERB --help' tells a verb's options\n"
	      "  --version  show the version\n\n"
	      "Start with 'portshim run CMD', then 'portshim ls' in another terminal.\n",
	      stdout);
	return cmd_finish(NULL, 0);
}

static int print_version(void)
{
	puts("portshim " PORTSHIM_VERSION);
	return cmd_finish(NULL, 0);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : NULL;

	setlocale(LC_CTYPE, "");
	if (verb == NULL)
		return cmd_error(NULL, "no verb; see 'portshim --help'");
	if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0)
		return print_help();
	if (strcmp(verb, "--version") == 0 || strcmp(verb, "-V") == 0)
		return print_version();
	for (size_t i = 0; i < ARRAY_LEN(cmds); i++) {
		if (strcmp(verb, cmds[i].name) == 0)
			return cmd_finish(verb, cmds[i].run(argc - 1, argv + 1));
	}
	return cmd_error(NULL, "unknown %s '%s'; see 'portshim --help'", verb[0] == '-' ? "option" : "verb",
			 verb);
}
