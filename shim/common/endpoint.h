/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_ENDPOINT_H
#define PORTSHIM_ENDPOINT_H

/*
 * Socket names: the kernel's sockaddr, the record's 24 bytes (struct ps_addr) with a tail, and text.
 * Pure functions on the caller's memory; async-signal-safe.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "portshim/event.h"

#define ADDR_TAIL_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof(((struct ps_addr *)0)->bytes))

/* A socket name whole: what struct ps_addr and its tail say together. */
struct endpoint {
	uint16_t family; /* 0: no address */
	uint16_t port;	 /* host order; AF_UNIX: length of name, as in struct ps_addr */
	uint32_t scope;
	union {
		uint8_t ip[16];
		char name[sizeof(((struct sockaddr_un *)0)->sun_path)];
	};
};

/* Packs sa, of which len bytes are readable, into *out and at most ADDR_TAIL_MAX bytes of tail;
 * returns the length of the tail.  Anything malformed becomes family 0. */
size_t addr_pack(const struct sockaddr *sa, socklen_t len, struct ps_addr *out, char *tail);

void addr_unpack(const struct ps_addr *addr, const char *tail, size_t tail_len, struct endpoint *out);

/* A sockaddr whole, as addr_pack() takes it; family 0 for anything malformed. */
void endpoint_of(const struct sockaddr *sa, socklen_t len, struct endpoint *out);

/* A sockaddr for the kernel, and its length; 0 where ep has no name.  A path ends in NUL if that fits. */
socklen_t endpoint_sockaddr(const struct endpoint *ep, struct sockaddr_storage *out);

/* Whether the IP address is the wildcard, 0.0.0.0 or [::]. */
bool endpoint_is_any(const struct endpoint *ep);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/* An IP address of either family as IPv6, IPv4 mapped into it as a dual-stack socket shows it. */
struct in6_addr endpoint_as_ipv6(const struct endpoint *ep);

/* "127.0.0.1:80", "[::1%3]:80", "/run/x.sock", "@name", "" for none.  Bytes of a UNIX name are
 * copied as they are, but NULs inside an abstract one are written '@', as ss(8) does. */
#define ENDPOINT_TEXT_MAX 128
void endpoint_text(const struct endpoint *ep, char out[static ENDPOINT_TEXT_MAX]);

#endif
