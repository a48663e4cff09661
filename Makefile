# SPDX-License-Identifier: MIT
# portshim: `make`, `make demo`, `make check`; `make help` lists the rest.

CC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=
B ?= build

VERSION := 0.1

# V=1 shows the commands.
Q := $(if $(V),,@)
SAY = $(if $(V),@:,@echo "  $(1) $@")

# ld.so expands $LIB in LD_PRELOAD to this on Debian; elsewhere there is no multiarch directory.
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
LIBDIR ?= $(PREFIX)/lib$(if $(MULTIARCH),/$(MULTIARCH))
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man

# Debian packages: for building, and for the tests besides.
DEPS := gcc libc6-dev make pkg-config libsmartcols-dev libjson-c-dev libmnl-dev uthash-dev
DEMO_DEPS := nginx-light curl
TEST_DEPS := $(DEMO_DEPS) procps bats libcmocka-dev python3 redis-server redis-tools memcached haproxy socat \
	dnsmasq-base zsh jq strace libasan8 libubsan1 libjemalloc2 musl-tools \
	iproute2 util-linux nodejs php-cli erlang-base ecj default-jre-headless

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wundef -Wcast-align -Wpointer-arith -Wwrite-strings \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 -Wimplicit-fallthrough \
	-Wno-unused-parameter -Werror=implicit-function-declaration
CFLAGS ?= -O2 -g
BASE_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(WARNINGS) -Iinclude -Ishim -MMD -MP

# The shim: initial-exec TLS because __tls_get_addr may call malloc; no fortify, no stack protector:
# their helpers are glibc's alone; nothing exported but the wrappers.
SHIM_CFLAGS := $(BASE_CFLAGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-stack-protector \
	-fno-semantic-interposition -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0
# Linked for few mappings and few pages touched, which every exec and fork under it pays for: code and constants
# are one segment, our own calls need no look-up, there are no start files.  No relro: it is a system call and
# one mapping more, and would leave the table of next definitions (real.c) writable all the same.
SHIM_LDFLAGS := -shared -Wl,-z,defs -Wl,-z,now -Wl,-z,norelro -Wl,-z,noseparate-code -Wl,-Bsymbolic -nostartfiles \
	-Wl,-T,shim/sections.ld -Wl,-soname,libportshim.so

# Asked for only when something of it is compiled: `make deps` must work before they are there.
TOOL_LIBS = $(shell pkg-config --libs smartcols json-c libmnl)
TOOL_CFLAGS = $(BASE_CFLAGS) -Itools -DPORTSHIM_VERSION='"$(VERSION)"' -I$(B) $(shell pkg-config --cflags smartcols json-c libmnl)

COMMON_SRC := $(wildcard shim/common/*.c)
SHIM_SRC := $(COMMON_SRC) $(wildcard shim/*.c) $(wildcard shim/*.S)
TOOL_SRC := $(wildcard tools/*.c)

SHIM_OBJ := $(patsubst %,$(B)/shim-obj/%.o,$(basename $(SHIM_SRC)))
TOOL_OBJ := $(patsubst %.c,$(B)/tool-obj/%.o,$(COMMON_SRC) $(TOOL_SRC))

all: $(B)/libportshim.so $(B)/portshim

$(B)/libportshim.so: $(SHIM_OBJ) shim/sections.ld
	$(call SAY,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(SHIM_LDFLAGS) -o $@ $(SHIM_OBJ) -ldl

$(B)/portshim: $(TOOL_OBJ)
	$(call SAY,LD)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TOOL_LIBS)

$(B)/shim-obj/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(SHIM_CFLAGS) $(CFLAGS) $(SANITIZE) -c -o $@ $<

$(B)/shim-obj/%.o: %.S
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) -Iinclude -Ishim -MMD -MP $(CFLAGS) -c -o $@ $<

# Where the library will be: written anew only when that changes, as by `make install PREFIX=…`.
$(B)/config.h: FORCE
	@mkdir -p $(@D)
	@echo '#define PORTSHIM_LIBDIR "$(LIBDIR)"' | cmp -s - $@ || echo '#define PORTSHIM_LIBDIR "$(LIBDIR)"' >$@

$(B)/tool-obj/tools/cmd_run.o: $(B)/config.h

$(B)/tool-obj/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(TOOL_CFLAGS) $(CFLAGS) $(SANITIZE) -c -o $@ $<

include tests/tests.mk

-include $(SHIM_OBJ:.o=.d) $(TOOL_OBJ:.o=.d)

install: all
	install -D -m 755 $(B)/portshim $(DESTDIR)$(BINDIR)/portshim
	install -D -m 644 $(B)/libportshim.so $(DESTDIR)$(LIBDIR)/libportshim.so
	for page in tools/man/*.[15]; do \
		install -D -m 644 "$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}"; done
	if [ -z "$(DESTDIR)" ]; then ldconfig; fi

clean:
	rm -rf build

.PHONY: all install clean FORCE
