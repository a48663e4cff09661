/* SPDX-License-Identifier: MIT */
#include "mask.h"

#include <errno.h>
#include <string.h>

#include "common/unshared.h"
#include "fdtab.h"
#include "track.h"

#define SETS 512u
#define WAYS 4u
#define BUSY ((uint64_t)1)

/*
 * Readers take no lock: they copy, and look whether the version is what it was; the key alone would not
 * tell, as another name for the same key may have been written meanwhile.  So what is copied is words.
 */
#define ASKED_WORDS ((sizeof(struct endpoint) + 7) / 8)

struct mask {
	_Atomic uint64_t key; /* 0: free.  BUSY: being written */
	_Atomic uint32_t version;
	_Atomic uint16_t what; /* enum mask_what; 0: a source of datagrams */
	_Atomic uint64_t cookie;
	_Atomic uint64_t asked[ASKED_WORDS];
};

TABLE static struct mask table[SETS][WAYS];
HOT _Atomic bool mask_used;

static uint64_t key_of(uint64_t cookie, uint64_t what)
{
	uint64_t key = (cookie * 0x9e3779b97f4a7c15u ^ what) * 0xbf58476d1ce4e5b9u;

	key ^= key >> 31;
	return key > BUSY ? key : key + 2;
}

/* FNV-1a. */
static uint64_t hash(const struct endpoint *ep)
{
	uint64_t h = 0xcbf29ce484222325u ^ ep->family ^ (uint64_t)ep->port << 16;
	size_t n = ep->family == AF_INET ? 4 : ep->family == AF_INET6 ? 16 : ep->port;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)ep->name[i]) * 0x100000001b3u;
	return h | 1u << 8; /* apart from every enum mask_what */
}

static struct mask *set_of(uint64_t key)
{
	return table[key % SETS];
}

/* The place of that key (0: a free one), held by the caller (BUSY); NULL if there is none. */
static struct mask *take(struct mask *set, uint64_t key)
{
	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t was = key;

		if (atomic_compare_exchange_strong(&set[i].key, &was, BUSY))
			return &set[i];
	}
	return NULL;
}

static bool is_open(uint64_t cookie)
{
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		struct fd_entry *e = fdtab_find((int)fd);

		if (e != NULL && FD_STATE(fd_word(e)) != FD_NONE &&
		    atomic_load_explicit(&e->cookie, memory_order_relaxed) == cookie)
			return true;
	}
	return false;
}

/* Only where there is no other place: a socket that this process has no more. */
static struct mask *take_dead(struct mask *set)
{
	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t was = atomic_load_explicit(&set[i].key, memory_order_acquire);

		if (was > BUSY && !is_open(set[i].cookie) &&
		    atomic_compare_exchange_strong(&set[i].key, &was, BUSY))
			return &set[i];
	}
	return NULL;
}

/* Else a source of datagrams gives way, each in its turn as each write moves the versions on: there is no
 * end of those that a socket sends to, and the last is the one whose answer is yet to come. */
static struct mask *take_source(struct mask *set)
{
	unsigned turn = 0;

	for (unsigned i = 0; i < WAYS; i++)
		turn += atomic_load_explicit(&set[i].version, memory_order_relaxed);
	for (unsigned i = 0; i < WAYS; i++) {
		struct mask *m = &set[(turn + i) % WAYS];
		uint64_t was = atomic_load_explicit(&m->key, memory_order_acquire);

		if (was > BUSY && atomic_load_explicit(&m->what, memory_order_relaxed) == 0 &&
		    atomic_compare_exchange_strong(&m->key, &was, BUSY))
			return m;
	}
	return NULL;
}

static void write_mask(struct mask *m, uint64_t cookie, uint16_t what, const struct endpoint *asked)
{
	uint64_t words[ASKED_WORDS] = { 0 };

	memcpy(words, asked, sizeof(*asked));
	atomic_fetch_add_explicit(&m->version, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&m->cookie, cookie, memory_order_relaxed);
	atomic_store_explicit(&m->what, what, memory_order_relaxed);
	for (size_t i = 0; i < ASKED_WORDS; i++)
		atomic_store_explicit(&m->asked[i], words[i], memory_order_relaxed);
}

/* False: it is not that key's, or was written to meanwhile. */
static bool read_mask(const struct mask *m, uint64_t key, struct endpoint *out)
{
	uint32_t version = atomic_load_explicit(&m->version, memory_order_acquire);
	uint64_t words[ASKED_WORDS];

	if (atomic_load_explicit(&m->key, memory_order_acquire) != key)
		return false;
	for (size_t i = 0; i < ASKED_WORDS; i++)
		words[i] = atomic_load_explicit(&m->asked[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&m->key, memory_order_relaxed) != key ||
	    atomic_load_explicit(&m->version, memory_order_relaxed) != version)
		return false;
	memcpy(out, words, sizeof(*out));
	return true;
}

static int put(uint64_t key, uint64_t cookie, uint16_t what, const struct endpoint *asked)
{
	struct mask *m = take(set_of(key), key);

	if (m == NULL)
		m = take(set_of(key), 0);
	if (m == NULL)
		m = take_dead(set_of(key));
	if (m == NULL)
		m = take_source(set_of(key));
	if (m == NULL)
		return -ENOBUFS;
	write_mask(m, cookie, what, asked);
	atomic_store_explicit(&m->key, key, memory_order_release);
	atomic_store_explicit(&mask_used, true, memory_order_relaxed);
	return 0;
}

static bool get(uint64_t key, struct endpoint *out)
{
	struct mask *set = set_of(key);

	for (unsigned i = 0; i < WAYS; i++) {
		if (read_mask(&set[i], key, out))
			return true;
	}
	return false;
}

int mask_put(uint64_t cookie, enum mask_what what, const struct endpoint *asked)
{
	return cookie == 0 ? -ENOBUFS : put(key_of(cookie, what), cookie, (uint16_t)what, asked);
}

bool mask_get(uint64_t cookie, enum mask_what what, struct endpoint *out)
{
	return cookie != 0 && get(key_of(cookie, what), out);
}

void mask_drop(uint64_t cookie, enum mask_what what)
{
	uint64_t key = key_of(cookie, what);
	struct mask *m = take(set_of(key), key);

	if (m != NULL)
		atomic_store_explicit(&m->key, 0, memory_order_release);
}

int mask_put_source(uint64_t cookie, const struct endpoint *real, const struct endpoint *asked)
{
	return put(key_of(cookie, hash(real)), cookie, 0, asked);
}

bool mask_get_source(uint64_t cookie, const struct endpoint *real, struct endpoint *out)
{
	return get(key_of(cookie, hash(real)), out);
}

static void copy(uint64_t from, enum mask_what as, uint64_t to, enum mask_what what)
{
	struct endpoint asked;

	if (mask_get(from, as, &asked))
		mask_put(to, what, &asked);
}

void mask_inherit(uint64_t listener, uint64_t connection)
{
	copy(listener, MASK_LOCAL, connection, MASK_CONNECTION);
	copy(listener, MASK_BORN, connection, MASK_BORN);
}

void mask_move(uint64_t from, uint64_t to)
{
	for (enum mask_what what = MASK_LOCAL; what <= MASK_FILE; what++) {
		copy(from, what, to, what);
		mask_drop(from, what);
	}
}

/* One of them, copied. */
struct seen_mask {
	uint64_t key, cookie;
	uint16_t what;
	struct endpoint asked;
};

/* Calls visit for each entry that is not being written; those of a key below BUSY are free. */
static void each(bool (*visit)(const struct seen_mask *m, void *arg), void *arg)
{
	for (unsigned i = 0; i < SETS * WAYS; i++) {
		const struct mask *m = &table[i / WAYS][i % WAYS];
		struct seen_mask seen = { .key = atomic_load_explicit(&m->key, memory_order_acquire) };

		if (seen.key <= BUSY)
			continue;
		seen.cookie = atomic_load_explicit(&m->cookie, memory_order_relaxed);
		seen.what = atomic_load_explicit(&m->what, memory_order_relaxed);
		if (read_mask(m, seen.key, &seen.asked) && !visit(&seen, arg))
			return;
	}
}

struct taken {
	const struct endpoint *asked;
	uint64_t than;
	uint16_t type;
	bool found;
};

static bool has_type(uint64_t cookie, uint16_t type)
{
	for (unsigned fd = 0; fd < fdtab_end(); fd++) {
		struct fd_entry *e = fdtab_find((int)fd);
		uint64_t word = fd_word(e);

		if (FD_STATE(word) == FD_SOCKET && FD_TYPE(word) == type &&
		    atomic_load_explicit(&e->cookie, memory_order_relaxed) == cookie)
			return true;
	}
	return false;
}

static bool is_taken(const struct seen_mask *m, void *arg)
{
	struct taken *t = arg;

	t->found = m->what == MASK_LOCAL && m->cookie != t->than && endpoint_equal(&m->asked, t->asked) &&
		   has_type(m->cookie, t->type);
	return !t->found;
}

bool mask_taken(const struct endpoint *asked, uint16_t type, uint64_t than)
{
	struct taken t = { .asked = asked, .than = than, .type = type };

	if (mask_any() && asked->port != 0)
		each(is_taken, &t);
	return t.found;
}

static bool visit_path(const struct seen_mask *m, void *arg)
{
	void (**visit)(uint64_t, const struct endpoint *) = arg;
	struct endpoint path = m->asked;

	if (m->what == MASK_PATH)
		(*visit)(m->cookie, &path);
	return true;
}

void mask_each_path(void (*visit)(uint64_t cookie, const struct endpoint *path))
{
	if (mask_any())
		each(visit_path, &visit);
}

/* KEY.COOKIE.WHAT.FAMILY.PORT.SCOPE.NAME, in hex, for each; ':' between them.  KEY is 0 where the rest tells
 * it: all that does not stand there makes room for others. */
static void write_one(struct text *t, const struct seen_mask *m)
{
	struct text before = *t;
	const uint64_t fields[] = { m->what == 0 ? m->key : 0, m->cookie,     m->what,
				    m->asked.family,	       m->asked.port, m->asked.scope };
	size_t n = m->asked.family == AF_UNIX	? m->asked.port
		   : m->asked.family == AF_INET ? 4
						: sizeof(m->asked.ip);

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		text_add_hex(t, fields[i]);
		text_add(t, ".");
	}
	for (size_t i = 0; i < n; i++) {
		text_add_hex(t, (uint8_t)m->asked.name[i] >> 4);
		text_add_hex(t, (uint8_t)m->asked.name[i] & 15);
	}
	text_add(t, ":");
	if (!t->full)
		return;
	/* All or nothing of each. */
	*t = before;
	t->buf[t->len] = '\0';
	t->full = true;
}

/* Each number as long as it can be. */
static bool add_length(const struct seen_mask *m, void *arg)
{
	size_t *len = arg, name = m->asked.family == AF_UNIX ? m->asked.port : sizeof(m->asked.ip);

	if (is_open(m->cookie))
		*len += 2 * 16 + 3 * 4 + 8 + 6 + 2 * name + 1;
	return true;
}

size_t mask_length(void)
{
	size_t len = 0;

	if (mask_any())
		each(add_length, &len);
	return len;
}

static bool write_name(const struct seen_mask *m, void *arg)
{
	struct text *t = arg;

	if (m->what != 0 && is_open(m->cookie))
		write_one(t, m);
	return !t->full;
}

static bool write_source(const struct seen_mask *m, void *arg)
{
	struct text *t = arg;

	if (m->what == 0 && is_open(m->cookie))
		write_one(t, m);
	return !t->full;
}

/* Sources last: they come again with the next datagram that is sent. */
bool mask_write(struct text *t)
{
	if (mask_any())
		each(write_name, t);
	if (mask_any() && !t->full)
		each(write_source, t);
	return !t->full;
}

static bool read_name(const char **p, struct endpoint *ep)
{
	for (size_t i = 0; **p != ':' && **p != '\0'; i++) {
		char digits[3] = { (*p)[0], (*p)[1], '\0' };
		const char *d = digits;
		uint64_t byte;

		if (i >= sizeof(ep->name) || !text_take_u64(&d, 16, &byte) || *d != '\0' || digits[1] == '\0')
			return false;
		ep->name[i] = (char)byte;
		*p += 2;
	}
	return ep->family != AF_UNIX || ep->port <= sizeof(ep->name);
}

void mask_read(const char *p)
{
	while (p != NULL && *p != '\0') {
		struct endpoint ep = { 0 };
		uint64_t f[6], key;

		for (size_t i = 0; i < 6; i++) {
			if (!text_take_u64(&p, 16, &f[i]) || *p++ != '.')
				return;
		}
		ep.family = (uint16_t)f[3];
		ep.port = (uint16_t)f[4];
		ep.scope = (uint32_t)f[5];
		key = f[2] != 0 ? key_of(f[1], f[2]) : f[0];
		if (key <= BUSY || !read_name(&p, &ep))
			return;
		put(key, f[1], (uint16_t)f[2], &ep);
		if (*p == ':')
			p++;
	}
}
