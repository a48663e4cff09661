/* SPDX-License-Identifier: MIT */
#include "objects.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

extern Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));
extern const char *gnu_get_libc_version(void) __attribute__((weak));

#define VERSION_HIDDEN 0x8000u
#define WORD_BITS (8 * sizeof(Elf64_Addr))

static const Elf64_Dyn *dynamic_entry(const Elf64_Dyn *d, Elf64_Sxword tag)
{
	for (; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == tag)
			return d;
	}
	return NULL;
}

/* The dynamic linker has made addresses of them, but not in an object that it cannot write to. */
static const void *table_of(const struct link_map *map, Elf64_Sxword tag)
{
	const Elf64_Dyn *d = dynamic_entry(map->l_ld, tag);

	if (d == NULL)
		return NULL;
	return (const void *)(d->d_un.d_ptr < map->l_addr ? d->d_un.d_ptr + map->l_addr : d->d_un.d_ptr);
}

/* elf(5): the executable's DT_DEBUG; by its program headers, as its own symbols may be anybody's. */
static const struct r_debug *debugger_view(void)
{
	const Elf64_Phdr *ph = (const void *)getauxval(AT_PHDR), *dynamic = NULL;
	size_t n = getauxval(AT_PHNUM);
	Elf64_Addr base = 0;
	bool has_base = false;
	const Elf64_Dyn *d;

	for (size_t i = 0; ph != NULL && i < n; i++) {
		if (ph[i].p_type == PT_PHDR) {
			base = (Elf64_Addr)ph - ph[i].p_vaddr;
			has_base = true;
		} else if (ph[i].p_type == PT_DYNAMIC) {
			dynamic = &ph[i];
		}
	}
	if (!has_base || dynamic == NULL)
		return NULL;
	d = dynamic_entry((const void *)(base + dynamic->p_vaddr), DT_DEBUG);
	return d != NULL ? (const void *)d->d_un.d_ptr : NULL;
}

const struct link_map *objects_own(void)
{
	const struct r_debug *view = gnu_get_libc_version != NULL ? debugger_view() : NULL;
	const struct link_map *map = view != NULL ? view->r_map : NULL;

	while (map != NULL && map->l_ld != _DYNAMIC)
		map = map->l_next;
	return map;
}

/* A filter's symbols are searched for elsewhere first. */
static bool is_readable(const struct link_map *map)
{
	return table_of(map, DT_GNU_HASH) != NULL && table_of(map, DT_SYMTAB) != NULL &&
	       table_of(map, DT_STRTAB) != NULL && dynamic_entry(map->l_ld, DT_FILTER) == NULL &&
	       dynamic_entry(map->l_ld, DT_AUXILIARY) == NULL;
}

static uint32_t gnu_hash(const char *s)
{
	uint32_t h = 5381;

	for (; *s != '\0'; s++)
		h = h * 33 + (unsigned char)*s;
	return h;
}

/* As the dynamic linker has it: of several versions the default one. */
static bool is_definition(const Elf64_Sym *sym, const Elf64_Versym *version)
{
	unsigned bind = ELF64_ST_BIND(sym->st_info), type = ELF64_ST_TYPE(sym->st_info);

	return sym->st_shndx != SHN_UNDEF && sym->st_value != 0 && (bind == STB_GLOBAL || bind == STB_WEAK) &&
	       (type == STT_NOTYPE || type == STT_FUNC || type == STT_GNU_IFUNC) &&
	       (version == NULL || !(*version & VERSION_HIDDEN));
}

/* The chain of that hash: the index of its first symbol, 0 if there is none. */
static uint32_t chain_of(const uint32_t *table, uint32_t hash, const uint32_t **chains)
{
	uint32_t n_buckets = table[0], n_words = table[2], shift = table[3], first = table[1];
	const Elf64_Addr *bloom = (const void *)(table + 4);
	const uint32_t *buckets = (const uint32_t *)(const void *)(bloom + n_words);
	Elf64_Addr word = bloom[hash / WORD_BITS & (n_words - 1)];

	*chains = buckets + n_buckets - first;
	if (!(word >> hash % WORD_BITS & word >> (hash >> shift) % WORD_BITS & 1) || n_buckets == 0)
		return 0;
	return buckets[hash % n_buckets];
}

static const Elf64_Sym *find_in(const struct link_map *map, const char *name, uint32_t hash)
{
	const Elf64_Sym *symbols = table_of(map, DT_SYMTAB);
	const Elf64_Versym *versions = table_of(map, DT_VERSYM);
	const char *strings = table_of(map, DT_STRTAB);
	const uint32_t *chains;
	uint32_t i = chain_of(table_of(map, DT_GNU_HASH), hash, &chains);

	for (; i != 0; i++) {
		if ((chains[i] | 1) == (hash | 1) && strcmp(strings + symbols[i].st_name, name) == 0 &&
		    is_definition(&symbols[i], versions != NULL ? &versions[i] : NULL))
			return &symbols[i];
		if (chains[i] & 1)
			break;
	}
	return NULL;
}

/* To libc and no further: all that is wrapped is there, and what dlopen(3) added before our start is behind.
 */
bool objects_behind(struct objects *out)
{
	static const char libcs_own[] = "gnu_get_libc_version";
	const struct link_map *own = objects_own();
	uint32_t hash = gnu_hash(libcs_own);

	for (const struct link_map *map = own == NULL ? NULL : own->l_next; map != NULL; map = map->l_next) {
		if (!is_readable(map))
			return false;
		if (find_in(map, libcs_own, hash) == NULL)
			continue;
		*out = (struct objects){ .first = own->l_next, .last = map };
		return true;
	}
	return false;
}

void *objects_find(const struct objects *o, const char *symbol)
{
	uint32_t hash = gnu_hash(symbol);

	for (const struct link_map *map = o->first; map != NULL; map = map->l_next) {
		const Elf64_Sym *sym = find_in(map, symbol, hash);

		/* Only its own resolver says which function it is. */
		if (sym != NULL && ELF64_ST_TYPE(sym->st_info) == STT_GNU_IFUNC)
			return dlsym(RTLD_NEXT, symbol);
		if (sym != NULL)
			return (void *)(map->l_addr + sym->st_value);
		if (map == o->last)
			break;
	}
	return NULL;
}
