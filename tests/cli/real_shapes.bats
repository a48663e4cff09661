#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The shapes that the relation takes, each made by a program that makes exactly this.

# shellcheck disable=SC2030,SC2031,SC2119,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

setup() {
	common_setup
}

teardown() {
	common_teardown
	rm -rf "$BIN"
}

# A directory that everybody can reach and execute from, as the checkout and /dev/shm may not be.
public_bin() {
	BIN=$(mktemp -d /tmp/portshim-bin-XXXXXX)
	chmod 755 "$BIN"
	cp "$PORTSHIM" "$LIBRARY" "$BIN"
}

ended() {
	run "$PORTSHIM" ls -s "$SESSION"
	[ "$status" -eq 1 ]
}

@test "a sleep that inherits a shell's port is named after the shell has gone" {
	need_root
	# ztcp binds every address: so in a network namespace of its own.
	start zsh unshare -n "$PORTSHIM" run -o "$SESSION" -- zsh -fc \
		'zmodload zsh/net/tcp; ztcp -ld 3 12345; sleep 60 & disown; exit 0'
	zsh=$PID
	wait "$zsh"
	wait_for that 'map(select(.command == "sleep")) | length == 1'
	own "$(holders | jq '.holders[0].pid')"
	that "length == 1 and .[0].how == \"forked\" and .[0].from_pid == $zsh and .[0].fds == [3] and .[0].state == \"listen\""
	that '.[0].local | endswith(":12345")'
	same_as_kernel
}

@test "one process, ten ports" {
	mapfile -t port < <(free_port 2)
	record server "$HELPERS/server" "tcp:127.0.0.1:${port[0]}" tcp:127.0.0.1:0 "tcp:127.0.0.2:${port[0]}" \
		tcp6:::1:0 "tcp6:::1:${port[1]}" "udp:127.0.0.1:${port[0]}" udp:127.0.0.1:0 udp6:::1:0 \
		"unix:$DIR/x.sock" "abstract:portshim-$$"
	server=$PID
	ready server
	# FD ENDPOINT PORT, as the program has it.
	while read -r fd endpoint port; do
		case $endpoint in
		tcp6:* | udp6:*) echo "$fd ${endpoint%%:*} [::1]:$port" ;;
		tcp:* | udp:*)
			ip=${endpoint#*:}
			echo "$fd ${endpoint%%:*} ${ip%:*}:$port"
			;;
		unix:*) echo "$fd unix ${endpoint#*:}" ;;
		abstract:*) echo "$fd unix @${endpoint#*:}" ;;
		esac
	done < <(grep -v ready server.out) | sort >wanted
	holders | jq -r '.holders[] | "\(.fds[0]) \(.proto) \(.local)"' | sort >got
	[ "$(wc -l <wanted)" -eq 10 ]
	diff wanted got
	that "all(.pid == $server and .how == \"bound\" and (.fds | length) == 1 and .live and .inode != null)"
	same_as_kernel "$server"
	finish server "$server"
	ended
	that 'length == 10' --past
}

@test "two processes, one port by SO_REUSEPORT" {
	port=$(free_port)
	record one "$HELPERS/server" --reuseport "tcp:127.0.0.1:$port"
	ready one
	join two "$HELPERS/server" --reuseport "tcp:127.0.0.1:$port"
	ready two
	that "length == 2 and all(.local == \"127.0.0.1:$port\" and .how == \"bound\")"
	that '(map(.pid) | unique | length) == 2 and (map(.inode) | unique | length) == 2'
	same_as_kernel
}

@test "two bare servers meet in one ambient session" {
	start_ready one env LD_PRELOAD="$LIBRARY" "$HELPERS/server" tcp:127.0.0.1:0
	one=$PID
	start_ready two env LD_PRELOAD="$LIBRARY" "$HELPERS/server" udp:127.0.0.1:0
	two=$PID
	[ "$(find "$PORTSHIM_ROOT" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]
	"$PORTSHIM" ls --json | jq -e ".holders | (map(.pid) | sort) == ([$one, $two] | sort)"
	SESSION=$(find "$PORTSHIM_ROOT" -mindepth 1 -maxdepth 1 -type d)
	same_as_kernel "$one" "$two"
	finish one "$one"
	"$PORTSHIM" ls --json | jq -e ".holders | map(.pid) == [$two]"
}

@test "a bare program receives a listener in a call that was there before its session" {
	cat >giver.py <<-'END'
		import os, socket, subprocess, sys
		near, far = socket.socketpair()
		s = socket.create_server(("127.0.0.1", 0))
		env = dict(os.environ, LD_PRELOAD=sys.argv[1])
		p = subprocess.Popen([sys.executable, "taker.py"], stdin=far, stdout=subprocess.PIPE, env=env)
		p.stdout.readline()
		socket.send_fds(near, [b"x"], [s.fileno()])
		p.stdout.readline()
		print("taker", p.pid)
		print("ready", flush=True)
		sys.stdin.read(1)
		p.kill()
	END
	cat >taker.py <<-'END'
		import array, socket, threading, time
		s = socket.socket(fileno=0)
		def take():
		    global taken
		    data, more, flags, address = s.recvmsg(1, 256)
		    taken = array.array("i", more[0][2])[0]
		t = threading.Thread(target=take)
		t.start()
		time.sleep(0.3)
		own = socket.socket()
		print("joined", flush=True)
		t.join()
		print("taken", flush=True)
		time.sleep(60)
	END
	start giver python3 giver.py "$LIBRARY"
	ready giver
	own "$(sed -n 's/^taker //p' giver.out)"
	run "$PORTSHIM" verify
	echo "$output"
	[ "$status" -eq 0 ]
	"$PORTSHIM" ls --json | jq -e '.holders | length == 1 and .[0].state == "listen" and .[0].how == "received"'
	finish giver "$PID"
}

@test "a program without sockets makes no ambient session" {
	LD_PRELOAD=$LIBRARY ls / >/dev/null
	LD_PRELOAD=$LIBRARY sh -c 'ls / | grep -c .' >/dev/null
	[ -z "$(ls -A "$PORTSHIM_ROOT")" ]
}

@test "an exported LD_PRELOAD: what the shell starts is recorded, the shell's tools make no row" {
	start_ready shell env LD_PRELOAD="$LIBRARY" sh -c "grep -c . /etc/passwd; '$HELPERS/server' tcp:127.0.0.1:0; exit 0"
	"$PORTSHIM" ls --json | jq -e '.holders | length == 1 and .[0].command == "server"'
}

daemon_of() {
	SESSION=$DIR/$1
	rm -f stop
	mkfifo stop
	"$PORTSHIM" run -o "$SESSION" -- "$HELPERS/daemonize" "$1" "$DIR/$1.ready" "$DIR/stop" 3>&- &
	wait "$!"
	wait_for test -s "$DIR/$1.ready"
	read -r daemon fd port <"$DIR/$1.ready"
	own "$daemon"
	that "length == 1 and .[0].pid == $daemon and .[0].fds == [$fd] and .[0].local == \"127.0.0.1:$port\"
		and .[0].state == \"listen\" and .[0].how == \"$2\""
	same_as_kernel "$daemon"
	echo >stop
	wait_for gone "$daemon"
	ended
	that "map(select(.pid == $daemon)) | length == 1 and .[0].live == false" --past
}

@test "a daemon by daemon(3), which closed everything first" {
	daemon_of daemon bound
	daemon_of daemon-range bound
	daemon_of daemon-from bound
}

@test "a daemon by daemon(3), which had its port before" {
	daemon_of daemon-before forked
	that '(map(.process) | unique | length) == 2 and map(.how) == ["bound", "forked"]' --past
	daemon_of daemon-before-range forked
}

@test "a daemon by two forks" {
	daemon_of double-fork bound
	daemon_of double-fork-from bound
	daemon_of double-fork-before forked
	that '(map(.process) | unique | length) == 3' --past
}

@test "a server that gives up root, and its children" {
	need_root
	public_bin
	port=$(free_port)
	cp "$HELPERS/dropper" "$BIN"
	start_ready bare "$BIN/dropper" "$port"
	finish bare "$PID"
	start dropper "$BIN/portshim" run -o "$SESSION" -- "$BIN/dropper" "$port"
	dropper=$PID
	ready dropper
	mapfile -t children < <(children_of "$dropper")
	[ ${#children[@]} -eq 2 ]
	that 'length == 8 and (map(.pid) | unique | length) == 3'
	that "map(select(.pid == $dropper)) | length == 2 and all(.how == \"bound\")"
	for child in "${children[@]}"; do
		that "map(select(.pid == $child and .how == \"forked\" and .from_pid == $dropper)) | length == 2"
		that "map(select(.pid == $child and .how == \"bound\")) | length == 1"
	done
	same_as_kernel "$dropper" "${children[@]}"
	finish dropper "$dropper"
	cmp bare.err dropper.err
	ended
	that 'length == 8' --past
}

@test "listeners passed between processes" {
	start_ready_later() { wait_for grep -qx listening "$DIR/$1.out"; }
	record send "$HELPERS/passer" send "$DIR/carrier" 3
	send=$PID
	start_ready_later send
	join receive "$HELPERS/passer" receive "$DIR/carrier"
	receive=$PID
	ready receive
	ready send
	that "map(select(.proto == \"tcp\")) | length == 6"
	that "map(select(.pid == $send and .proto == \"tcp\" and .how == \"bound\")) | length == 3"
	that "map(select(.pid == $receive and .how == \"received\" and .from_pid == $send)) | length == 3"
	same_as_kernel "$send" "$receive"
	# The receiver holds them alone.
	finish send "$send"
	that "map(select(.proto == \"tcp\")) | length == 3 and all(.pid == $receive)"
	same_as_kernel "$receive"
}

# unseen WORD PROGRAM [ARG…]: runs as it does bare, with a warning that says WORD.
unseen() {
	local word=$1 bare=0
	shift
	SESSION=$DIR/$word
	"$@" >"$word.bare.out" 2>"$word.bare.err" </dev/null || bare=$?
	run --separate-stderr "${RUNNER:-$PORTSHIM}" run -o "$SESSION" -- "$@" </dev/null
	echo "$output"
	echo "$stderr"
	[ "$status" -eq "$bare" ]
	[ "$output" = "$(cat "$word.bare.out")" ]
	[[ $stderr == *$word* ]]
	[[ $stderr != *ld.so* ]]

	# Executed by a program that is seen: nothing is printed, the reason is on record.
	SESSION=$DIR/$word.exec
	# shellcheck disable=SC2016 # the inner shell's
	run --separate-stderr "${RUNNER:-$PORTSHIM}" run -o "$SESSION" -- sh -c '"$@"; exec "$@"' sh "$@" </dev/null
	[ "$status" -eq "$bare" ]
	[ "$output" = "$(cat "$word.bare.out" "$word.bare.out")" ]
	[ "$stderr" = "$(cat "$word.bare.err" "$word.bare.err")" ]
	"$PORTSHIM" events -s "$SESSION" | grep -i exec | grep -F "$1" | grep -F "$word"
	"$PORTSHIM" tree -s "$SESSION" --past --json | grep -F "$word"
}

@test "a static program runs, and is said to be unseen" {
	unseen static "$HELPERS/static_server" --accept
}

@test "a setuid program runs, and is said to be unseen" {
	need_root
	public_bin
	if findmnt -no OPTIONS -T "$BIN" | grep -qw nosuid; then skip "$BIN is on a nosuid file system"; fi
	cp "$HELPERS/server" "$BIN/setuid"
	chown nobody "$BIN/setuid"
	chmod u+s "$BIN/setuid"
	RUNNER=$BIN/portshim unseen setuid "$BIN/setuid" --accept
}

@test "a 32-bit program runs, and is said to be unseen" {
	[ "$(uname -m)" = x86_64 ] || skip "x86-64 only"
	public_bin
	"$SCRIPTS/elf32" "$BIN/minimal"
	status=0
	"$BIN/minimal" || status=$?
	[ "$status" -eq 32 ] || skip "this kernel runs no 32-bit programs"
	echo 'int main(void) { return 32; }' >dynamic.c
	if gcc -m32 -o "$BIN/dynamic" dynamic.c 2>/dev/null; then
		unseen machine "$BIN/dynamic"
		rm -rf "$DIR/machine" "$DIR/machine.exec"
	fi
	unseen machine "$BIN/minimal"
}

@test "a bind that fails is recorded with its errno" {
	port=$(free_port)
	start_ready holder "$HELPERS/server" "tcp:127.0.0.1:$port"
	start_ready bare "$HELPERS/server" --accept "tcp:127.0.0.1:$port"
	record loser "$HELPERS/server" --accept "tcp:127.0.0.1:$port"
	ready loser
	grep -q EADDRINUSE loser.out
	cmp bare.out loser.out
	"$PORTSHIM" events -s "$SESSION" | grep -E "bind.*127\.0\.0\.1:$port.*EADDRINUSE"
	# It listens on nothing.
	run "$PORTSHIM" ls -s "$SESSION"
	[ "$status" -eq 1 ]
}

flood() {
	python3 - "$1" <<-'END'
		import socket, sys
		try:
		    while True:
		        socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
		except OSError:
		    pass
	END
}

accepted() {
	python3 -c 'import sys; print(int.from_bytes(open(sys.argv[1], "rb").read(8), "little"))' "$1"
}

@test "SIGKILL while it accepts: all that had returned is on record" {
	for round in 1 2 3 4 5; do
		SESSION=$DIR/session.$round
		record "acceptor.$round" "$HELPERS/acceptor" "$DIR/count.$round"
		acceptor=$PID
		ready "acceptor.$round"
		flood "$(head -1 "acceptor.$round.out")" 3>&- &
		own $!
		enough() { [ "$(accepted "$DIR/count.$round")" -gt $((round * 150)) ]; }
		wait_for enough
		kill -KILL "$acceptor"
		wait "$acceptor" || true
		n=$(accepted "$DIR/count.$round")
		ended
		# One accept may have returned without having been counted yet.
		that "length == 1 and .[0].live == false and .[0].fds == [] and (.[0].accepts == $n or .[0].accepts == $n + 1)" --past
	done
}

# recorded FILTER: of the list of processes, is it so?
recorded() {
	"$PORTSHIM" tree -s "$SESSION" --past --json >tree.json
	jq -c '.processes | [length, (map(.covered) | unique), (map(.ended) | unique | length)]' tree.json
	jq -e ".processes | $1" tree.json >/dev/null
}

# An arena is at most a quarter of what is free where it stands.
need_room() {
	[ "$(df --output=avail -k "$DIR" | tail -1)" -ge 262144 ] || skip "needs 256 MiB free in /dev/shm"
}

small_arenas() {
	[ "$(du -kc "$SESSION"/arena.* | tail -1 | cut -f1)" -le 65536 ]
}

@test "a storm of 10,000 forks is recorded whole" {
	need_room
	"$PORTSHIM" run -o "$SESSION" -- "$HELPERS/storm" fork 10000
	recorded 'length == 10001 and all(.ended != null and .exit == 0 and .covered == "preload")'
	recorded '(map(.process) | unique | length) == 10001'
	small_arenas
}

@test "a storm of 10,000 execs is recorded whole" {
	need_room
	"$PORTSHIM" run -o "$SESSION" -- "$HELPERS/storm" exec 10000 "$HELPERS/nothing"
	recorded 'length == 10001 and all(.covered == "preload")'
	recorded 'map(select((.images | length) == 2 and (.exe | endswith("/nothing")))) | length == 10000'
	small_arenas
}

@test "exit status, output and signals are those of the bare run" {
	n=0
	while read -r script; do
		n=$((n + 1))
		bare=0
		sh -c "$script" >bare.out 2>bare.err <<<"input" || bare=$?
		for options in "" --summary; do
			got=0
			# shellcheck disable=SC2086 # none or one
			"$PORTSHIM" run $options -o "$DIR/s$n$options" -- sh -c "$script" >got.out 2>got.err <<<"input" || got=$?
			echo "$script: $bare, $got $options"
			[ "$got" -eq "$bare" ]
			if [ -z "$options" ]; then
				cmp bare.out got.out
				cmp bare.err got.err
			else
				grep -qxF "$(head -1 bare.out)" got.out
			fi
		done
	done <<-'END'
		echo x; exit 7
		echo x; exit 0
		echo x; exit 255
		echo out; echo err >&2; exit 1
		cat
		echo x; kill -TERM $$
		echo x; kill -KILL $$
		echo x; kill -SEGV $$
		echo x; kill -HUP $$
		echo x; (exit 3); echo $?
		trap 'echo trapped; exit 4' USR1; kill -USR1 $$
	END
	[ "$n" -eq 11 ]
}

@test "--summary passes signals on and says what to type next" {
	start summary "$PORTSHIM" run --summary -o "$SESSION" -- sh -c 'trap "exit 9" TERM; echo ready; read -r x'
	summary=$PID
	ready summary
	kill -TERM "$summary"
	got=0
	wait "$summary" || got=$?
	[ "$got" -eq 9 ]
	cat summary.out summary.err | grep -F "portshim" | grep -F -- "-s $SESSION"
}

@test "plain run leaves no process between: same pid" {
	"$PORTSHIM" run -o "$SESSION" -- sh -c 'echo $$' >pid &
	wait $!
	[ "$(cat pid)" -eq $! ]
}

@test "what cannot be started" {
	run -127 "$PORTSHIM" run -o "$DIR/one" -- "$DIR/no such program"
	echo text >plain
	run -126 "$PORTSHIM" run -o "$DIR/two" -- "$DIR/plain"
	mkdir full
	touch full/file
	run -2 "$PORTSHIM" run -o "$DIR/full" -- true
}
