/* SPDX-License-Identifier: MIT */
#include "endpoint.h"

#include <string.h>

#include "text.h"

#define INLINE_BYTES sizeof(((struct ps_addr *)0)->bytes)
#define PATH_AT offsetof(struct sockaddr_un, sun_path)

/* unix(7): an abstract name is as long as the address says and may hold NULs; a path ends at its
 * first NUL, which may be missing. */
static size_t pack_unix(const struct sockaddr *sa, socklen_t len, struct ps_addr *out, char *tail)
{
	const char *name = (const char *)sa + PATH_AT;
	size_t n = len > PATH_AT ? len - PATH_AT : 0;

	if (n > sizeof(((struct sockaddr_un *)0)->sun_path))
		n = sizeof(((struct sockaddr_un *)0)->sun_path);
	if (n > 0 && name[0] != '\0')
		n = strnlen(name, n);
	out->port = (uint16_t)n;
	if (n <= INLINE_BYTES) {
		memcpy(out->bytes, name, n);
		return 0;
	}
	memcpy(out->bytes, name, INLINE_BYTES);
	memcpy(tail, name + INLINE_BYTES, n - INLINE_BYTES);
	return n - INLINE_BYTES;
}

size_t addr_pack(const struct sockaddr *sa, socklen_t len, struct ps_addr *out, char *tail)
{
	sa_family_t family;

	memset(out, 0, sizeof(*out));
	if (sa == NULL || len < sizeof(family))
		return 0;
	memcpy(&family, sa, sizeof(family));
	switch (family) {
	case AF_INET: {
		struct sockaddr_in in;

		if (len < sizeof(in))
			return 0;
		memcpy(&in, sa, sizeof(in));
		out->port = ntohs(in.sin_port);
		memcpy(out->bytes, &in.sin_addr, 4);
		break;
	}
	case AF_INET6: {
		struct sockaddr_in6 in6 = { 0 };

		/* ipv6(7): addresses from before the scope id are 24 bytes and accepted. */
		if (len < offsetof(struct sockaddr_in6, sin6_scope_id))
			return 0;
		memcpy(&in6, sa, len < sizeof(in6) ? len : sizeof(in6));
		out->port = ntohs(in6.sin6_port);
		memcpy(out->bytes, &in6.sin6_addr, 16);
		memcpy(out->bytes + 16, &in6.sin6_scope_id, 4);
		break;
	}
	case AF_UNIX:
		out->family = family;
		return pack_unix(sa, len, out, tail);
	default:
		break;
	}
	out->family = family;
	return 0;
}

void addr_unpack(const struct ps_addr *addr, const char *tail, size_t tail_len, struct endpoint *out)
{
	struct endpoint ep = { .family = addr->family, .port = addr->port };
	size_t head;

	switch (addr->family) {
	case AF_INET:
		memcpy(ep.ip, addr->bytes, 4);
		break;
	case AF_INET6:
		memcpy(ep.ip, addr->bytes, 16);
		memcpy(&ep.scope, addr->bytes + 16, 4);
		break;
	case AF_UNIX:
		if (ep.port > sizeof(ep.name))
			ep.port = sizeof(ep.name);
		head = ep.port < INLINE_BYTES ? ep.port : INLINE_BYTES;
		memcpy(ep.name, addr->bytes, head);
		if (ep.port > head) {
			size_t rest = ep.port - head;

			memcpy(ep.name + head, tail, rest < tail_len ? rest : tail_len);
			if (rest > tail_len)
				ep.port = (uint16_t)(head + tail_len);
		}
		break;
	default:
		break;
	}
	*out = ep;
}

void endpoint_of(const struct sockaddr *sa, socklen_t len, struct endpoint *out)
{
	char tail[ADDR_TAIL_MAX];
	struct ps_addr addr;
	size_t tail_len = addr_pack(sa, len, &addr, tail);

	addr_unpack(&addr, tail, tail_len, out);
}

static socklen_t unix_sockaddr(const struct endpoint *ep, struct sockaddr_un *out)
{
	size_t len = PATH_AT + ep->port;

	out->sun_family = AF_UNIX;
	memcpy(out->sun_path, ep->name, ep->port);
	if (ep->port > 0 && ep->name[0] != '\0' && ep->port < sizeof(out->sun_path))
		len++;
	return (socklen_t)len;
}

socklen_t endpoint_sockaddr(const struct endpoint *ep, struct sockaddr_storage *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(ep->port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(ep->port),
				    .sin6_scope_id = ep->scope };

	memset(out, 0, sizeof(*out));
	switch (ep->family) {
	case AF_INET:
		memcpy(&in.sin_addr, ep->ip, 4);
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	case AF_INET6:
		memcpy(&in6.sin6_addr, ep->ip, 16);
		memcpy(out, &in6, sizeof(in6));
		return sizeof(in6);
	case AF_UNIX:
		return unix_sockaddr(ep, (struct sockaddr_un *)out);
	default:
		return 0;
	}
}

static size_t name_length(const struct endpoint *ep)
{
	switch (ep->family) {
	case AF_INET:
		return 4;
	case AF_INET6:
		return 16;
	default:
		return ep->family == AF_UNIX ? ep->port : 0;
	}
}

bool endpoint_is_any(const struct endpoint *ep)
{
	static const uint8_t zeros[16];

	return (ep->family == AF_INET || ep->family == AF_INET6) &&
	       memcmp(ep->ip, zeros, name_length(ep)) == 0;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->family == b->family && a->port == b->port && a->scope == b->scope &&
	       memcmp(a->name, b->name, name_length(a)) == 0;
}

struct in6_addr endpoint_as_ipv6(const struct endpoint *ep)
{
	struct in6_addr ip = { 0 };

	if (ep->family == AF_INET6) {
		memcpy(&ip, ep->ip, sizeof(ip));
		return ip;
	}
	ip.s6_addr[10] = ip.s6_addr[11] = 0xff;
	memcpy(ip.s6_addr + 12, ep->ip, 4);
	return ip;
}

static void add_ipv4(struct text *t, const uint8_t *ip)
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			text_add(t, ".");
		text_add_u64(t, ip[i]);
	}
}

/* RFC 5952: the longest run of two or more zero groups, the first of equals, becomes "::". */
static void add_ipv6(struct text *t, const uint8_t *ip)
{
	int best = -1, best_len = 1;
	unsigned group[8];
	bool mapped;

	for (int i = 0; i < 8; i++)
		group[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
	for (int i = 0; i < 8; i++) {
		int n = 0;

		while (i + n < 8 && group[i + n] == 0)
			n++;
		if (n > best_len) {
			best = i;
			best_len = n;
		}
	}
	mapped = best == 0 && best_len == 5 && group[5] == 0xffff;
	for (int i = 0; i < 8; i++) {
		if (mapped && i == 6) {
			text_add(t, ":");
			add_ipv4(t, ip + 12);
			return;
		}
		if (i == best) {
			text_add(t, "::");
			i += best_len - 1;
			continue;
		}
		if (i > 0 && i != best + best_len)
			text_add(t, ":");
		text_add_hex(t, group[i]);
	}
}

void endpoint_text(const struct endpoint *ep, char out[static ENDPOINT_TEXT_MAX])
{
	struct text t = { .buf = out, .size = ENDPOINT_TEXT_MAX };

	out[0] = '\0';
	switch (ep->family) {
	case AF_INET:
		add_ipv4(&t, ep->ip);
		break;
	case AF_INET6:
		text_add(&t, "[");
		add_ipv6(&t, ep->ip);
		if (ep->scope != 0) {
			text_add(&t, "%");
			text_add_u64(&t, ep->scope);
		}
		text_add(&t, "]");
		break;
	case AF_UNIX:
		if (ep->port > 0 && ep->name[0] == '\0') {
			for (size_t i = 0; i < ep->port; i++)
				text_add_bytes(&t, ep->name[i] == '\0' ? "@" : &ep->name[i], 1);
		} else {
			text_add_bytes(&t, ep->name, ep->port);
		}
		return;
	default:
		return;
	}
	text_add(&t, ":");
	text_add_u64(&t, ep->port);
}
