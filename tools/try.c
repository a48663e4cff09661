/* SPDX-License-Identifier: MIT */
#include "try.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ruleset.h"
#include "util.h"

static char *next_word(char **text)
{
	char *word;

	while ((word = strsep(text, " \t\n")) != NULL && *word == '\0')
		continue;
	return word;
}

static int wrong(struct attempt *a, const char *word, const char *expected)
{
	a->wrong = word;
	a->expected = expected;
	return -EINVAL;
}

static int take_call(struct attempt *a, const char *word)
{
	for (unsigned i = 0; word != NULL && i < RULE_CALLS; i++) {
		if (strcmp(word, rule_call_word(i)) == 0) {
			a->query.call = i;
			return 0;
		}
	}
	return wrong(a, word, "bind, listen, connect, accept or send");
}

static int take_protocol(struct attempt *a, const char *word)
{
	static const struct {
		const char *word;
		uint16_t family, type, protocol;
	} protocols[] = {
		{ "tcp", AF_INET, SOCK_STREAM, IPPROTO_TCP },
		{ "udp", AF_INET, SOCK_DGRAM, IPPROTO_UDP },
		{ "unix", AF_UNIX, SOCK_STREAM, 0 },
	};

	for (size_t i = 0; word != NULL && i < ARRAY_LEN(protocols); i++) {
		if (strcmp(word, protocols[i].word) != 0)
			continue;
		a->query.family = protocols[i].family;
		a->query.type = protocols[i].type;
		a->query.protocol = protocols[i].protocol;
		return 0;
	}
	return wrong(a, word, "tcp, udp or unix");
}

static int take_name(struct attempt *a, const char *word)
{
	size_t len = word != NULL ? strlen(word) : 0;

	if (len == 0 || len > sizeof(a->address.name))
		return wrong(a, word, "a path or @NAME of at most 108 bytes");
	a->address.family = AF_UNIX;
	a->address.port = (uint16_t)len;
	memcpy(a->address.name, word, len);
	if (word[0] == '@')
		a->address.name[0] = '\0';
	return 0;
}

static bool take_port(const char *digits, uint16_t *out)
{
	char *end;
	unsigned long n = strtoul(digits, &end, 10);

	if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || n > UINT16_MAX)
		return false;
	*out = (uint16_t)n;
	return true;
}

/* Brackets tell the families apart. */
static bool parse_ip(struct endpoint *ep, char *ip)
{
	size_t len = strlen(ip);

	ep->family = AF_INET;
	if (ip[0] == '[' && ip[len - 1] == ']') {
		ip[len - 1] = '\0';
		ip++;
		ep->family = AF_INET6;
	}
	return inet_pton(ep->family, ip, ep->ip) == 1;
}

static int take_ip(struct attempt *a, const char *word)
{
	char ip[INET6_ADDRSTRLEN + 3];
	const char *colon = word != NULL ? strrchr(word, ':') : NULL;

	if (colon != NULL && colon > word && (size_t)(colon - word) < sizeof(ip)) {
		*(char *)mempcpy(ip, word, (size_t)(colon - word)) = '\0';
		if (parse_ip(&a->address, ip) && take_port(colon + 1, &a->address.port)) {
			a->query.family = a->address.family;
			return 0;
		}
	}
	return wrong(a, word, "an address, as 0.0.0.0:80 or [::1]:80");
}

static int take_argument(struct attempt *a, const char *word)
{
	size_t len = strlen(word) + 1;

	if (len > sizeof(a->argv) - a->query.argv_len)
		return wrong(a, word, "shorter arguments");
	memcpy(a->argv + a->query.argv_len, word, len);
	a->query.argv_len += len;
	return 0;
}

static int take_user(struct attempt *a, const char *word)
{
	char *end;
	unsigned long n = strtoul(word, &end, 10);

	if (word[0] >= '0' && word[0] <= '9' && *end == '\0' && n < (uid_t)-1) {
		a->query.euid = (uid_t)n;
		return 0;
	}
	return ruleset_uid(word, &a->query.euid) ? 0 : wrong(a, word, "a user's number or name");
}

static int take_option(struct attempt *a, const char *word, const char *value)
{
	bool exe = strcmp(word, "exe") == 0, arg = strcmp(word, "arg") == 0;

	if (!exe && !arg && strcmp(word, "uid") != 0)
		return wrong(a, word, "exe PATH, arg WORD, uid USER or nothing more");
	if (value == NULL)
		return wrong(a, NULL, "a word more");
	if (exe)
		a->exe = value;
	if (arg)
		return take_argument(a, value);
	return exe ? 0 : take_user(a, value);
}

int attempt_parse(struct attempt *a, char *text)
{
	const char *word;
	int ret;

	memset(a, 0, sizeof(*a));
	a->exe = "";
	a->query.euid = geteuid();
	ret = take_call(a, next_word(&text));
	if (ret == 0)
		ret = take_protocol(a, next_word(&text));
	if (ret == 0)
		ret = a->query.family == AF_UNIX ? take_name(a, next_word(&text))
						 : take_ip(a, next_word(&text));
	while (ret == 0 && (word = next_word(&text)) != NULL)
		ret = take_option(a, word, next_word(&text));
	a->query.address = &a->address;
	a->query.exe = a->exe[0] == '/' && realpath(a->exe, a->real) != NULL ? a->real : a->exe;
	a->query.argv = a->argv;
	return ret;
}
