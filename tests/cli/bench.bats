#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The benchmark still works; how fast anything is is no matter of a test.

bats_require_minimum_version 1.5.0

setup() {
	load common
	common_setup
}

teardown() {
	common_teardown
}

@test "the benchmark runs: a round of each row, and nothing is left running" {
	"$TOP/tests/bench/run" --smoke >"$DIR/out" 2>"$DIR/err" 3>&-
	cat "$DIR/out" "$DIR/err"
	[ ! -s "$DIR/err" ]
	for row in "one event appended" accept4 "close(dup(0))" "socket + bind" fork exec nginx "events read" ls binds; do
		grep -qE "^${row//[()+]/.}.* (met\*?|OVER|-)$" "$DIR/out"
	done
	run ! grep -qE '.{101}' "$DIR/out"
	run ! grep -q 'no nginx' "$DIR/out"
}
