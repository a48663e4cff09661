/* SPDX-License-Identifier: MIT */
#include "believe.h"

#include <netinet/in.h>
#include <string.h>

#include "common/endpoint.h"
#include "mask.h"
#include "see.h"
#include "track_private.h"

socklen_t believe_room(const struct sockaddr *addr, const socklen_t *len)
{
	uintptr_t p = (uintptr_t)len;

	if (addr == NULL || p < 65536 || p > UINTPTR_MAX >> 17 || p % sizeof(*len) != 0)
		return 0;
	return *len;
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

static void give(const struct endpoint *ep, struct sockaddr *addr, socklen_t room, socklen_t *len)
{
	struct sockaddr_storage sa;

	*len = endpoint_sockaddr(ep, &sa);
	memcpy(addr, &sa, *len < room ? *len : room);
}

static void loopback(struct endpoint *ep)
{
	static const uint8_t ip4[4] = { 127, 0, 0, 1 };

	memset(ep->ip, 0, sizeof(ep->ip));
	if (ep->family == AF_INET)
		memcpy(ep->ip, ip4, sizeof(ip4));
	else
		ep->ip[15] = 1;
}

/* The end of a connection is at one address, though its listener is bound to all. */
static void narrow(struct endpoint *asked, const struct endpoint *real)
{
	if (!endpoint_is_any(asked))
		return;
	if (real->family == asked->family)
		memcpy(asked->ip, real->ip, sizeof(asked->ip));
	else
		loopback(asked);
}

/* A name for what has none in that family; the port of a UNIX socket's other end is 0. */
static bool nameless(uint64_t cookie, bool any, const struct endpoint *real, struct endpoint *out)
{
	struct endpoint born;

	if (!mask_get(cookie, MASK_BORN, &born))
		return false;
	*out = (struct endpoint){ .family = born.family, .port = real->family == AF_UNIX ? 0 : real->port };
	if (!any)
		loopback(out);
	return true;
}

void believe_local(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len)
{
	struct endpoint asked, real;
	bool connection;
	uint64_t cookie = cookie_of(fd, &connection);
	bool known = mask_get(cookie, MASK_LOCAL, &asked);

	if (!known) {
		known = mask_get(cookie, MASK_CONNECTION, &asked);
		connection = known || mask_get(cookie, MASK_PEER, &asked);
	}
	endpoint_of(addr, *len < room ? *len : room, &real);
	if (!known && !nameless(cookie, !connection, &real, &asked))
		return;
	if (known && connection)
		narrow(&asked, &real);
	/* Bound to port 0, elsewhere: the kernel chose, and the program wants to know. */
	if (known && asked.port == 0 && real.family == asked.family)
		asked.port = real.port;
	give(&asked, addr, room, len);
}

void believe_peer(int fd, struct sockaddr *addr, socklen_t room, socklen_t *len)
{
	struct endpoint asked, real;
	bool accepted;
	uint64_t cookie = cookie_of(fd, &accepted);

	endpoint_of(addr, *len < room ? *len : room, &real);
	if ((!accepted && mask_get(cookie, MASK_PEER, &asked)) || nameless(cookie, false, &real, &asked))
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

bool believe_swallow(int fd, int level, int name)
{
	struct endpoint born;
	bool accepted;

	return (level == IPPROTO_TCP || level == IPPROTO_IP || level == IPPROTO_IPV6 ||
		(level == SOL_SOCKET && name == SO_REUSEPORT)) &&
	       mask_get(cookie_of(fd, &accepted), MASK_BORN, &born) &&
	       FD_FAMILY(fd_word(entry_of(fd))) == AF_UNIX;
}
