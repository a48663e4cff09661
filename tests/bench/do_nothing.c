/* SPDX-License-Identifier: MIT */
/*
 * A preloaded library that does nothing: it wraps what portshim wraps, and each wrapper is one jump to
 * the next definition.  What it costs, any preloaded library costs.
 */
#include <dlfcn.h>

#if defined(__x86_64__)
#define JUMP(symbol) "jmp *next_" symbol "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(symbol) "adrp x16, next_" symbol "\nldr x16, [x16, :lo12:next_" symbol "]\nbr x16\n"
#else
#error "a jump for this machine is missing"
#endif

/* In assembly: so it serves every signature, variable arguments and vfork among them. */
#define WRAPPER(symbol)                                            \
	__attribute__((visibility("hidden"))) void *next_##symbol; \
	__asm__(".text\n"                                          \
		".globl " #symbol "\n"                             \
		".type " #symbol ", @function\n" #symbol ":\n" JUMP(#symbol));

#define HOOK(symbol, returns, parameters) WRAPPER(symbol)
#define ALIAS(symbol, target) WRAPPER(symbol)
#include "hooks.def"

/* Linked with -z initfirst: before any other constructor can call a wrapper. */
__attribute__((constructor)) static void find_all(void)
{
#define HOOK(symbol, returns, parameters) next_##symbol = dlsym(RTLD_NEXT, #symbol);
#define ALIAS(symbol, target) next_##symbol = dlsym(RTLD_NEXT, #symbol);
#include "hooks.def"
}
