/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_CMD_H
#define PORTSHIM_CMD_H

/*
 * What the verbs share: their options, their errors, the sessions they read.  Only cmd_*.c and
 * main.c print messages; all else returns -errno.
 */

#include <getopt.h>
#include <stdbool.h>

#include "recording.h"

/* Exit status; `run` has besides those of the program that it starts. */
enum {
	EXIT_NONE = 1, /* nothing matched */
	EXIT_BAD = 2,  /* bad usage or input */
	EXIT_RUN_FAILED = 125,
	EXIT_RUN_CANNOT = 126,
	EXIT_RUN_NOT_FOUND = 127,
};

#define CMD(verb, function, help) int function(int argc, char **argv);
#include "cmds.def"

/* One option: its help stands beside it.  val: the short letter, or 256 and up if there is none. */
struct cmd_opt {
	int val;
	const char *name;
	const char
		*arg; /* what its argument is called; "[=X]" if it may be left out; NULL if it takes none */
	const char *help;
};

#define CMD_OPT_JSON 256
#define CMD_OPT_OWN 257 /* a verb's own values start here */

/* A verb's usage, from which both its parser and its --help are made. */
struct cmd_usage {
	const char *verb;
	const char *synopsis;	    /* what follows the verb */
	const char *about;	    /* a paragraph, lines ended */
	const struct cmd_opt *opts; /* ended by a zero row */
	void (*more)(void);	    /* prints what else the help says; may be NULL */
};

/* Returned by cmd_option() besides an option's val. */
enum { CMD_END = -1, CMD_HELPED = -2, CMD_WRONG = -3 };

/* The next option of argv, its argument in optarg.  Prints the help (CMD_HELPED) or what is wrong
 * (CMD_WRONG).  Stops at the first argument that is no option, or behind "--". */
int cmd_option(const struct cmd_usage *usage, int argc, char **argv);

/* What to return after cmd_option() came to an end: -1 to go on, else the exit status. */
int cmd_parsed(int opt);

/* As cmd_parsed(), for a verb that takes no arguments. */
int cmd_parsed_all(const struct cmd_usage *usage, int opt, int argc, char **argv);

/* Prints "portshim: VERB: …"; verb may be NULL.  Returns EXIT_BAD. */
int cmd_error(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints why dir cannot be used as a session, and what to do.  Returns EXIT_BAD. */
int cmd_session_error(const char *verb, const char *dir, int err);

/* Prints that there is no live session, where that is why nothing is shown, and what shows the ended. */
void cmd_no_session(const char *verb);

/* Reads the session dir, or all live ones, or all (RECORDING_ENDED_TOO); prints why not.  0 or the exit
 * status. */
int cmd_read(const char *verb, const char *dir, unsigned flags, struct recording *out);

/* Says on stderr what the sessions of r could not record. */
void cmd_losses(const char *verb, const struct recording *r);

/* Ends output: status, or EXIT_BAD with a message if stdout took not all of it. */
int cmd_finish(const char *verb, int status);

#endif
