/* SPDX-License-Identifier: MIT */
#include "believe.h"

#include <netinet/in.h>
#include <string.h>

#include "act.h"
#include "common/endpoint.h"
#include "common/sys.h"
#include "mask.h"
#include "see.h"
#include "track_private.h"

socklen_t believe_room(const struct sockaddr *addr, const socklen_t *len)
{
	uintptr_t p = (uintptr_t)len;
	socklen_t room;

	/* What no pointer can be, where the copy makes no system call that would tell. */
	if (addr == NULL || p < 65536 || p > UINTPTR_MAX >> 17 || p % sizeof(*len) != 0)
		return 0;
	/* Asked once where a thread keeps its lengths: a question is a seventh of what accept(2) costs. */
	if (p / PS_PAGE == thread.len_page)
		return *len;
	if (!act_copy(&room, len, sizeof(room)))
		return 0;
	thread.len_page = p / PS_PAGE;
	return room;
}

/* By whose cookie the masks of fd are kept: an accepted connection's by its listener's. */
static uint64_t cookie_of(int fd, bool *accepted)
{
	struct fd_entry *e = entry_of(fd);
	uint64_t word = fd_word(e), cookie, more;

	*accepted = FD_STATE(word) == FD_ACCEPTED;
	if (*accepted)
		return identity_at(e, word, &cookie, &more) ? cookie : 0;
	return track_known(fd);
}

/* The program's room may be that of another family: what was cut off is asked for again. */
static void real_name(int fd, long nr, const struct sockaddr *addr, socklen_t room, socklen_t len,
		      struct endpoint *out)
{
	struct sockaddr_storage whole = { 0 };
	socklen_t all = sizeof(whole);

	if (len > room && !atomic_load_explicit(&self.quiet, memory_order_relaxed) &&
	    sys3(nr, fd, &whole, &all) == 0)
		endpoint_of((struct sockaddr *)&whole, all, out);
	else
		endpoint_of(addr, len < room ? len : room, out);
}

static void give(const struct endpoint *ep, struct sockaddr *addr, socklen_t room, socklen_t *len)
{
	struct sockaddr_storage sa;

	*len = endpoint_sockaddr(ep, &sa);
	memcpy(addr, &sa, *len < room ? *len : room);
}

static bool is_mapped(const struct endpoint *ep)
{
	struct in6_addr ip = endpoint_as_ipv6(ep);

	return ep->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&ip);
}

static void set_loopback(struct endpoint *ep, bool mapped)
{
	static const struct endpoint ip4 = { .family = AF_INET, .ip = { 127, 0, 0, 1 } };
	struct in6_addr ip6 = mapped ? endpoint_as_ipv6(&ip4) : in6addr_loopback;

	if (ep->family == AF_INET)
		memcpy(ep->ip, ip4.ip, sizeof(ep->ip));
	else
		memcpy(ep->ip, &ip6, sizeof(ep->ip));
}

/*
 * The IP address of an end of the connection, for a program that believes in another family: an IPv4 one as
 * a dual-stack socket shows it, loopback for what has none.  own: the name that the program asked for there.
 */
static void translate(const struct endpoint *real, const struct endpoint *own, struct endpoint *out)
{
	bool any = own->family == 0 || endpoint_is_any(own);
	struct in6_addr ip = IN6ADDR_ANY_INIT;

	memset(out->ip, 0, sizeof(out->ip));
	if (real->family == AF_INET && out->family == AF_INET6 && (any || is_mapped(own))) {
		ip = endpoint_as_ipv6(real);
		memcpy(out->ip, &ip, sizeof(ip));
	} else if (is_mapped(real) && out->family == AF_INET) {
		memcpy(out->ip, real->ip + 12, 4);
	} else {
		set_loopback(out, is_mapped(own));
	}
}

/* The end of a connection is at one address, though its listener is bound to all. */
static void narrow(struct endpoint *asked, const struct endpoint *real)
{
	struct endpoint own = *asked;

	if (!endpoint_is_any(asked))
		return;
	if (real->family == asked->family)
		memcpy(asked->ip, real->ip, sizeof(asked->ip));
	else
		translate(real, &own, asked);
}

/* A name for what has none in that family; the port of a UNIX socket's other end is 0. */
static bool nameless(uint64_t cookie, const struct endpoint *own, const struct endpoint *real,
		     struct endpoint *out)
{
	struct endpoint born;

	/* Own name in the real family: the rule is unmasked. */
	if ((own != NULL && own->family == real->family) || !mask_get(cookie, MASK_BORN, &born))
		return false;
	*out = (struct endpoint){ .family = born.family, .port = real->family == AF_UNIX ? 0 : real->port };
	if (own != NULL)
		translate(real, own, out);
	return true;
}

void believe_local(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len)
{
	struct endpoint asked, real, peer = { 0 };
	bool connection;
	uint64_t cookie = cookie_of(fd, &connection);
	bool known = mask_get(cookie, MASK_LOCAL, &asked);

	if (!known) {
		known = mask_get(cookie, MASK_CONNECTION, &asked);
		connection = known || mask_get(cookie, MASK_PEER, &peer);
	}
	real_name(fd, SYS_getsockname, addr, room, *len, &real);
	if (!known && !nameless(cookie, connection ? &peer : NULL, &real, &asked))
		return;
	if (known && connection)
		narrow(&asked, &real);
	/* Bound to port 0, elsewhere: the kernel chose, and the program wants to know. */
	if (known && asked.port == 0 && real.family != AF_UNIX)
		asked.port = real.port;
	give(&asked, addr, room, len);
}

void believe_peer(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len)
{
	struct endpoint asked, real, own = { 0 };
	bool accepted;
	uint64_t cookie = cookie_of(fd, &accepted);

	real_name(fd, SYS_getpeername, addr, room, *len, &real);
	if (!mask_get(cookie, MASK_LOCAL, &own))
		mask_get(cookie, MASK_CONNECTION, &own);
	if ((!accepted && mask_get(cookie, MASK_PEER, &asked)) || nameless(cookie, &own, &real, &asked))
		give(&asked, addr, room, len);
}

void believe_source(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len)
{
	struct endpoint asked, real;
	bool accepted;
	uint64_t cookie = cookie_of(fd, &accepted);

	if (*len == 0)
		return;
	endpoint_of(addr, *len < room ? *len : room, &real);
	if (mask_get_source(cookie, &real, &asked))
		give(&asked, addr, room, len);
}

bool believe_family(int fd, int *family, int *protocol)
{
	struct endpoint born;
	bool accepted;

	if (!mask_get(cookie_of(fd, &accepted), MASK_BORN, &born))
		return false;
	*family = born.family;
	/* What socket(2) was given as 0 is told as what it stands for. */
	*protocol = born.port != 0 ? born.port : IPPROTO_TCP;
	return true;
}

/* IPv4's options are IPv6 sockets' too, not the other way round: ipv6(7). */
static bool is_foreign(uint16_t family, int level, int name)
{
	if (family == AF_UNIX)
		return level == IPPROTO_TCP || level == IPPROTO_IP || level == IPPROTO_IPV6 ||
		       (level == SOL_SOCKET && name == SO_REUSEPORT);
	return family == AF_INET && level == IPPROTO_IPV6;
}

bool believe_swallow(int fd, int level, int name)
{
	struct endpoint born;
	bool accepted;

	return is_foreign(FD_FAMILY(fd_word(entry_of(fd))), level, name) &&
	       mask_get(cookie_of(fd, &accepted), MASK_BORN, &born) &&
	       (level != IPPROTO_IPV6 || born.family == AF_INET6);
}
