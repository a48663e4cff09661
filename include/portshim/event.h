/* SPDX-License-Identifier: MIT */
#ifndef PORTSHIM_EVENT_H
#define PORTSHIM_EVENT_H

/*
 * The record, its states and the headers of arena and chunk: what the shim writes and the tool
 * reads.  Little-endian, every offset fixed by the asserts below; PS_VERSION changes with any of it.
 */

#include <stdint.h>

#define PS_VERSION 3
#define PS_ENDIAN 0x0102

#define PS_PAGE 4096u /* unit of claiming; not the machine's page */

enum ps_kind {
	PS_NO_EVENT, /* a slot of zeros is no record */
#define EVENT(NAME, name, lane) PS_##NAME,
#define FIELD(type, name)
#define TEXT(name)
#define END
#include "event.def"
	PS_KINDS
};

/* Header flags.  What they mean with other kinds than those named: nothing. */
enum ps_flag {
	PS_F_STOCK = 1u << 0,	 /* SET: one of the list after STOCK */
	PS_F_RECEIVED = 1u << 1, /* SET: came by SCM_RIGHTS */
	PS_F_SAME = 1u << 2, /* SET, SOCKET, ACCEPT: tells of the socket that fd is already, new only if that
				was lost */
	PS_F_UNKNOWN = 1u << 3,	  /* SET: the shim could not look; DUP, CLOSE: cookie not known */
	PS_F_CLOEXEC = 1u << 4,	  /* SOCKET, ACCEPT, DUP: close-on-exec as created */
	PS_F_TRUNCATED = 1u << 5, /* the tail did not hold all */
	PS_F_VFORK = 1u << 6,	  /* FORK, BORN: the child shares memory until it execs */
	PS_F_SPAWN = 1u << 7,	  /* FORK: posix_spawn; the child's first record is its START */
	PS_F_ATFORK = 1u << 8,	  /* FORK, BORN: a fork inside libc, as in daemon(3) */
	PS_F_UNSEEN = 1u << 9,	  /* BORN, START: came by a road that no hook saw */
	PS_F_EXECED = 1u << 10,	  /* START: the same process as before an exec */
	PS_F_FETCHED = 1u << 11,  /* SET: came by pidfd_getfd */
	PS_F_AFTER = 1u << 12,	  /* CLOSE: found closed afterwards, not by the call's own record */
};

/* STOCK.why */
enum ps_stock_why { PS_STOCK_START = 1, PS_STOCK_CONTENDED, PS_STOCK_LOST, PS_STOCK_UNSEEN_FORK };

/* SANDBOX.what */
enum ps_sandbox_what {
	PS_SANDBOX_CHROOT = 1,
	PS_SANDBOX_NO_NEW_PRIVS,
	PS_SANDBOX_SECCOMP,
	PS_SANDBOX_NAMESPACE,
	PS_SANDBOX_SHARED /* memory or descriptors, with another process or among some threads only */
};

/*
 * A socket name in 24 bytes.  family AF_INET, AF_INET6: port in host order, bytes the address in
 * network order and, for IPv6, the scope id (4 bytes, little-endian) behind it.  AF_UNIX: port is
 * the length of the name (abstract: with its leading NUL), bytes its first 20, the rest in the
 * record's tail.  Any other family: port 0, bytes 0.  family 0: no address.
 */
struct ps_addr {
	uint16_t family;
	uint16_t port;
	uint8_t bytes[20];
};

typedef uint64_t ps_u64;
typedef uint64_t ps_id;
typedef uint64_t ps_hex;
typedef uint32_t ps_u32;
typedef int32_t ps_i32;
typedef uint16_t ps_u16;
typedef struct ps_addr ps_addr_t;
#define PS_TYPE_u64 ps_u64
#define PS_TYPE_id ps_id
#define PS_TYPE_hex ps_hex
#define PS_TYPE_u32 ps_u32
#define PS_TYPE_i32 ps_i32
#define PS_TYPE_u16 ps_u16
#define PS_TYPE_addr ps_addr_t

/* struct ps_start, ps_fork, …: the payload of each kind. */
#define EVENT(NAME, name, lane) struct ps_##name {
#define FIELD(type, name) PS_TYPE_##type name;
#define TEXT(name)
#define END \
	}   \
	;
#include "event.def"

/* Bits 0-1 of the commit word; the bits above count the laps of a ring. */
enum ps_state { PS_EMPTY, PS_BEGIN, PS_DONE, PS_TAIL };
#define PS_COMMIT(lap, state) ((uint32_t)(lap) << 2 | (uint32_t)(state))

struct ps_event {
	uint32_t commit; /* stored last, with release order; first for a reader */
	uint8_t kind;	 /* enum ps_kind */
	uint8_t slots;	 /* this one and its tails */
	uint16_t error;	 /* errno of the call, 0 if it succeeded */
	uint64_t stamp;	 /* CLOCK_MONOTONIC, ns */
	uint64_t process;
	int32_t fd; /* -1 where there is none */
	uint16_t flags;
	uint16_t tail; /* bytes of tail that count, without what fills the last slot */
	union {
		uint8_t payload[32];
#define EVENT(NAME, name, lane) struct ps_##name name;
#define FIELD(type, name)
#define TEXT(name)
#define END
#include "event.def"
	};
};

#define PS_TAIL_BYTES 60
#define PS_SLOTS_MAX 16
#define PS_TAIL_MAX ((PS_SLOTS_MAX - 1) * PS_TAIL_BYTES)

struct ps_tail {
	uint32_t commit; /* PS_TAIL, with the lap of its record */
	uint8_t data[PS_TAIL_BYTES];
};

/* The first page of an arena. */
struct ps_arena {
	uint64_t magic;
	uint16_t version;
	uint16_t endian;
	uint32_t uid;
	uint64_t size;	  /* bytes; a reader takes the session's word, not this */
	uint64_t cursor;  /* next page to claim: a hint, checked by each claim */
	uint64_t dropped; /* records lost for want of a chunk */
	uint64_t refused; /* claims that got none */
};
#define PS_ARENA_MAGIC 0x314d48535452504full

/* The first 128 bytes of a chunk; the slots follow. */
struct ps_chunk {
	uint64_t magic; /* stored last */
	uint16_t version;
	uint16_t endian;
	uint32_t pages;
	uint64_t owner; /* 0 until claimed by compare-and-swap: the claimant's pid */
	uint64_t process;
	uint64_t start; /* field 22 of /proc/PID/stat of the claimant; 0 not known */
	uint32_t pid;
	uint32_t uid;
	uint32_t ring; /* 1: slots are used again once all are full */
	uint32_t spare;
	uint64_t monotonic; /* both clocks at the claim, ns */
	uint64_t count;	    /* slots claimed so far, from the first lap on; on a cache line of its own */
	uint64_t realtime;
	uint64_t spares[6];
};
#define PS_CHUNK_MAGIC 0x4b4e4843534f5250ull

#define PS_SLOT_SIZE 64u
#define PS_CHUNK_SLOTS(pages) (((pages)*PS_PAGE - (unsigned)sizeof(struct ps_chunk)) / PS_SLOT_SIZE)

_Static_assert(sizeof(struct ps_event) == PS_SLOT_SIZE, "a record is one slot");
_Static_assert(sizeof(struct ps_tail) == PS_SLOT_SIZE, "a tail is one slot");
_Static_assert(sizeof(struct ps_chunk) == 128, "chunk header");
_Static_assert(sizeof(struct ps_addr) == 24, "address");

#endif
