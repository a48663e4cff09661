# SPDX-License-Identifier: MIT
# Tests, checks and benchmarks; included by the Makefile.

LINT_DEPS := clang clang-format clang-tidy cppcheck shellcheck bats libcmocka-dev
TRANSPARENCY_DEPS := libpython3.11-testsuite python3.11 iproute2 util-linux nginx-light haproxy redis-server redis-tools
FUZZ_DEPS := clang
BENCH_DEPS := nginx-light strace
T := $(B)/tests

# ---- programs ----

TEST_CFLAGS = $(BASE_CFLAGS) -Itests/preload $(CFLAGS) $(SANITIZE)

PRELOAD := $(patsubst tests/preload/%.c,$(T)/preload/%,$(filter-out tests/preload/cases.c,$(wildcard tests/preload/*.c)))
HELPERS := $(patsubst tests/helpers/%.c,$(T)/helpers/%,$(wildcard tests/helpers/*.c)) $(T)/helpers/static_server \
	$(patsubst tests/helpers/lib/%.c,$(T)/helpers/%.so,$(wildcard tests/helpers/lib/*.c))
BENCHES := $(T)/bench/bench $(T)/bench/do_nothing.so $(T)/bench/nothing

$(PRELOAD): $(T)/preload/%: tests/preload/%.c tests/preload/cases.c tests/preload/cases.h
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(filter-out -MMD -MP,$(TEST_CFLAGS)) -o $@ $< tests/preload/cases.c $(LDFLAGS) -pthread

$(T)/helpers/static_server: tests/helpers/server.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(TEST_CFLAGS) -MF $@.d -static -o $@ $< $(LDFLAGS)

$(T)/helpers/%.so: tests/helpers/lib/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(TEST_CFLAGS) -MF $@.d -fPIC -shared -o $@ $< $(LDFLAGS) -ldl

$(T)/helpers/%: tests/helpers/%.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(TEST_CFLAGS) -MF $@.d -o $@ $< $(LDFLAGS) -pthread

$(T)/bench/nothing: $(T)/helpers/nothing
	@mkdir -p $(@D)
	cp $< $@

# Each tests/unit/test_*.c is a program, linked with all of the tools but their subcommands, and with
# those sources of the shim that are named here.
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT := $(patsubst tests/unit/%.c,$(T)/unit/%,$(UNIT_SRC))
UNIT_OBJ := $(filter-out $(B)/tool-obj/tools/main.o $(B)/tool-obj/tools/cmd_%.o,$(TOOL_OBJ))
UNIT_WITH_test_fdtab := shim/fdtab.c
UNIT_WITH_test_mask := shim/mask.c shim/fdtab.c
UNIT_WITH_test_objects := shim/objects.c
THREADED := test_log test_fdtab test_mask

.SECONDEXPANSION:
$(UNIT): $(T)/unit/%: $(B)/tool-obj/tests/unit/%.o $(UNIT_OBJ) $$(addprefix $(B)/tool-obj/,$$(UNIT_WITH_$$*:.c=.o))
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(TOOL_LIBS) -lcmocka -pthread

# The tree that is tortured is a program like any other; who holds it against the kernel is linked with the tools.
TORTURE := $(T)/torture/torture $(T)/torture/check

# The model is measured too, and linked as into the unit tests.
BENCH_SRC := $(filter-out %/do_nothing.c,$(wildcard tests/bench/*.c))

$(T)/bench/bench: $(BENCH_SRC) $(wildcard tests/bench/*.h) $(UNIT_OBJ)
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(filter-out -MMD -MP,$(TOOL_CFLAGS)) $(CFLAGS) $(SANITIZE) -o $@ $(filter %.c %.o,$^) $(LDFLAGS) $(TOOL_LIBS) -lm

# initfirst: nothing can call a wrapper before the library has found what to hand calls on to.
$(T)/bench/do_nothing.so: tests/bench/do_nothing.c shim/hooks.def
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(filter-out -MMD -MP,$(BASE_CFLAGS)) $(CFLAGS) -fPIC -shared -Wl,-z,initfirst -o $@ $< $(LDFLAGS) -ldl


$(T)/torture/torture: $(wildcard tests/torture/torture.c tests/torture/ops_*.c tests/torture/*.h) shim/hooks.def
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(filter-out -MMD -MP,$(TEST_CFLAGS)) -o $@ $(filter %.c,$^) $(LDFLAGS) -pthread

$(T)/torture/check: $(B)/tool-obj/tests/torture/check.o $(B)/tool-obj/tests/torture/compare.o $(UNIT_OBJ)
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(TOOL_LIBS)

-include $(wildcard $(T)/*/*.d) $(wildcard $(B)/tool-obj/tests/*/*.d $(B)/tool-obj/shim/*.d)

test-programs: $(PRELOAD) $(HELPERS) $(BENCHES) $(UNIT) $(TORTURE) $(T)/fuzz/random

# ---- what to install ----
# As commands, not prerequisites: what comes after them is looked for by a make of its own.

deps:
	@tests/install $(DEPS)

test-deps:
	@tests/install $(DEPS) $(TEST_DEPS)

# ---- targets ----

SUB = $(MAKE) --no-print-directory
RUN = B=$(B) tests/run

demo:
	@tests/install $(DEPS) $(DEMO_DEPS)
	+@$(SUB) all
	@B=$(B) tests/demo

check: test-deps
	+@$(SUB) all test-programs
	@$(RUN)

unit: test-deps
	+@$(SUB) $(UNIT)
	@$(RUN) unit

preload: test-deps
	+@$(SUB) all $(PRELOAD)
	@$(RUN) hooks preload

cli: test-deps
	+@$(SUB) all $(HELPERS) $(BENCHES)
	@$(RUN) cli

SANITIZED = -fno-sanitize-recover=all -fno-omit-frame-pointer
asan: test-deps
	+@$(SUB) B=build-asan SANITIZE='-fsanitize=address,undefined $(SANITIZED)' unit

tsan: test-deps
	+@UNIT_ONLY='$(THREADED)' $(SUB) B=build-tsan SANITIZE='-fsanitize=thread $(SANITIZED)' tsan-run

tsan-run: $(filter $(THREADED:%=$(T)/unit/%),$(UNIT))
	@$(RUN) unit

transparency:
	@tests/install $(DEPS) $(TRANSPARENCY_DEPS)
	+@$(SUB) all
	@B=$(B) tests/transparency/run

# libFuzzer is clang's.  The tools' sources are compiled once more, for it to see their branches.
FUZZ_SECONDS ?= 120
FUZZ_RUNS ?= 200000
FUZZ_FLAGS := -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_SRC := $(COMMON_SRC) $(filter-out tools/main.c $(wildcard tools/cmd_*.c),$(TOOL_SRC))

$(T)/fuzz/log $(T)/fuzz/rules: $(T)/fuzz/%: tests/fuzz/%.c $(FUZZ_SRC)
	@mkdir -p $(@D)
	$(call SAY,CLANG)
	$(Q)clang $(filter-out -MMD -MP,$(TOOL_CFLAGS)) $(FUZZ_FLAGS) -o $@ $(filter %.c,$^) $(TOOL_LIBS)

# The same inputs, damaged by seeds, with the sanitizers of gcc: part of `make check`.
DAMAGE_FLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

$(B)/damage-obj/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(TOOL_CFLAGS) $(CFLAGS) $(DAMAGE_FLAGS) -c -o $@ $<

$(T)/fuzz/random: $(patsubst %.c,$(B)/damage-obj/%.o,tests/fuzz/random.c tests/fuzz/log.c $(FUZZ_SRC))
	@mkdir -p $(@D)
	$(call SAY,CC)
	$(Q)$(CC) $(CFLAGS) $(DAMAGE_FLAGS) $(LDFLAGS) -o $@ $^ $(TOOL_LIBS)

-include $(wildcard $(B)/damage-obj/*/*.d $(B)/damage-obj/*/*/*.d)

fuzz:
	@tests/install $(DEPS) $(FUZZ_DEPS)
	+@$(SUB) all $(T)/fuzz/log $(T)/fuzz/rules
	@B=$(B) tests/fuzz/run $(FUZZ_RUNS) $(FUZZ_SECONDS)

# Seeds that `make check` does not run.
TORTURE_HOLDINGS ?= 100000
TORTURE_FROM ?= 201
torture: test-deps
	+@$(SUB) all $(TORTURE)
	@$(T)/torture/check --from $(TORTURE_FROM) --holdings $(TORTURE_HOLDINGS)

SHELL_FILES = $(shell grep -rlE '^.!/bin/(ba)?sh$$' tests .ci) $(wildcard tests/cli/*.bash)
C_FILES = $(shell find include shim tools tests -name '*.[ch]')

# cppcheck: alloca is meant (no malloc before exec), and it takes the address of an array for its value.
lint:
	@tests/install $(DEPS) $(LINT_DEPS)
	+@$(SUB) B=build-gcc CC=gcc CFLAGS='-O2 -g -Werror' all test-programs
	+@$(SUB) B=build-clang CC=clang CFLAGS='-O2 -g -Werror -Wno-unused-command-line-argument' all test-programs
	clang-format --dry-run -Werror $(C_FILES)
	clang-tidy --quiet $(filter %.c,$(SHIM_SRC) $(TOOL_SRC)) -- $(filter-out -MMD -MP,$(TOOL_CFLAGS)) 2>/dev/null
	cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability \
		--suppress=missingIncludeSystem --suppress=internalAstError --suppress=allocaCalled \
		--suppress=ctuuninitvar -Iinclude -Ishim -Itools shim tools
	shellcheck -x $(SHELL_FILES)
	shellcheck -x -s bats $(wildcard tests/cli/*.bats)

bench:
	@tests/install $(DEPS) $(BENCH_DEPS)
	+@$(SUB) all $(BENCHES)
	@B=$(B) tests/bench/run $(ROWS)

clean: clean-tests
clean-tests:
	rm -rf build-asan build-tsan build-gcc build-clang

help:
	@echo 'make            build/libportshim.so and build/portshim'
	@echo 'make deps       install what building needs (Debian, as root)'
	@echo 'make demo       a real nginx, and who holds its port'
	@echo 'make check      build and run all tests, installing what they need'
	@echo 'make unit       the unit tests alone; so preload, cli'
	@echo 'make asan       the unit tests with address and undefined-behaviour sanitizers'
	@echo 'make tsan       the threaded unit tests with the thread sanitizer'
	@echo 'make transparency  CPython and servers under the shim behave as they do without it'
	@echo 'make torture    random process trees held against /proc: 100,000 holdings'
	@echo 'make fuzz       the reader and the model on corrupt logs, the rule parser, by libFuzzer'
	@echo 'make lint       gcc, clang, clang-format, clang-tidy, cppcheck, shellcheck'
	@echo 'make bench      what recording costs, against the budgets'
	@echo 'make install    to PREFIX ($(PREFIX)), below DESTDIR if set'
	@echo 'make clean'

.PHONY: deps test-deps test-programs demo check unit preload cli asan tsan tsan-run transparency fuzz torture lint bench clean-tests help
