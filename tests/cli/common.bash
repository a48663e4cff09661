# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
# For the bats files: each test has a directory of its own, $DIR, with a session root and the name of a
# session in it, and ends what it started.  Programs that bats starts must not inherit its fd 3, or
# bats would wait for them: start() and bg() see to it.

common_setup() {
	unset LD_PRELOAD PORTSHIM_SESSION PORTSHIM_PROCESS PORTSHIM_RULES
	TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	BUILD=$(cd "$TOP" && realpath "${B:-build}")
	PORTSHIM=$BUILD/portshim
	LIBRARY=$BUILD/libportshim.so
	HELPERS=$BUILD/tests/helpers
	SCRIPTS=$TOP/tests/helpers
	DIR=$(mktemp -d /dev/shm/portshim-cli-XXXXXX)
	chmod 755 "$DIR"
	export PORTSHIM_ROOT=$DIR/root
	mkdir -m 711 "$PORTSHIM_ROOT"
	SESSION=$DIR/session
	OWN=()
	cd "$DIR" || return 1
}

common_teardown() {
	local pid i
	for pid in "${OWN[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
	for pid in "${OWN[@]}"; do
		for ((i = 0; i < 250; i++)); do
			gone "$pid" && break
			sleep 0.02
		done
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	cd /
	rm -rf "$DIR"
}

# A process is gone when it does not exist or is only waited for.
gone() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
	[[ ${stat##*)} == " Z"* ]]
}

# own PID…: to be ended with the test, and by nobody else.
own() {
	OWN+=("$@")
}

# Until the command succeeds, at most $WAITS times 20 ms, or 10 seconds.
wait_for() {
	local i
	for ((i = 0; i < ${WAITS:-500}; i++)); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.02
	done
	echo "waited in vain for: $*" >&2
	return 1
}

# start NAME COMMAND…: in the background; $PID.  Its stdin is the fifo NAME.in, which never ends by
# itself, its output goes to NAME.out and NAME.err.
start() {
	local name=$1
	shift
	[ -p "$DIR/$name.in" ] || mkfifo "$DIR/$name.in"
	# What one of the same name said before is not what this one says.
	: >"$DIR/$name.out"
	"$@" <>"$DIR/$name.in" >"$DIR/$name.out" 2>"$DIR/$name.err" 3>&- &
	PID=$!
	own "$PID"
}

# The same for helpers, until they say that they are ready.
start_ready() {
	start "$@"
	ready "$1"
}

ready() {
	wait_for grep -qx ready "$DIR/$1.out" || {
		cat "$DIR/$1.out" "$DIR/$1.err" >&2
		return 1
	}
}

# Ends a helper, which waits for its stdin; its status is the result.
finish() {
	echo >"$DIR/$1.in"
	wait "$2"
}

# traced COMMAND…: what runs it in this test's session; record and join for a new one and an old one.
record() {
	start "$1" "$PORTSHIM" run -o "$SESSION" -- "${@:2}"
}

join() {
	start "$1" "$PORTSHIM" run -s "$SESSION" -- "${@:2}"
}

free_port() {
	"$SCRIPTS/free_port" "${1:-1}"
}

# Without a connection of our own, which would be counted.
listening() {
	grep -qiE "^ *[0-9]+: [0-9A-F]{8}:$(printf %04X "$1") [0-9A-F:]+ 0A" /proc/net/tcp
}

listening_udp() {
	grep -qiE "^ *[0-9]+: [0-9A-F]{8}:$(printf %04X "$1") " /proc/net/udp
}

# holders [OPTION…]: the relation as JSON.
holders() {
	"$PORTSHIM" ls -s "$SESSION" --json "$@"
}

# that FILTER [OPTION…]: true if the jq filter is, of the list of holders.
that() {
	local filter=$1 json
	shift
	json=$(holders "$@") || [ $? -eq 1 ] || return 1
	jq -e ".holders | $filter" <<<"$json" >/dev/null && return 0
	echo "not so: $filter" >&2
	jq -c '.holders[] | [.pid, .command, .fds, .inode, .proto, .local, .state, .how, .from_pid, .until, .accepts]' \
		<<<"$json" >&2
	return 1
}

same_as_kernel() {
	"$SCRIPTS/same_as_kernel" "$PORTSHIM" "$SESSION" "$@"
}

children_of() {
	pgrep -P "$1" | sort -n
}

# fails STATUS TEXT COMMAND…: one line on stderr that holds the text, nothing on stdout.
fails() {
	local status=0
	"${@:3}" >"$DIR/out" 2>"$DIR/err" || status=$?
	[ "$status" -eq "$1" ] || {
		echo "status $status, not $1: ${*:3}" >&2
		cat "$DIR/err" >&2
		return 1
	}
	if [ ! -s "$DIR/out" ] && [ "$(wc -l <"$DIR/err")" -eq 1 ] && grep -q '^portshim: ' "$DIR/err" &&
		grep -qF -- "$2" "$DIR/err"; then
		return 0
	fi
	echo "not '$2' alone: ${*:3}" >&2
	cat "$DIR/out" "$DIR/err" >&2
	return 1
}

# times N COMMAND…
times() {
	local i
	for ((i = 0; i < $1; i++)); do "${@:2}" || return; done
}

need_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
}

# haproxy_answers PORT…: its configuration; more of the section `global` from stdin.
haproxy_answers() {
	printf 'global\n\tmaxconn 100\n'
	cat
	cat <<-END
		defaults
			mode http
			timeout connect 5s
			timeout client 5s
			timeout server 5s
		frontend f
			http-request return status 200 content-type text/plain string hello
	END
	printf '\tbind 127.0.0.1:%s\n' "$@"
}
