/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_RULES_H
#define PORTSHIM_RULES_H

/*
 * The rules: text -> parsed -> what they decide for one call.  The grammar is portshim-rules(5)'s; the
 * lists of calls, matchers, actions and of the pairs allowed are rules.def's and nowhere else.
 *
 * Parsing and planning have no side effects, call no malloc, no stdio and nothing that depends on a
 * locale; all is async-signal-safe and, as nothing here is written after rules_parse(), thread-safe.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "endpoint.h"

enum rule_call {
#define CALL(NAME, word) RULE_##NAME,
#include "portshim/rules.def"
	RULE_CALLS
};

enum rule_matcher {
#define MATCHER(NAME, word, kind, argument) MATCH_##NAME,
#include "portshim/rules.def"
	RULE_MATCHERS
};

enum rule_action_kind {
#define ACTION(NAME, word, argument, calls) ACT_##NAME,
#include "portshim/rules.def"
	RULE_ACTIONS
};

enum {
#define OPTION(name, level, type) RULE_OPTION_##name,
#include "portshim/rules.def"
	RULE_OPTIONS
};

/* Where in the text something is, or what became of it: not NUL-terminated. */
struct rule_text {
	const char *at;
	size_t len;
};

struct rule_range {
	uint16_t from, to;
};

struct rule_match {
	uint8_t matcher; /* enum rule_matcher */
	bool negated;
	uint16_t n_ports;
	uint8_t kind; /* rule_matcher_kind() */
	bool pattern; /* its argument is one */
	union {
		struct {
			struct in6_addr ip; /* IPv4 mapped into IPv6 */
			uint8_t bits;	    /* of 128; counted from the front of the mapped form */
		} addr;
		const struct rule_range *ports;
		struct rule_text glob;
		uid_t uid;
	};
};

/* redirect's WHERE. */
struct rule_where {
	uint16_t family; /* AF_INET, AF_INET6 or AF_UNIX; 0: an address is not named, the asked one stays */
	enum { WHERE_SAME, WHERE_PORT, WHERE_PLUS, WHERE_MINUS } how; /* the port */
	uint16_t port;	       /* the port, or the offset; ":0" is WHERE_PORT 0 */
	uint8_t ip[16];	       /* network order */
	struct rule_text name; /* AF_UNIX; an abstract name with a leading NUL instead of the '@' */
};

struct rule_action {
	uint8_t kind; /* enum rule_action_kind */
	union {
		struct rule_where where;
		int error; /* deny */
		int backlog;
		struct rule_text name; /* adopt; empty if none */
		struct {
			uint16_t option;       /* index for rule_option() */
			int value;	       /* of all types but OPTION_TEXT */
			struct rule_text text; /* OPTION_TEXT: at most 15 bytes */
		} set;
	};
};

struct rule {
	uint8_t call; /* enum rule_call */
	unsigned line;
	const struct rule_match *matches;
	const struct rule_action *actions;
	uint16_t n_matches, n_actions;
	struct rule_text source; /* what to call it: "-r #2", "web.rules:7"; empty if the text does not say */
	struct rule_text text;	 /* the rule itself, as it was written */
};

struct rules {
	struct rule *rules;
	size_t n;
	uint8_t calls; /* bit 1 << enum rule_call where any rule is about it */
};

/* What is wrong, in words: "port 70000: not in 0-65535". */
struct rules_error {
	unsigned line, column; /* from 1; column counts bytes */
	char text[256];
};

/* No text may be longer. */
#define RULES_TEXT_MAX 65535
/* Nor that of the environment. */
#define RULES_ENV_MAX 16384
/* No name given to rules_parse(). */
#define RULES_NAME_MAX 16

/* Room that rules_parse() needs at most for a text of that length.  Only what is used of it is written
 * to, which is much less. */
size_t rules_room(size_t len);

/* The uid of a user, false if there is none. */
typedef bool rules_uid(const char *name, uid_t *out);

/*
 * Parses len bytes of text, which must stay where they are as long as out is used, and so must room: at
 * least rules_room(len) bytes, aligned for any type.
 *
 * name: what rules of this text are called, as NAME:LINE in their source.  With NULL a line "#: SOURCE"
 * says what the rules of the next line are called: a session's file is written so.
 *
 * uid_of: resolves `uid NAME`; where it is NULL, as in the shim, names are refused.
 *
 * 0; -EINVAL with *error filled in; -E2BIG, the text or the name is too long.  *out is written only on
 * success.
 */
int rules_parse(const char *text, size_t len, const char *name, rules_uid *uid_of, void *room,
		struct rules *out, struct rules_error *error);

/* One call, as the program made it. */
struct rule_query {
	enum rule_call call;
	uint16_t family; /* of the socket */
	uint16_t type;	 /* SOCK_STREAM … */
	uint16_t protocol;
	const struct endpoint
		*address; /* bind: as asked for; listen, accept: the listener's; connect, send: remote */
	const char *exe;  /* absolute path; "" if not known */
	const char *argv; /* NUL-separated */
	size_t argv_len;
	uid_t euid;
};

/*
 * What is to be done: for each kind of action the one that decides, and of which rule.  A redirect that
 * changes a part only of an IP address decides nothing where the address is none.  `unmasked` goes with
 * the redirect that decides.  With `deny` nothing else is planned.
 */
struct rule_plan {
	const struct rule_action
		*action[RULE_ACTIONS];	       /* NULL: none.  ACT_SET: NULL, see sets; ACT_PASS: NULL */
	const struct rule *rule[RULE_ACTIONS]; /* ACT_PASS: the rule that ended matching */
	const struct rule_action *sets[RULE_OPTIONS]; /* one per option, in order */
	const struct rule *set_rule[RULE_OPTIONS];
	size_t n_sets;
	bool any; /* something is to be done */
};

/* Fills in *out, of sets only n_sets; true if anything is to be done. */
bool rules_plan(const struct rules *rules, const struct rule_query *query, struct rule_plan *out);

/*
 * Where a redirected call goes: *asked with what WHERE changes.  An offset leaves port 0 as it is: the
 * kernel's choice stays the kernel's.  0; -EADDRNOTAVAIL, an offset leads out of 1-65535; -EAFNOSUPPORT,
 * WHERE changes a part only and *asked is no IP address.
 */
int rule_redirected(const struct rule_where *where, const struct endpoint *asked, struct endpoint *out);

/* A socket option by its name, of the one table of them.  Words stand in the tables themselves: a pointer
 * would have to be relocated in each program that the shim is loaded into. */
struct rule_option {
	char name[24]; /* "SO_KEEPALIVE" */
	int level, option;
	enum {
		OPTION_INT,
		OPTION_LINGER,	/* seconds; negative: off */
		OPTION_TIMEVAL, /* milliseconds */
		OPTION_TEXT,
	} type;
};
const struct rule_option *rule_option(uint16_t index); /* NULL behind the last */

struct rule_errno {
	char name[16]; /* "EACCES" */
	int number;
};
const struct rule_errno *rule_errno(size_t index); /* NULL behind the last */

/* The words of the language, for messages and manuals. */
enum rule_argument {
	ARG_NONE,
	ARG_ADDR,
	ARG_PORTS,
	ARG_GLOB,
	ARG_UID,
	ARG_NAME, /* may be left out, as may ARG_ERRNO */
	ARG_WHERE,
	ARG_ERRNO,
	ARG_OPTION,
	ARG_NUMBER,
};

enum rule_argument rule_matcher_argument(enum rule_matcher matcher);
enum rule_argument rule_action_argument(enum rule_action_kind kind);

const char *rule_call_word(enum rule_call call);
const char *rule_matcher_word(enum rule_matcher matcher);
const char *rule_action_word(enum rule_action_kind kind);
/* Matchers of one kind are alternatives: a number below 32 for each. */
unsigned rule_matcher_kind(enum rule_matcher matcher);
/* Bit 1 << enum rule_call for each call that takes the action. */
unsigned rule_action_calls(enum rule_action_kind kind);

#endif
