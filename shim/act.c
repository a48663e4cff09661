/* SPDX-License-Identifier: MIT */
#include "act.h"

#include <errno.h>
#include <string.h>

#include "common/sys.h"
#include "emit.h"
#include "mask.h"
#include "path.h"
#include "real.h"
#include "replace.h"
#include "see.h"
#include "track_private.h"

/* ---- what there is ---- */

bool act_copy(void *to, const void *from, size_t len)
{
	uintptr_t first = (uintptr_t)from, last = first + len - 1;

	if (!see_readable(first) || (first / PS_PAGE != last / PS_PAGE && !see_readable(last)))
		return false;
	memcpy(to, from, len);
	return true;
}

/*
 * Linux takes an address of no family for IPv4: __inet_bind in net/ipv4/af_inet.c where it is INADDR_ANY,
 * udp_sendmsg and raw_sendmsg any; ping sockets do not.  To connect(2) it is another question.
 */
static bool is_taken_for_ipv4(const struct act *a, socklen_t len)
{
	struct sockaddr_in in;

	memcpy(&in, &a->asked_room, sizeof(in));
	if (a->family != AF_INET || in.sin_family != AF_UNSPEC || len < sizeof(in))
		return false;
	if (a->call == RULE_SEND)
		return a->type == SOCK_RAW || (a->type == SOCK_DGRAM && a->protocol != IPPROTO_ICMP);
	return a->call == RULE_BIND && in.sin_addr.s_addr == htonl(INADDR_ANY);
}

static bool read_address(struct act *a, const struct sockaddr *addr, socklen_t len)
{
	if (addr == NULL || len < sizeof(sa_family_t) || len > sizeof(a->asked_room))
		return false;
	memset(&a->asked_room, 0, sizeof(a->asked_room));
	if (!act_copy(&a->asked_room, addr, len))
		return false;
	if (is_taken_for_ipv4(a, len))
		a->asked_room.ss_family = AF_INET;
	a->asked_addr = (const struct sockaddr *)&a->asked_room;
	endpoint_of(a->asked_addr, len, &a->asked);
	return true;
}

static void use_kind(struct act *a, uint16_t family, uint16_t type, uint16_t protocol)
{
	struct endpoint born;

	a->real_family = family;
	a->family = family;
	a->type = type;
	a->protocol = protocol;
	if (mask_any() && mask_get(a->cookie, MASK_BORN, &born)) {
		a->family = born.family;
		a->protocol = born.port;
	}
}

/* false: no socket, or nothing can be said of it. */
static bool describe(struct act *a)
{
	uint64_t word;

	a->cookie = track_cookie(a->fd);
	if (a->cookie == 0)
		return false;
	word = fd_word(entry_of(a->fd));
	if (FD_STATE(word) == FD_SOCKET)
		use_kind(a, FD_FAMILY(word), FD_TYPE(word), FD_PROTOCOL(word));
	else if (!see_nothing())
		use_kind(a, (uint16_t)see_option(a->fd, SO_DOMAIN), (uint16_t)see_option(a->fd, SO_TYPE),
			 (uint16_t)see_option(a->fd, SO_PROTOCOL));
	else
		return false;
	return true;
}

static void plan(struct act *a, const struct endpoint *address)
{
	const struct rule_query query = {
		.call = a->call,
		.family = a->family,
		.type = a->type,
		.protocol = a->protocol,
		.address = address,
		.exe = our_rules.exe,
		.argv = our_rules.argv,
		.argv_len = our_rules.argv_len,
		.euid = our_rules.asks_uid && !see_nothing() ? (uid_t)sys0(SYS_geteuid) : log_uid(&self.log),
	};

	a->acting = rules_plan(&our_rules.rules, &query, &a->plan);
}

/* ---- saying what was done ---- */

/* What decides no holder may be overwritten: there is no end of connections and datagrams. */
static bool is_passing(const struct act *a)
{
	return a->call == RULE_ACCEPT || a->call == RULE_SEND ||
	       (a->call == RULE_CONNECT && track_in_ring(entry_of(a->fd)));
}

static void tell(const struct act *a, enum rule_action_kind kind, const struct rule *rule, int value,
		 int error)
{
	const struct ps_act act = { .action = kind, .call = a->call, .value = value };

	emit_act(a->fd, a->cookie, &act, rule->source.at, rule->source.len, error, is_passing(a));
}

static void tell_done(const struct act *a, enum rule_action_kind kind, int error)
{
	tell(a, kind, a->plan.rule[kind], 0, error);
}

/* ---- the actions ---- */

static int set_option(const struct act *a, int fd, int level, int name, const void *value, socklen_t len)
{
	int saved = errno, ret;

	if (see_nothing())
		return EPERM;
	ret = REAL(setsockopt)(fd, level, name, value, len) < 0 ? errno : 0;
	errno = saved;
	return ret;
}

static int set_int(const struct act *a, int name)
{
	const int one = 1;

	return set_option(a, a->fd, SOL_SOCKET, name, &one, sizeof(one));
}

/* Its record stands for those of both options.  SO_REUSEADDR helps past TIME_WAIT on TCP; on UDP it would let
 * another user's socket share the port. */
static void act_reuseport(const struct act *a)
{
	int error = 0;

	if (a->family != AF_INET && a->family != AF_INET6)
		error = EOPNOTSUPP;
	else if (a->type == SOCK_STREAM)
		error = set_int(a, SO_REUSEADDR);
	if (error == 0)
		error = set_int(a, SO_REUSEPORT);
	tell_done(a, ACT_REUSEPORT, error);
}

static int set_one(const struct act *a, int fd, const struct rule_action *set)
{
	const struct rule_option *o = rule_option(set->set.option);
	const int value = set->set.value;
	const struct linger linger = { .l_onoff = value >= 0, .l_linger = value >= 0 ? value : 0 };
	const struct timeval time = { .tv_sec = value / 1000, .tv_usec = value % 1000 * 1000 };
	char text[16] = "";

	switch (o->type) {
	case OPTION_LINGER:
		return set_option(a, fd, o->level, o->option, &linger, sizeof(linger));
	case OPTION_TIMEVAL:
		return set_option(a, fd, o->level, o->option, &time, sizeof(time));
	case OPTION_TEXT:
		memcpy(text, set->set.text.at, set->set.text.len < sizeof(text) ? set->set.text.len : 15);
		return set_option(a, fd, o->level, o->option, text, (socklen_t)strlen(text) + 1);
	default:
		return set_option(a, fd, o->level, o->option, &value, sizeof(value));
	}
}

/* quietly: of each accepted connection only what failed is told. */
static void act_set(const struct act *a, int fd, bool quietly)
{
	for (size_t i = 0; i < a->plan.n_sets; i++) {
		int error = set_one(a, fd, a->plan.sets[i]);

		if (!quietly || error != 0)
			tell(a, ACT_SET, a->plan.set_rule[i], a->plan.sets[i]->set.value, error);
	}
}

static void keep_cloexec(int fd, uint64_t cookie)
{
	track_close_on_exec(fd);
	for (unsigned other = 0; other < fdtab_end(); other++) {
		if (FD_STATE(fd_word(entry_of((int)other))) == FD_SOCKET && track_known((int)other) == cookie)
			track_close_on_exec((int)other);
	}
}

static void act_cloexec(const struct act *a)
{
	if (!see_nothing())
		keep_cloexec(a->fd, a->cookie);
	tell_done(a, ACT_CLOEXEC, see_nothing() ? EPERM : 0);
}

/* A socket of that family in its place; what the program made it as is kept. */
static int change_family(struct act *a, uint16_t family)
{
	const struct endpoint born = { .family = a->family, .port = a->protocol };
	/* Protocol numbers are a family's own; 0 is TCP for a stream, UDP for datagrams. */
	int protocol = family == a->family ? a->protocol : 0, ret;

	if (family == AF_UNIX && a->type != SOCK_STREAM)
		return EOPNOTSUPP;
	ret = replace_socket(a->fd, a->cookie, family, a->type, protocol);
	if (ret < 0)
		return -ret;
	a->cookie = track_cookie(a->fd);
	a->real_family = family;
	if (family == a->family)
		mask_drop(a->cookie, MASK_BORN);
	else
		mask_put(a->cookie, MASK_BORN, &born);
	return 0;
}

/* unix(7) has a second bind fail of the path that the first has made. */
static bool is_bound(const struct act *a)
{
	struct endpoint path;

	return a->call == RULE_BIND && mask_any() && mask_get(a->cookie, MASK_PATH, &path);
}

/* Two sockets asked for one port: where each is moved to one of its own, the kernel does not say so. */
static bool is_taken(const struct act *a)
{
	return a->call == RULE_BIND && (a->real.family == AF_UNIX || a->real.port == 0) &&
	       mask_taken(&a->asked, a->type, a->cookie) && !see_nothing() &&
	       see_option(a->fd, SO_REUSEPORT) == 0;
}

/* An IPv6 socket sends to IPv4 addresses too, unless it is IPV6_V6ONLY: the kernel says so. */
static bool can_send(const struct act *a)
{
	return a->real.family == a->real_family ||
	       (a->real.family == AF_INET && a->asked.family == AF_INET && a->real_family == AF_INET6);
}

static int redirect(struct act *a)
{
	const struct rule_where *where = &a->plan.action[ACT_REDIRECT]->where;
	int ret = rule_redirected(where, &a->asked, &a->real);

	if (ret < 0)
		return -ret;
	if (a->call == RULE_SEND)
		ret = can_send(a) ? 0 : EAFNOSUPPORT;
	else if (a->real.family != a->real_family)
		ret = change_family(a, a->real.family);
	if (ret == 0 && is_bound(a))
		ret = EINVAL;
	else if (ret == 0 && is_taken(a))
		ret = EADDRINUSE;
	if (ret != 0)
		return ret;
	a->len = endpoint_sockaddr(&a->real, &a->real_room);
	a->addr = (const struct sockaddr *)&a->real_room;
	a->moved = true;
	a->masked = a->plan.action[ACT_UNMASKED] == NULL;
	return 0;
}

static int act_redirect(struct act *a)
{
	int error = redirect(a);

	tell_done(a, ACT_REDIRECT, error);
	return error;
}

/* A redirect has replaced the socket, and now it is to go where its own family belongs.  One that is bound
 * would lose its name. */
static int give_back(struct act *a)
{
	struct endpoint local;

	if (a->real_family == a->family || a->asked.family != a->family || a->call == RULE_LISTEN ||
	    a->call == RULE_SEND || mask_get(a->cookie, MASK_LOCAL, &local))
		return 0;
	return change_family(a, a->family);
}

static int carry_out(struct act *a)
{
	const struct rule_plan *p = &a->plan;

	if (p->action[ACT_DENY] != NULL) {
		tell_done(a, ACT_DENY, 0);
		return p->action[ACT_DENY]->error;
	}
	if (p->action[ACT_REDIRECT] != NULL) {
		int error = act_redirect(a);

		if (error != 0)
			return error;
	}
	if (p->action[ACT_CLOEXEC] != NULL)
		act_cloexec(a);
	if (p->action[ACT_REUSEPORT] != NULL)
		act_reuseport(a);
	act_set(a, a->fd, false);
	if (p->action[ACT_BACKLOG] != NULL) {
		a->backlog = p->action[ACT_BACKLOG]->backlog;
		tell(a, ACT_BACKLOG, p->rule[ACT_BACKLOG], a->backlog, 0);
	}
	return p->action[ACT_REDIRECT] != NULL ? 0 : give_back(a);
}

/* The name that a socket has, as the program knows it: what listen and accept are asked about. */
static void local_name(const struct act *a, int fd, struct endpoint *out)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	*out = (struct endpoint){ 0 };
	if (mask_any() && mask_get(a->cookie, MASK_LOCAL, out))
		return;
	if (!see_nothing() && sys3(SYS_getsockname, fd, &sa, &len) == 0)
		endpoint_of((struct sockaddr *)&sa, len, out);
}

/* The address of a stream is looked at only to connect by it: tcp_sendmsg_locked in net/ipv4/tcp.c; SCTP does
 * so without being asked.  A UNIX socket in its place would refuse one (EISCONN). */
static bool ignores_address(struct act *a)
{
	if (a->call != RULE_SEND || a->type != SOCK_STREAM || a->protocol == IPPROTO_SCTP ||
	    (a->flags & MSG_FASTOPEN))
		return false;
	if (a->real_family != a->family) {
		a->addr = NULL;
		a->len = 0;
	}
	return true;
}

int act_before(struct act *a, enum rule_call call, int fd, const struct sockaddr *addr, socklen_t len)
{
	bool wanted = our_rules_wants(call);

	a->addr = addr;
	a->asked_addr = addr;
	a->len = len;
	a->call = call;
	a->fd = fd;
	a->cookie = 0;
	a->acting = a->moved = a->masked = false;
	if ((!wanted && !mask_any()) || !describe(a) || ignores_address(a))
		return 0;
	/* No rule, and a socket that was never replaced: the address need not be looked at. */
	if ((!wanted && a->real_family == a->family) || (call != RULE_LISTEN && !read_address(a, addr, len)))
		return 0;
	if (call == RULE_LISTEN)
		local_name(a, fd, &a->asked);
	/* connect(2): AF_UNSPEC takes a connection back. */
	if (wanted && (call == RULE_LISTEN || a->asked.family != AF_UNSPEC))
		plan(a, &a->asked);
	return a->acting ? carry_out(a) : give_back(a);
}

int act_refused(int error)
{
	errno = error;
	return -1;
}

/* ---- after the call ---- */

bool act_again(const struct act *a, int error)
{
	return error == EADDRINUSE && a->moved && a->call == RULE_BIND && path_take_dead(&a->real);
}

int act_error(const struct act *a, int error)
{
	/* No server has made the path: there is nobody to connect to. */
	return error == ENOENT && a->moved && a->call == RULE_CONNECT ? ECONNREFUSED : error;
}

/* Unmasked, and in another family: the real name is what the program asked for. */
static void mask_name(const struct act *a, enum mask_what what)
{
	if (a->masked || a->real_family != a->family)
		mask_put(a->cookie, what, a->masked ? &a->asked : &a->real);
}

static void mask_bind(const struct act *a)
{
	mask_name(a, MASK_LOCAL);
	path_made(a->cookie, &a->real);
}

static void mask_connect(const struct act *a)
{
	mask_name(a, MASK_PEER);
	if (a->masked && a->type == SOCK_DGRAM)
		mask_put_source(a->cookie, &a->real, &a->asked);
}

static void map_into_ipv6(struct endpoint *ep)
{
	struct in6_addr ip = endpoint_as_ipv6(ep);

	ep->family = AF_INET6;
	memcpy(ep->ip, &ip, sizeof(ip));
}

/* The answer comes from an address of the socket's own family. */
static void mask_sent(const struct act *a)
{
	struct endpoint source = a->real, asked = a->asked;

	if (source.family == AF_INET && a->real_family == AF_INET6) {
		map_into_ipv6(&source);
		map_into_ipv6(&asked);
	}
	mask_put_source(a->cookie, &source, &asked);
}

void act_after(struct act *a, int error)
{
	if (a->call == RULE_BIND && !a->moved && error == 0 && mask_any())
		mask_drop(a->cookie, MASK_LOCAL);
	if (a->call == RULE_CONNECT && !a->moved && error == 0 && mask_any())
		mask_drop(a->cookie, MASK_PEER);
	if (!a->moved || (error != 0 && error != EINPROGRESS))
		return;
	if (a->call == RULE_BIND)
		mask_bind(a);
	else if (a->call == RULE_CONNECT)
		mask_connect(a);
	else if (a->masked)
		mask_sent(a);
}

/* ---- accepted connections ---- */

bool act_accepted(int fd, int listener, bool *closes)
{
	struct act a = { .call = RULE_ACCEPT, .fd = listener };
	struct endpoint local;

	if (!describe(&a))
		return true;
	local_name(&a, listener, &local);
	plan(&a, &local);
	if (!a.acting)
		return true;
	if (a.plan.action[ACT_DENY] != NULL) {
		tell_done(&a, ACT_DENY, 0);
		sys_close(fd);
		return false;
	}
	*closes = a.plan.action[ACT_CLOEXEC] != NULL && !see_nothing();
	act_set(&a, fd, true);
	return true;
}
