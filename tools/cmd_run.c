/* SPDX-License-Identifier: MIT */
#include "cmd.h"
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/program.h"
#include "common/session.h"
#include "out.h"
#include "portshim/env.h"
#include "ruleset.h"
#include "sessions.h"
#include "util.h"
#include "view.h"

enum { OPT_SUMMARY = CMD_OPT_OWN, OPT_SHARE, OPT_REDIRECT, OPT_DENY, OPT_CLOEXEC };

static const struct cmd_opt opts[] = {
	{ 'o', "output", "DIR", "make the session in DIR, which must be empty or not exist" },
	{ 's', "session", "DIR", "join the session in DIR" },
	{ OPT_SUMMARY, "summary", NULL, "stay, and show on stderr what was held once CMD has ended" },
	{ 'r', "rule", "RULE", "a rule; see 'portshim rules --help'" },
	{ 'f', "file", "FILE", "rules from FILE, or '-' for standard input" },
	{ OPT_SHARE, "share", "[=PORTS]", "let others bind these ports too, or any" },
	{ OPT_REDIRECT, "redirect", "FROM=TO", "move binds and connects, as 80=8080" },
	{ OPT_DENY, "deny", "PORTS", "refuse to bind these ports" },
	{ OPT_CLOEXEC, "cloexec", NULL, "leave no listener open to programs that CMD executes" },
	{ 0 },
};

static const struct cmd_usage usage = {
	.verb = "run",
	.synopsis = "[options] [--] CMD [ARGUMENT…]",
	.about = "Starts CMD and records which ports it and its children hold: see 'portshim ls' meanwhile.\n"
		 "CMD takes this process's place (same pid, same signals), unless --summary is given.\n"
		 "Exit status: CMD's own; 125 if portshim failed, 126 or 127 if CMD could not be started.\n",
	.opts = opts,
};

struct run {
	char *output, *session;
	bool summary;
	struct ruleset rules;
	char **cmd;
	char library[PATH_MAX];
	char dir[PATH_MAX]; /* the session's, absolute */
	bool made;	    /* by this run, in a place of its own choice */
};

static void run_free(struct run *run)
{
	ruleset_free(&run->rules);
}

static int give_rules(struct run *run, enum ruleset_origin origin)
{
	int ret = ruleset_give(&run->rules, origin, optarg);

	return ret == 0 ? 0 : cmd_error(usage.verb, "%s", strerror(-ret));
}

static int set_option(struct run *run, int opt)
{
	switch (opt) {
	case 'o':
		run->output = optarg;
		return 0;
	case 's':
		run->session = optarg;
		return 0;
	case 'r':
		return give_rules(run, RULESET_RULE);
	case 'f':
		return give_rules(run, RULESET_FILE);
	case OPT_SHARE:
		return give_rules(run, RULESET_SHARE);
	case OPT_REDIRECT:
		return give_rules(run, RULESET_REDIRECT);
	case OPT_DENY:
		return give_rules(run, RULESET_DENY);
	case OPT_CLOEXEC:
		return give_rules(run, RULESET_CLOEXEC);
	default:
		run->summary = true;
		return 0;
	}
}

static int parse(struct run *run, int argc, char **argv)
{
	int opt, status;

	while ((opt = cmd_option(&usage, argc, argv)) >= 0) {
		status = set_option(run, opt);
		if (status != 0)
			return status;
	}
	status = cmd_parsed(opt);
	if (status >= 0)
		return status;
	if (run->output != NULL && run->session != NULL)
		return cmd_error(usage.verb, "-o makes a session, -s joins one: give one of the two");
	if (optind >= argc)
		return cmd_error(usage.verb, "no CMD to run; see 'portshim run --help'");
	run->cmd = argv + optind;
	return -1;
}

static int make_rules(struct run *run)
{
	int ret = ruleset_make(&run->rules, secure_getenv(PS_ENV_RULES));

	if (ret == -EINVAL)
		return cmd_error(NULL, "%s", run->rules.why);
	return ret == 0 ? 0 : cmd_error(usage.verb, "%s", strerror(-ret));
}

/* The library */

/* Beside the tool as it was built, else where it was installed. */
static int find_library(struct run *run)
{
	char self[PATH_MAX - sizeof(PS_LIBRARY)];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash != NULL) {
		slash[1] = '\0';
		snprintf(run->library, sizeof(run->library), "%s" PS_LIBRARY, self);
		if (access(run->library, R_OK) == 0)
			return 0;
	}
	snprintf(run->library, sizeof(run->library), "%s/" PS_LIBRARY, PORTSHIM_LIBDIR);
	if (access(run->library, R_OK) == 0)
		return 0;
	cmd_error(usage.verb, "%s: %s; build it with 'make', or install it with 'make install'", run->library,
		  strerror(errno));
	return EXIT_RUN_FAILED;
}

static int check_library(const struct run *run)
{
	if (strpbrk(run->library, " \t\n:") == NULL)
		return 0;
	cmd_error(usage.verb,
		  "%s: LD_PRELOAD cannot name a path with a blank or colon; install portshim elsewhere",
		  run->library);
	return EXIT_RUN_FAILED;
}

static const char *next_preload(const char *p, size_t *len)
{
	if (p == NULL)
		return NULL;
	p += strspn(p, ": ");
	*len = strcspn(p, ": ");
	return *len > 0 ? p : NULL;
}

/* ld.so(8): entries are separated by blanks or colons.  Ours goes first, once; the others stay. */
static int set_preload(const struct run *run)
{
	const char *p = getenv("LD_PRELOAD");
	size_t own = strlen(run->library), len;
	CLEANUP_FREE char *value = malloc(own + (p != NULL ? strlen(p) : 0) + 2);
	char *end = value;

	if (value == NULL)
		return -ENOMEM;
	for (const char *at = p; (at = next_preload(at, &len)) != NULL; at += len) {
		if (preload_goes_first(at, len))
			end = stpcpy(mempcpy(end, at, len), ":");
	}
	end = stpcpy(end, run->library);
	for (const char *at = p; (at = next_preload(at, &len)) != NULL; at += len) {
		if (preload_goes_first(at, len) || (len == own && strncmp(at, run->library, len) == 0))
			continue;
		*end++ = ':';
		end = mempcpy(end, at, len);
	}
	*end = '\0';
	return setenv("LD_PRELOAD", value, 1) < 0 ? -errno : 0;
}

/* The session */

static const char *make_why(int err)
{
	switch (-err) {
	case ENOTEMPTY:
		return "not empty; name a new directory, or join the session in it with -s";
	case EPERM:
		return "belongs to someone else or can be written by others; name a new directory";
	case EMEDIUMTYPE:
		return "this file system cannot carry a record; tmpfs, ext4, xfs and btrfs can";
	case EFBIG:
		return "RLIMIT_FSIZE is below the size of a record; raise it with 'ulimit -f'";
	case ELOOP:
		return "a symbolic link; name the directory itself";
	default:
		return strerror(-err);
	}
}

static int make_session(struct run *run)
{
	int ret = session_make(run->output);

	if (ret < 0)
		return cmd_error(usage.verb, "%s: %s", run->output, make_why(ret));
	return realpath(run->output, run->dir) != NULL
		       ? 0
		       : cmd_error(usage.verb, "%s: %s", run->output, strerror(errno));
}

static int join_session(struct run *run)
{
	struct session_info info;
	int ret = session_info(run->session, geteuid(), &info);

	if (ret == 0)
		ret = session_arena_make(run->session, geteuid(), info.size);
	if (ret < 0)
		return cmd_session_error(usage.verb, run->session, ret);
	return realpath(run->session, run->dir) != NULL ? 0
							: cmd_session_error(usage.verb, run->session, -errno);
}

static int make_own_session(struct run *run)
{
	char root[SESSION_PATH_MAX] = "", dir[SESSION_PATH_MAX] = "";
	int ret = session_root_make(geteuid(), secure_getenv(PS_ENV_ROOT), secure_getenv("XDG_RUNTIME_DIR"),
				    root);

	if (ret == 0)
		ret = session_make_new(root, dir);
	if (ret < 0) {
		cmd_error(usage.verb, "%s: %s; or name a directory with -o",
			  root[0] != '\0' ? root : "session", make_why(ret));
		return EXIT_RUN_FAILED;
	}
	run->made = true;
	if (realpath(dir, run->dir) != NULL)
		return 0;
	cmd_error(usage.verb, "%s: %s", dir, strerror(errno));
	return EXIT_RUN_FAILED;
}

static int find_session(struct run *run)
{
	if (run->output != NULL)
		return make_session(run);
	if (run->session != NULL)
		return join_session(run);
	return make_own_session(run);
}

/* A session has one set of rules from its first process on: what lives there already started without. */
static int give_session_rules(const struct run *run)
{
	int ret;

	if (run->rules.len == 0)
		return 0;
	if (run->session != NULL)
		return cmd_error(usage.verb,
				 "%s: rules are made with a session: give them with -o, in a new one",
				 run->session);
	ret = session_rules_write(run->dir, geteuid(), run->rules.text, run->rules.len);
	if (ret == 0)
		return 0;
	cmd_error(usage.verb, "%s: rules: %s", run->dir, strerror(-ret));
	return EXIT_RUN_FAILED;
}

/* Nobody will ever live in it. */
static void unmake_session(const struct run *run)
{
	char odd[ODD_NAME_MAX];
	pid_t pid;

	if (run->made)
		session_remove(run->dir, &pid, odd);
}

/* The program */

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* execvp(3)'s search; false: it will find none, and say why itself. */
static bool find_program(const char *cmd, char out[static PATH_MAX])
{
	const char *path = getenv("PATH");
	size_t len;

	if (strchr(cmd, '/') != NULL)
		return snprintf(out, PATH_MAX, "%s", cmd) < PATH_MAX && is_program(out);
	for (path = path != NULL ? path : "/bin:/usr/bin"; *cmd != '\0'; path += len + 1) {
		len = strcspn(path, ":");
		if (len < PATH_MAX &&
		    snprintf(out, PATH_MAX, "%.*s%s%s", (int)len, path, len > 0 ? "/" : "", cmd) < PATH_MAX &&
		    is_program(out))
			return true;
		if (path[len] == '\0')
			break;
	}
	return false;
}

/* A script without "#!" is a file of no known kind too, but a shell will read it. */
static bool will_be_seen(const char *path, enum ps_seen seen)
{
	return seen == PS_SEEN || (seen == PS_SEEN_UNKNOWN && access(path, R_OK) == 0);
}

/* Whether LD_PRELOAD may be set for it; warns where it will do its work unseen. */
static bool look_at_program(const struct run *run)
{
	char path[PATH_MAX];
	struct program program;

	if (!find_program(run->cmd[0], path))
		return true;
	program = program_look(AT_FDCWD, path, 0, run->library, true);
	if (!will_be_seen(path, program.seen))
		cmd_error(NULL, "%s %s be seen: %s; it runs all the same", path,
			  program.seen == PS_SEEN_UNKNOWN ? "may not" : "will not",
			  program_reason(program.seen));
	return program.preload;
}

static int set_environment(const struct run *run)
{
	int ret = look_at_program(run) ? set_preload(run) : 0;

	if (ret == 0 && setenv(PS_ENV_SESSION, run->dir, 1) < 0)
		ret = -errno;
	unsetenv(PS_ENV_PROCESS);
	/* They are the session's now. */
	unsetenv(PS_ENV_RULES);
	unsetenv(PS_ENV_MASKS);
	if (ret == 0)
		return 0;
	cmd_error(usage.verb, "%s", strerror(-ret));
	return EXIT_RUN_FAILED;
}

static int exec_failed(const struct run *run, int err)
{
	cmd_error(usage.verb, "%s: %s", run->cmd[0],
		  err == ENOENT ? "no such program; is it in PATH?" : strerror(err));
	return err == ENOENT ? EXIT_RUN_NOT_FOUND : EXIT_RUN_CANNOT;
}

/* The summary */

static const int passed_on[] = { SIGHUP,  SIGINT,   SIGQUIT, SIGTERM, SIGUSR1,
				 SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP };

/* How the caller had its signals, for CMD to have them so again. */
struct signals {
	sigset_t mask, waited;
	struct sigaction child;
};

static void take_signals(struct signals *s)
{
	const struct sigaction by_default = { .sa_handler = SIG_DFL };

	sigemptyset(&s->waited);
	sigaddset(&s->waited, SIGCHLD);
	for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
		sigaddset(&s->waited, passed_on[i]);
	sigprocmask(SIG_BLOCK, &s->waited, &s->mask);
	/* Ignored, CMD would leave no status behind. */
	sigaction(SIGCHLD, &by_default, &s->child);
}

static void give_signals_back(const struct signals *s)
{
	sigaction(SIGCHLD, &s->child, NULL);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

/* In the child.  The pipe closes at exec, or brings the parent the reason why there was none. */
static void exec_child(const struct run *run, const struct signals *s, int report)
{
	int err;

	give_signals_back(s);
	execvp(run->cmd[0], run->cmd);
	err = errno;
	if (write(report, &err, sizeof(err)) < 0)
		_exit(EXIT_RUN_FAILED);
	_exit(EXIT_RUN_CANNOT);
}

static int start_child(const struct run *run, const struct signals *s, pid_t *pid)
{
	int ends[2], err = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*pid = fork();
	if (*pid == 0)
		exec_child(run, s, ends[1]);
	if (*pid < 0)
		err = errno;
	close(ends[1]);
	if (err == 0 && read(ends[0], &err, sizeof(err)) > 0)
		waitpid(*pid, NULL, 0);
	close(ends[0]);
	return -err;
}

/* What the terminal sends goes to CMD too, as it is in the same process group. */
static void pass_on(const siginfo_t *info, pid_t child)
{
	if (info->si_code == SI_QUEUE)
		sigqueue(child, info->si_signo, info->si_value);
	else if (info->si_code == SI_USER || info->si_code == SI_TKILL)
		kill(child, info->si_signo);
}

/* Whether the terminal, or someone in its stead, wants the job stopped, and whether CMD has. */
struct stop {
	bool wanted, done;
};

/* true: *status is how CMD ended. */
static bool look_at_child(pid_t child, struct stop *stop, int *status)
{
	while (waitpid(child, status, WNOHANG | WUNTRACED | WCONTINUED) == child) {
		if (!WIFSTOPPED(*status) && !WIFCONTINUED(*status))
			return true;
		stop->done = WIFSTOPPED(*status);
	}
	return false;
}

/*
 * A shell looks at this process only: where it wants the job stopped, this one stops too, but not before CMD,
 * which may have a screen to leave tidy, or may not stop at all.  Where CMD alone was stopped, who did it
 * will let CMD alone go on.
 */
static int wait_child(const struct signals *s, pid_t child)
{
	struct stop stop = { 0 };
	siginfo_t info;
	int status;

	for (;;) {
		if (sigwaitinfo(&s->waited, &info) < 0)
			continue;
		if (info.si_signo == SIGTSTP || info.si_signo == SIGCONT)
			stop.wanted = info.si_signo == SIGTSTP;
		if (info.si_signo != SIGCHLD)
			pass_on(&info, child);
		if (look_at_child(child, &stop, &status))
			return status;
		if (!stop.wanted || !stop.done)
			continue;
		stop = (struct stop){ 0 };
		raise(SIGSTOP);
	}
}

/* Ends as CMD did, without a second core file. */
static int end_as(int status)
{
	const struct rlimit none = { 0 };
	sigset_t set;

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

/* A path as a word of the shell. */
static void put_quoted(const char *s)
{
	static const char safe[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=./,:@%~^";

	if (s[0] != '~' && s[strspn(s, safe)] == '\0') {
		fputs(s, stderr);
		return;
	}
	putc('\'', stderr);
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			fputs("'\\''", stderr);
		else
			putc(*s, stderr);
	}
	putc('\'', stderr);
}

/* Standard output is CMD's. */
static void show_summary(const struct run *run)
{
	const struct holder_filter everyone = { .live = true, .past = true };
	CLEANUP(recording_closep) struct recording r = { 0 };
	CLEANUP(view_freep) struct view v = { 0 };
	bool live;

	if (cmd_read(usage.verb, run->dir, 0, &r) != 0 ||
	    view_holders(r.model, recording_offset(&r), &everyone, &v) < 0)
		return;
	setvbuf(stderr, NULL, _IOFBF, BUFSIZ);
	out_table(&v, stderr);
	live = model_live(r.model) != NULL;
	fputs("\nportshim ls -s ", stderr);
	put_quoted(run->dir);
	fputs(live ? "\n" : " --past\n", stderr);
	fflush(stderr);
}

static int run_summarised(const struct run *run)
{
	struct signals signals;
	pid_t child = -1;
	int ret, status;

	take_signals(&signals);
	ret = start_child(run, &signals, &child);
	if (ret < 0) {
		unmake_session(run);
		return exec_failed(run, -ret);
	}
	status = wait_child(&signals, child);
	/* CMD's status counts, not whether the summary found a reader. */
	signal(SIGPIPE, SIG_IGN);
	show_summary(run);
	return end_as(status);
}

int cmd_run(int argc, char **argv)
{
	CLEANUP(run_free) struct run run = { 0 };
	int status = parse(&run, argc, argv);

	if (status >= 0)
		return status;
	status = make_rules(&run);
	if (status == 0)
		status = find_library(&run);
	if (status == 0)
		status = check_library(&run);
	if (status == 0)
		status = find_session(&run);
	if (status != 0)
		return status;
	status = give_session_rules(&run);
	if (status != 0) {
		unmake_session(&run);
		return status;
	}
	sessions_tidy();
	status = set_environment(&run);
	if (status != 0)
		return status;
	if (run.summary)
		return run_summarised(&run);
	execvp(run.cmd[0], run.cmd);
	status = exec_failed(&run, errno);
	unmake_session(&run);
	return status;
}
