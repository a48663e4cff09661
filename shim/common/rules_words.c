/* SPDX-License-Identifier: MIT */
/* The tables of rules.def. */
#include "rules.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static const char calls[][8] = {
#define CALL(NAME, word) word,
#include "portshim/rules.def"
};

enum {
	KIND_PROTOCOL,
	KIND_FAMILY,
	KIND_ADDR,
	KIND_PORT,
	KIND_PATH,
	KIND_EXE,
	KIND_ARG,
	KIND_UID,
};

static const struct {
	char word[8];
	uint8_t kind, argument;
} matchers[] = {
#define MATCHER(NAME, word, kind, argument) { word, KIND_##kind, ARG_##argument },
#include "portshim/rules.def"
};

static const struct {
	char word[14];
	uint8_t argument, calls;
} actions[] = {
#define ON(CALL) (1u << RULE_##CALL)
#define ACTION(NAME, word, argument, calls) { word, ARG_##argument, calls },
#include "portshim/rules.def"
};

static const struct rule_option options[] = {
#define OPTION(name, level, type) { #name, level, name, OPTION_##type },
#include "portshim/rules.def"
};

static const struct rule_errno errnos[] = {
#define ERRNO(name) { #name, name },
#include "portshim/rules.def"
};

const char *rule_call_word(enum rule_call call)
{
	return calls[call];
}

const char *rule_matcher_word(enum rule_matcher matcher)
{
	return matchers[matcher].word;
}

enum rule_argument rule_matcher_argument(enum rule_matcher matcher)
{
	return matchers[matcher].argument;
}

unsigned rule_matcher_kind(enum rule_matcher matcher)
{
	return matchers[matcher].kind;
}

const char *rule_action_word(enum rule_action_kind kind)
{
	return actions[kind].word;
}

enum rule_argument rule_action_argument(enum rule_action_kind kind)
{
	return actions[kind].argument;
}

unsigned rule_action_calls(enum rule_action_kind kind)
{
	return actions[kind].calls;
}

const struct rule_option *rule_option(uint16_t index)
{
	return index < LEN(options) ? &options[index] : NULL;
}

const struct rule_errno *rule_errno(size_t index)
{
	return index < LEN(errnos) ? &errnos[index] : NULL;
}
