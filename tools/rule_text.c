/* SPDX-License-Identifier: MIT */
#include "rule_text.h"

#include <arpa/inet.h>
#include <string.h>

#define V4_BITS 96 /* what stands before an IPv4 address that is mapped into IPv6 */

static bool needs_quotes(const char *word, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (strchr(" \t\r\",;#", word[i]) != NULL)
			return true;
		if (word[i] == '-' && i + 1 < len && word[i + 1] == '>')
			return true;
	}
	return len == 0;
}

void rule_put_word(const char *word, size_t len, FILE *f)
{
	if (!needs_quotes(word, len)) {
		fwrite(word, 1, len, f);
		return;
	}
	fputc('"', f);
	for (size_t i = 0; i < len; i++) {
		if (word[i] == '"' || word[i] == '\\')
			fputc('\\', f);
		fputc(word[i], f);
	}
	fputc('"', f);
}

static void put_text(struct rule_text t, FILE *f)
{
	rule_put_word(t.at, t.len, f);
}

static void put_ip(uint16_t family, const void *ip, FILE *f)
{
	char buf[INET6_ADDRSTRLEN];

	fputs(inet_ntop(family, ip, buf, sizeof(buf)), f);
}

static void put_addr(const struct rule_match *m, FILE *f)
{
	bool v4 = m->addr.bits >= V4_BITS && IN6_IS_ADDR_V4MAPPED(&m->addr.ip);
	unsigned bits = m->addr.bits - (v4 ? V4_BITS : 0u);

	put_ip(v4 ? AF_INET : AF_INET6, m->addr.ip.s6_addr + (v4 ? V4_BITS / 8 : 0), f);
	if (bits != (v4 ? 32 : 128))
		fprintf(f, "/%u", bits);
}

static void put_ports(const struct rule_match *m, FILE *f)
{
	for (unsigned i = 0; i < m->n_ports; i++) {
		fprintf(f, "%s%u", i > 0 ? "," : "", m->ports[i].from);
		if (m->ports[i].from != m->ports[i].to)
			fprintf(f, "-%u", m->ports[i].to);
	}
}

static void put_match(const struct rule_match *m, FILE *f)
{
	enum rule_argument argument = rule_matcher_argument(m->matcher);

	fprintf(f, " %s%s%s", m->negated ? "not " : "", rule_matcher_word(m->matcher),
		argument != ARG_NONE ? " " : "");
	if (argument == ARG_ADDR)
		put_addr(m, f);
	else if (argument == ARG_PORTS)
		put_ports(m, f);
	else if (argument == ARG_GLOB)
		put_text(m->glob, f);
	else if (argument == ARG_UID)
		fprintf(f, "%u", m->uid);
}

static void put_unix(struct rule_text name, FILE *f)
{
	char word[sizeof("unix:") + sizeof(((struct sockaddr_un *)0)->sun_path)] = "unix:";
	char *at = mempcpy(word + strlen("unix:"), name.at, name.len);

	if (word[strlen("unix:")] == '\0')
		word[strlen("unix:")] = '@';
	rule_put_word(word, (size_t)(at - word), f);
}

static void put_where(const struct rule_where *w, FILE *f)
{
	static const char *const signs[] = { [WHERE_PORT] = "", [WHERE_PLUS] = "+", [WHERE_MINUS] = "-" };
	bool brackets = w->family == AF_INET6 && w->how != WHERE_SAME;

	if (w->family == AF_UNIX) {
		put_unix(w->name, f);
		return;
	}
	if (brackets)
		fputc('[', f);
	if (w->family != 0)
		put_ip(w->family, w->ip, f);
	if (brackets)
		fputc(']', f);
	if (w->how != WHERE_SAME)
		fprintf(f, ":%s%u", signs[w->how], w->port);
}

static const char *errno_name(int number)
{
	const struct rule_errno *e;

	for (size_t i = 0; (e = rule_errno(i)) != NULL; i++) {
		if (e->number == number)
			return e->name;
	}
	return "";
}

static void put_option(const struct rule_action *a, FILE *f)
{
	const struct rule_option *o = rule_option(a->set.option);
	char word[128];
	int n;

	if (o->type == OPTION_TEXT)
		n = snprintf(word, sizeof(word), "%s=%.*s", o->name, (int)a->set.text.len, a->set.text.at);
	else
		n = snprintf(word, sizeof(word), "%s=%d", o->name, a->set.value);
	rule_put_word(word, (size_t)n, f);
}

static void put_argument(const struct rule_action *a, FILE *f)
{
	switch (rule_action_argument(a->kind)) {
	case ARG_NAME:
		put_text(a->name, f);
		break;
	case ARG_WHERE:
		put_where(&a->where, f);
		break;
	case ARG_ERRNO:
		fputs(errno_name(a->error), f);
		break;
	case ARG_OPTION:
		put_option(a, f);
		break;
	default:
		fprintf(f, "%d", a->backlog);
		break;
	}
}

void rule_put_action(const struct rule_action *a, FILE *f)
{
	enum rule_argument argument = rule_action_argument(a->kind);

	fputs(rule_action_word(a->kind), f);
	if (argument == ARG_NONE || (argument == ARG_NAME && a->name.at == NULL))
		return;
	fputc(' ', f);
	put_argument(a, f);
}

void rule_put(const struct rule *r, FILE *f)
{
	fputs(rule_call_word(r->call), f);
	for (unsigned i = 0; i < r->n_matches; i++)
		put_match(&r->matches[i], f);
	fputs(" -> ", f);
	for (unsigned i = 0; i < r->n_actions; i++) {
		fputs(i > 0 ? ", " : "", f);
		rule_put_action(&r->actions[i], f);
	}
}
