/* SPDX-License-Identifier: MIT */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include "out.h"
#include "rule_text.h"
#include "ruleset.h"
#include "try.h"
#include "util.h"
#include "view.h"

#define OPT_TRY CMD_OPT_OWN

static const struct cmd_opt opts[] = {
	{ 'r', "rule", "RULE", "a rule, before those of FILE" },
	{ OPT_TRY, "try", "CALL", "show what they decide, as for 'bind tcp 0.0.0.0:80'" },
	{ CMD_OPT_JSON, "json", NULL, "print JSON" },
	{ 0 },
};

static void print_words(void);

static const struct cmd_usage usage = {
	.verb = "rules",
	.synopsis = "[options] [FILE]",
	.about =
		"Checks the rules in FILE ('-': standard input) and prints them as they will be understood.\n"
		"CALL is a call, a protocol and an address, and may say who calls:\n"
		"  bind tcp 0.0.0.0:80    connect udp [::1]:53 exe /usr/bin/dig    send unix @name uid 33 "
		"arg -x\n"
		"Exit status 1 if no rule decides anything for it.\n",
	.opts = opts,
	.more = print_words,
};

/* The words of the language, as rules.def has them */

static const char *argument_name(enum rule_argument argument)
{
	static const char *const names[] = {
		[ARG_NONE] = "",	  [ARG_ADDR] = " IP[/BITS]", [ARG_PORTS] = " N[-M],...",
		[ARG_GLOB] = " PATTERN",  [ARG_UID] = " USER",	     [ARG_NAME] = " [NAME]",
		[ARG_WHERE] = " WHERE",	  [ARG_ERRNO] = " [ERROR]",  [ARG_OPTION] = " OPTION=VALUE",
		[ARG_NUMBER] = " NUMBER",
	};

	return names[argument];
}

static void print_action(enum rule_action_kind kind)
{
	const char *between = "";
	char text[64];

	snprintf(text, sizeof(text), "%s%s", rule_action_word(kind),
		 argument_name(rule_action_argument(kind)));
	printf("  %-18s  ", text);
	for (unsigned i = 0; i < RULE_CALLS; i++) {
		if ((rule_action_calls(kind) & 1u << i) == 0)
			continue;
		printf("%s%s", between, rule_call_word(i));
		between = ", ";
	}
	putchar('\n');
}

/* One of many, in lines of even length. */
static void print_name(const char *name, size_t *column)
{
	size_t len = strlen(name) + 1;

	if (*column + len > 78) {
		fputs("\n ", stdout);
		*column = 1;
	}
	printf(" %s", name);
	*column += len;
}

static void print_names(void)
{
	const struct rule_option *o;
	const struct rule_errno *e;
	size_t column = 1;

	fputs("\nOptions for set:\n ", stdout);
	for (uint16_t i = 0; (o = rule_option(i)) != NULL; i++)
		print_name(o->name, &column);
	fputs("\n\nErrors for deny:\n ", stdout);
	column = 1;
	for (size_t i = 0; (e = rule_errno(i)) != NULL; i++)
		print_name(e->name, &column);
	fputs("\n\nSee portshim-rules(5).\n", stdout);
}

static void print_words(void)
{
	fputs("\nA rule is: CALL [MATCHER...] -> ACTION[, ACTION...]\n\nCalls:\n", stdout);
	for (unsigned i = 0; i < RULE_CALLS; i++)
		printf("  %s\n", rule_call_word(i));
	fputs("\nMatchers, each perhaps behind 'not':\n", stdout);
	for (unsigned i = 0; i < RULE_MATCHERS; i++)
		printf("  %s%s\n", rule_matcher_word(i), argument_name(rule_matcher_argument(i)));
	fputs("\nActions, and the calls that they go with:\n", stdout);
	for (unsigned i = 0; i < RULE_ACTIONS; i++)
		print_action(i);
	fputs("\nWHERE: IP, :PORT, IP:PORT, [IP6]:PORT, :+N, :-N, unix:PATH or unix:@NAME\n", stdout);
	print_names();
}

/* The rules */

struct rows {
	struct rule_row *list;
	size_t n, room;
};

struct asked {
	struct ruleset set;
	char *attempt;
	bool json;
	void *room; /* what rules points to */
	struct rules rules;
	struct rows rows;
};

static void asked_free(struct asked *a)
{
	for (size_t i = 0; i < a->rows.n; i++) {
		free(a->rows.list[i].does);
		free(a->rows.list[i].result);
		free(a->rows.list[i].source);
		free(a->rows.list[i].rule);
	}
	free(a->rows.list);
	free(a->room);
	ruleset_free(&a->set);
}

static int failed(int ret)
{
	return cmd_error(usage.verb, "%s", strerror(-ret));
}

static int parse_options(struct asked *a, int argc, char **argv, int *opt)
{
	int ret = 0;

	while (ret == 0 && (*opt = cmd_option(&usage, argc, argv)) >= 0) {
		if (*opt == 'r')
			ret = ruleset_give(&a->set, RULESET_RULE, optarg);
		else if (*opt == OPT_TRY)
			a->attempt = optarg;
		else
			a->json = true;
	}
	return ret;
}

static int parse(struct asked *a, int argc, char **argv)
{
	int opt = 0, ret = parse_options(a, argc, argv, &opt), status = ret == 0 ? cmd_parsed(opt) : -1;

	if (status >= 0)
		return status;
	if (ret == 0 && optind < argc)
		ret = ruleset_give(&a->set, RULESET_FILE, argv[optind++]);
	if (ret < 0)
		return failed(ret);
	if (a->set.n_given == 0)
		return cmd_error(usage.verb, "no FILE and no -r; see 'portshim rules --help'");
	return cmd_parsed_all(&usage, opt, argc, argv);
}

static int make_rules(struct asked *a)
{
	int ret = ruleset_make(&a->set, NULL);

	if (ret == -EINVAL)
		return cmd_error(NULL, "%s", a->set.why);
	if (ret == 0)
		ret = ruleset_rules(&a->set, &a->room, &a->rules);
	return ret == 0 ? 0 : failed(ret);
}

/* Rows */

static char *rule_copy(const struct rule *r)
{
	return strndup(r->text.at, r->text.len);
}

static char *action_copy(const struct rule_action *a, const char *word)
{
	char *text = NULL;
	size_t len;
	FILE *f;

	if (a == NULL)
		return strdup(word);
	f = open_memstream(&text, &len);
	if (f == NULL)
		return NULL;
	rule_put_action(a, f);
	return fclose(f) == 0 ? text : NULL;
}

/* action: NULL for `pass`, which has none. */
static int add_row(struct rows *rows, const struct rule *r, const struct rule_action *action,
		   const char *word)
{
	struct rule_row *list = array_room(rows->list, &rows->room, rows->n + 1, sizeof(*list)), *row;

	if (list == NULL)
		return -ENOMEM;
	rows->list = list;
	row = &list[rows->n++];
	*row = (struct rule_row){ .action = word, .rule = rule_copy(r) };
	row->source = strndup(r->source.at, r->source.len);
	row->does = action_copy(action, word);
	return row->rule != NULL && row->source != NULL && row->does != NULL ? 0 : -ENOMEM;
}

static int add_result(struct rows *rows, const struct rule_action *a, const struct endpoint *asked)
{
	char text[ENDPOINT_TEXT_MAX];
	struct endpoint to;

	if (rule_redirected(&a->where, asked, &to) < 0)
		strcpy(text, "EADDRNOTAVAIL");
	else
		endpoint_text(&to, text);
	rows->list[rows->n - 1].result = strdup(text);
	return rows->list[rows->n - 1].result != NULL ? 0 : -ENOMEM;
}

static int add_decisions(struct rows *rows, const struct rule_plan *plan, const struct endpoint *asked)
{
	int ret = 0;

	for (unsigned i = 0; i < RULE_ACTIONS && ret == 0; i++) {
		if (plan->rule[i] != NULL)
			ret = add_row(rows, plan->rule[i], plan->action[i], rule_action_word(i));
		if (ret == 0 && i == ACT_REDIRECT && plan->action[i] != NULL)
			ret = add_result(rows, plan->action[i], asked);
	}
	for (size_t i = 0; i < plan->n_sets && ret == 0; i++)
		ret = add_row(rows, plan->set_rule[i], plan->sets[i], rule_action_word(ACT_SET));
	return ret;
}

static int add_rules(struct rows *rows, const struct rules *rules)
{
	int ret = 0;

	for (size_t i = 0; i < rules->n && ret == 0; i++)
		ret = add_row(rows, &rules->rules[i], NULL, "");
	return ret;
}

/* Shown */

static int show(const struct asked *a)
{
	CLEANUP(view_freep) struct view v = { 0 };
	int ret = view_rules(a->rows.list, a->rows.n, a->attempt != NULL, &v);

	if (ret == 0)
		ret = a->json ? out_json(&v, stdout) : out_table(&v, stdout);
	if (ret < 0)
		return failed(ret);
	return a->attempt == NULL || v.n > 0 ? 0 : EXIT_NONE;
}

/* The kernel's name for a program is that behind all links: a rule for another never matches. */
static void warn_of_link(const struct rule *r, const struct rule_match *m)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FREE char *real = NULL;

	if (m->matcher != MATCH_EXE || m->glob.len == 0 || m->glob.at[0] != '/')
		return;
	path = strndup(m->glob.at, m->glob.len);
	real = path != NULL ? realpath(path, NULL) : NULL;
	if (real != NULL && strcmp(path, real) != 0)
		cmd_error(NULL,
			  "%.*s: exe %s: a symbolic link, which never matches: the program is %s; name that",
			  (int)r->source.len, r->source.at, path, real);
}

static void warn_of_links(const struct rules *rules)
{
	for (size_t i = 0; i < rules->n; i++) {
		for (unsigned k = 0; k < rules->rules[i].n_matches; k++)
			warn_of_link(&rules->rules[i], &rules->rules[i].matches[k]);
	}
}

static int show_rules(struct asked *a)
{
	int ret;

	if (!a->json) {
		fwrite(a->set.text, 1, a->set.len, stdout);
		return 0;
	}
	ret = add_rules(&a->rows, &a->rules);
	return ret == 0 ? show(a) : failed(ret);
}

static int show_attempt(struct asked *a)
{
	struct attempt attempt;
	struct rule_plan plan;
	int ret = attempt_parse(&attempt, a->attempt);

	if (ret < 0)
		return cmd_error(usage.verb, "--try: %s: expected %s",
				 attempt.wrong != NULL ? attempt.wrong : "ends too early", attempt.expected);
	if (strcmp(attempt.query.exe, attempt.exe) != 0)
		cmd_error(usage.verb, "--try: exe %s: a symbolic link: tried as %s", attempt.exe,
			  attempt.query.exe);
	rules_plan(&a->rules, &attempt.query, &plan);
	ret = add_decisions(&a->rows, &plan, &attempt.address);
	return ret == 0 ? show(a) : failed(ret);
}

int cmd_rules(int argc, char **argv)
{
	CLEANUP(asked_free) struct asked asked = { 0 };
	int status = parse(&asked, argc, argv);

	if (status >= 0)
		return status;
	status = make_rules(&asked);
	if (status != 0)
		return status;
	warn_of_links(&asked.rules);
	return asked.attempt != NULL ? show_attempt(&asked) : show_rules(&asked);
}
