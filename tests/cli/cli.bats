#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The command line itself: options, bad input, exit status, the forms of output, housekeeping.
# shellcheck disable=SC2012,SC2016,SC2028,SC2030,SC2031

bats_require_minimum_version 1.5.0

setup() {
	load common
	common_setup
}

teardown() {
	common_teardown
}

status_of() {
	local status=0
	"$@" || status=$?
	echo "$status"
}

# A server of one TCP port in $SESSION; $PORT.
serve() {
	PORT=$(free_port)
	record server "$HELPERS/server" "tcp:127.0.0.1:$PORT"
	SERVER=$PID
	ready server
}

verbs="run ls tree events sessions prune"

@test "help and version" {
	run "$PORTSHIM" --version
	[ "$status" -eq 0 ]
	[[ $output =~ ^portshim\ [0-9]+\.[0-9]+$ ]]
	run "$PORTSHIM" --help
	[ "$status" -eq 0 ]
	for verb in $verbs; do
		"$PORTSHIM" --help | grep -qE "^  $verb +[a-z]"
		"$PORTSHIM" "$verb" --help >"$DIR/out" 2>"$DIR/err"
		grep -q "^Usage: portshim $verb" "$DIR/out"
		grep -q -- '-h, --help' "$DIR/out"
		[ ! -s "$DIR/err" ]
	done
	[ -z "$(ls "$PORTSHIM_ROOT")" ]
}

@test "unknown verbs and options, arguments missing or too many" {
	fails 2 "no verb; see 'portshim --help'" "$PORTSHIM"
	fails 2 "unknown verb 'lst'" "$PORTSHIM" lst
	fails 2 "unknown option '--lst'" "$PORTSHIM" --lst
	for verb in $verbs; do
		fails 2 "portshim: $verb: unknown option '--foo'; see 'portshim $verb --help'" "$PORTSHIM" "$verb" --foo
		fails 2 "portshim: $verb: unknown option '-X'" "$PORTSHIM" "$verb" -X
		fails 2 "option '--session' needs an argument: DIR" "$PORTSHIM" "$verb" -s
		fails 2 "option '--session' needs an argument: DIR" "$PORTSHIM" "$verb" --session
		fails 2 "option '--help' takes no argument" "$PORTSHIM" "$verb" --help=x
	done
	for verb in ls tree events sessions prune; do
		fails 2 "portshim: $verb: unexpected argument 'x'; see 'portshim $verb --help'" "$PORTSHIM" "$verb" x
		fails 2 "unexpected argument 'x'" "$PORTSHIM" "$verb" -- x
	done
	fails 2 "option '--p' may mean several" "$PORTSHIM" ls --p
	fails 2 "portshim: run: no CMD to run" "$PORTSHIM" run
	fails 2 "portshim: run: no CMD to run" "$PORTSHIM" run --
	fails 2 "give one of the two" "$PORTSHIM" run -o x -s y true
	[ -z "$(ls "$PORTSHIM_ROOT")" ]
}

@test "ls: bad filters" {
	for port in 70000 65536 -1 '' x 80x 1,,2 ',' 80- -80 0x50 ' 80' 99999999999999999999 1-2-3; do
		fails 2 "portshim: ls: port " "$PORTSHIM" ls --port="$port"
	done
	fails 2 "port 70000: not in 0-65535" "$PORTSHIM" ls --port 80,70000
	fails 2 "port 90-80: its end comes before its start" "$PORTSHIM" ls --port 90-80
	for pid in 0 -1 x '' 1,x 99999999999; do
		fails 2 "portshim: ls: pid " "$PORTSHIM" ls --pid="$pid"
	done
	fails 2 "portshim: ls: proto tpc: " "$PORTSHIM" ls --proto tcp,tpc
	fails 2 "portshim: ls: state listening: not one of listen, " "$PORTSHIM" ls --state listening
}

@test "directories that are no session" {
	mkdir empty
	echo text >file
	mkdir -m 711 corrupt other open
	echo 'no session at all' >corrupt/session
	echo 'portshim-session 9999' >other/session
	chmod 600 corrupt/session other/session
	"$PORTSHIM" run -o "$DIR/open" true
	chmod 644 open/session
	for verb in ls tree events sessions prune "run"; do
		argument=()
		if [ "$verb" = run ]; then argument=(true); fi
		fails 2 "$DIR/none: no such directory" "$PORTSHIM" "$verb" -s "$DIR/none" "${argument[@]}"
		fails 2 "$DIR/empty: not a session" "$PORTSHIM" "$verb" -s "$DIR/empty" "${argument[@]}"
		fails 2 "$DIR/file: not a directory" "$PORTSHIM" "$verb" -s "$DIR/file" "${argument[@]}"
		fails 2 "$DIR/corrupt: its 'session' file is corrupt" "$PORTSHIM" "$verb" -s "$DIR/corrupt" "${argument[@]}"
		[ "$verb" = prune ] ||
			fails 2 "$DIR/other: made by another version" "$PORTSHIM" "$verb" -s "$DIR/other" "${argument[@]}"
		fails 2 "$DIR/open: belongs to someone else or is open to others" \
			"$PORTSHIM" "$verb" -s "$DIR/open" "${argument[@]}"
	done
	[ -e empty ] && [ -e file ] && [ -e corrupt/session ] && [ -e other/session ] && [ -e open/session ]
}

# shellcheck disable=SC2153 # common_setup() sets it
@test "another user's session" {
	need_root
	serve
	other=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	tool=$DIR/portshim
	cp "$PORTSHIM" "$tool"
	cp "$LIBRARY" "$HELPERS/server" "$DIR"
	fails 2 "$SESSION: may not be read; run as its owner or as root" "${other[@]}" "$tool" ls -s "$SESSION"
	fails 2 "may not be read" "${other[@]}" "$tool" run -s "$SESSION" true
	fails 2 "may not be read" "${other[@]}" "$tool" prune -s "$SESSION"

	mkdir -m 711 theirs
	chown 65534:65534 theirs
	start theirs "${other[@]}" env PORTSHIM_ROOT="$DIR/theirs" "$tool" run "$DIR/server" tcp:127.0.0.1:0
	ready theirs
	[ "$("$PORTSHIM" ls -s "$DIR"/theirs/* --json | jq '.holders | length')" -eq 1 ]
	PORTSHIM_ROOT=$DIR/theirs "$PORTSHIM" sessions | grep -q nobody
}

@test "without a live session" {
	run -1 --separate-stderr "$PORTSHIM" ls
	[[ $output == "PID COMMAND FDS PROTO LOCAL STATE HOW FROM SINCE ACCEPTS" ]]
	[[ $stderr == "portshim: no live session; name one with -s DIR, or see 'portshim sessions'" ]]
	run -1 --separate-stderr "$PORTSHIM" ls --json
	jq -e '.holders == []' <<<"$output"
	run -1 --separate-stderr "$PORTSHIM" tree --json
	jq -e '.processes == []' <<<"$output"
	run -1 --separate-stderr "$PORTSHIM" events
	[ -z "$output" ]
	run -1 --separate-stderr "$PORTSHIM" events --follow
	[ -z "$output" ]
	run -1 --separate-stderr "$PORTSHIM" sessions
	[ "${#lines[@]}" -eq 1 ]
	run -0 "$PORTSHIM" prune
	[ -z "$output" ]
}

@test "ls: the live sessions, one, the ended" {
	start one "$PORTSHIM" run "$HELPERS/server" tcp:127.0.0.1:0
	start two "$PORTSHIM" run "$HELPERS/server" udp:127.0.0.1:0
	ready one
	ready two
	[ "$("$PORTSHIM" ls --json | jq -c '[.holders[].proto] | sort')" = '["tcp","udp"]' ]
	[ "$("$PORTSHIM" ls | wc -l)" -eq 3 ]
	"$PORTSHIM" sessions --json | jq -e '.sessions | length == 2 and all(.live == 1 and .processes == 1)'
	finish one "${OWN[0]}"
	[ "$("$PORTSHIM" ls --json | jq -c '[.holders[].proto]')" = '["udp"]' ]
	ended=$("$PORTSHIM" sessions --json | jq -r '.sessions[] | select(.live == 0).session')
	run -1 --separate-stderr "$PORTSHIM" ls -s "$ended"
	[ "${#lines[@]}" -eq 1 ]
	[ -z "$stderr" ]
	"$PORTSHIM" ls -s "$ended" --past --json |
		jq -e '.holders | length == 1 and all(.state == "ended" and .fds == [] and .live == false and .until != null)'
	"$PORTSHIM" ls -s "$ended" --state ended --json | jq -e '.holders | length == 1'
}

@test "--past without a session named: ended ones too" {
	start one "$PORTSHIM" run "$HELPERS/server" tcp:127.0.0.1:0
	one=$PID
	ready one
	finish one "$one"
	ended=$(ls -d "$PORTSHIM_ROOT"/*)
	run -1 --separate-stderr "$PORTSHIM" ls
	[[ $stderr == "portshim: no live session; 'portshim ls --past' and "* ]]
	run -1 --separate-stderr "$PORTSHIM" events
	[ "$stderr" = "portshim: no live session; 'portshim events -s $ended' shows the newest that has ended" ]
	pasts() {
		run -0 --separate-stderr "$PORTSHIM" ls --past --json
		jq -e ".holders | length == 1 and (.[0] | .pid == $one and .live == false)" <<<"$output"
		[ -z "$stderr" ]
		"$PORTSHIM" ls --state ended --json | jq -e ".holders | map(.pid) == [$one]"
		"$PORTSHIM" tree --past --json | jq -e ".processes | any(.pid == $one and (.live | not) and (.sockets | length == 1))"
	}
	pasts
	# Beside live ones just so.
	start two "$PORTSHIM" run "$HELPERS/server" udp:127.0.0.1:0
	ready two
	pasts
	"$PORTSHIM" ls --json | jq -e ".holders | map(.pid) == [$PID]"
	# What another boot stamped has no place in this one's order.
	sed -i 's/^boot .*/boot another/' "$ended/session"
	chmod 600 "$ended/session"
	run -1 "$PORTSHIM" ls --past
}

@test "ls --json: keys, their order and kinds" {
	serve
	keys='["process","pid","start","command","fds","inode","cookie","proto","type","local","asked","rule","state","how","from","from_pid","since","until","live","accepts","empty_accepts"]'
	[ "$(holders | jq -c '.holders[0] | keys_unsorted')" = "$keys" ]
	that "length == 1 and (.[0] | .pid == $SERVER and .command == \"server\" and .proto == \"tcp\" and
		.type == \"stream\" and .local == \"127.0.0.1:$PORT\" and .state == \"listen\" and .how == \"bound\" and
		.from == null and .from_pid == null and .asked == null and .rule == null and .until == null and
		.live == true and .accepts == 0 and (.fds | length == 1) and .process > 0 and .process < 9007199254740992)"
	that "all(.since | test(\"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z\$\"))"
	[ "$(holders | jq '.holders[0].start')" = "$(sed 's/.*) //' "/proc/$SERVER/stat" | cut -d' ' -f20)" ]
}

@test "ls: the table" {
	serve
	run -0 "$PORTSHIM" ls -s "$SESSION"
	[[ ${lines[0]} =~ ^\ *PID\ COMMAND\ FDS\ PROTO\ LOCAL\ +STATE\ +HOW\ +FROM\ SINCE\ +ACCEPTS$ ]]
	[[ ${lines[1]} =~ ^\ *$SERVER\ server\ +[0-9]+\ +tcp\ +127.0.0.1:$PORT\ listen\ bound\ +-\ [0-9:]{8}\ +0$ ]]
}

@test "ls: filters" {
	mapfile -t ports < <(free_port 2)
	record server "$HELPERS/server" "tcp:127.0.0.1:${ports[0]}" "udp:127.0.0.1:${ports[1]}" "unix:$DIR/sock"
	server=$PID
	ready server
	that "length == 3"
	that "length == 1" --port "${ports[0]}"
	that "length == 2" --port "${ports[0]},${ports[1]}"
	that "length == 2" --port 1-65535
	that "length == 1 and .[0].proto == \"udp\"" --proto udp
	that "length == 2" --proto udp,unix
	that "length == 2" --proto udp --proto unix
	that "length == 1 and .[0].proto == \"udp\"" --state bound
	that "length == 3" --pid "$server"
	that "length == 0" --pid 1
	run -1 "$PORTSHIM" ls -s "$SESSION" --port 0
	# By port; what has none comes last.
	[ "$(holders | jq -r '.holders[-1].local')" = "$DIR/sock" ]
	holders --proto tcp,udp | jq -e '[.holders[].local | split(":")[1] | tonumber] | . == sort'
}

@test "ls: names that are not text" {
	record server "$HELPERS/server" $'abstract:a\xff\e[31m"\nb'
	ready server
	that '.[0].local == "@a\u00ff\u001b[31m\"\nb"'
	run -0 "$PORTSHIM" ls -s "$SESSION"
	[ "${#lines[@]}" -eq 2 ]
	[[ $output != *$'\e'* ]]
	run -0 "$PORTSHIM" events -s "$SESSION"
	[[ $output == *'bind('*'\xff\x1b[31m\"\x0ab"'* ]]
}

@test "a long table is laid out as a short one" {
	record server /usr/bin/python3 -c 'import socket
held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(600)]
for s in held: s.bind(("127.0.0.1", 0))
print("ready", flush=True)
input()'
	ready server
	"$PORTSHIM" ls -s "$SESSION" >long
	[ "$(wc -l <long)" -eq 601 ]
	# Part of it, which libsmartcols lays out: the same up to the widths of columns.
	last=$(holders | jq -r '.holders[300].local | split(":")[1]')
	diff <(head -n 302 long | tr -s ' ') <("$PORTSHIM" ls -s "$SESSION" --port "0-$last" | tr -s ' ')
	[ "$(awk '{ print index($0, "127.0.0.1:") }' <(tail -n +2 long) | sort -u | wc -l)" -eq 1 ]
	run -1 grep ' $' long
}

@test "tree" {
	port=$(free_port)
	record shell bash -c "\"$HELPERS/server\" tcp:127.0.0.1:$port <&0 & wait"
	ready shell
	run -0 "$PORTSHIM" tree -s "$SESSION"
	[[ ${lines[0]} == COMMAND*PID*STATE*SINCE*SEEN*PORTS ]]
	[[ ${lines[1]} == bash\ * ]]
	[[ ${lines[2]} == *server\ *"127.0.0.1:$port tcp bound" ]]
	"$PORTSHIM" tree -s "$SESSION" --json | jq -e ".processes | length == 2 and .[1].parent == .[0].process and
		.[0].parent == null and .[1].argv[1] == \"tcp:127.0.0.1:$port\" and (.[1].argv | length == 2) and
		all(.live) and .[1].sockets == [{local: \"127.0.0.1:$port\", proto: \"tcp\", fds: [3], how: \"bound\", state: \"listen\"}]"
	children_of "$PID" >pids
	finish shell "$PID"
	run -1 "$PORTSHIM" tree -s "$SESSION"
	"$PORTSHIM" tree -s "$SESSION" --past --json |
		jq -e ".processes | length == 2 and .[1].exit == 0 and (.[1].sockets | length == 1) and .[1].pid == $(cat pids)"
}

@test "events" {
	serve
	run -0 "$PORTSHIM" events -s "$SESSION"
	[[ $output =~ [0-9:]{8}\.[0-9]{6}\ +$SERVER\ server\ bind\(3,\ 127.0.0.1:$PORT\)\ =\ 0 ]]
	[[ $output == *"listen(3, backlog="*") = 0"* ]]
	[[ $output != *cookie=* ]]
	"$PORTSHIM" events -s "$SESSION" -v | grep -q 'bind(3, cookie=0x'
	"$PORTSHIM" events -s "$SESSION" --json | jq -se "map(select(.event == \"bind\")) | length == 1 and
		(.[0] | .pid == $SERVER and .fd == 3 and .error == null and .flags == [] and .address == \"127.0.0.1:$PORT\" and
		(.cookie | type == \"number\"))"
	start second "$PORTSHIM" run -s "$SESSION" "$HELPERS/server" --accept "tcp:127.0.0.1:$PORT"
	wait_for bash -c "'$PORTSHIM' events -s '$SESSION' | grep -qF 'bind(3, 127.0.0.1:$PORT) = -1 EADDRINUSE (Address already in use)'"
	"$PORTSHIM" events -s "$SESSION" --json | jq -se 'map(select(.error == "EADDRINUSE")) | length == 1'
}

@test "events --follow: from before the first process to behind the last" {
	"$PORTSHIM" run -o "$SESSION" ./nothing-there || [ $? -eq 127 ]
	"$PORTSHIM" events --follow -s "$SESSION" >followed 3>&- &
	follower=$!
	own "$follower"
	join server "$HELPERS/server" tcp:127.0.0.1:0
	server=$PID
	ready server
	wait_for grep -q 'server listen(' followed
	kill -0 "$follower"
	finish server "$server"
	wait "$follower"
	diff <(cut -d' ' -f2- followed) <("$PORTSHIM" events -s "$SESSION" | cut -d' ' -f2-)
}

@test "accepts of two sessions read as one, and an end to following where some were counted" {
	cat >server.py <<-'END'
		import socket, sys
		listener = socket.create_server(("127.0.0.1", 0))
		for i in range(int(sys.argv[1])):
		    client = socket.create_connection(listener.getsockname())
		    listener.accept()[0].close()
		    client.close()
		print("ready", flush=True)
		sys.stdin.read(1)
	END
	start one "$PORTSHIM" run -- python3 server.py 40
	one=$PID
	start two "$PORTSHIM" run -- python3 server.py 7
	two=$PID
	ready one
	ready two
	"$PORTSHIM" ls --json | jq -e "[.holders[] | {(.pid | tostring): .accepts}] | add == {\"$one\": 40, \"$two\": 7}"
	finish one "$one"
	finish two "$two"
	for session in "$PORTSHIM_ROOT"/*/; do
		timeout 10 "$PORTSHIM" events --follow -v -s "$session" >followed
		[ "$(grep -c ' count(' followed)" -eq 1 ]
	done
}

@test "events --follow: signals, and a reader that has gone" {
	serve
	for signal in INT TERM; do
		env --default-signal "$PORTSHIM" events --follow --json -s "$SESSION" >followed 2>err 3>&- &
		follower=$!
		own "$follower"
		wait_for grep -q '"listen"' followed
		kill -"$signal" "$follower"
		wait "$follower"
		[ ! -s err ]
	done
	timeout 10 "$PORTSHIM" events --follow -s "$SESSION" 2>err | head -n 1 | grep -q start
	[ ! -s err ]
}

@test "events --follow: a session that is removed is named, and one of many is no loss" {
	start one "$PORTSHIM" run -o "$PORTSHIM_ROOT/one" "$HELPERS/server" tcp:127.0.0.1:0
	one=$PID
	ready one
	start alone "$PORTSHIM" events --follow
	alone=$PID
	wait_for grep -q 'server listen(' alone.out
	start two "$PORTSHIM" run -o "$PORTSHIM_ROOT/two" "$HELPERS/server" udp:127.0.0.1:0
	two=$PID
	ready two
	start both "$PORTSHIM" events --follow
	both=$PID
	wait_for grep -q " $two server bind(" both.out
	wait_for grep -q 'server listen(' both.out
	rm -r "$PORTSHIM_ROOT/one"
	status=0
	wait "$alone" || status=$?
	[ "$status" -eq 2 ]
	[[ $(cat alone.err) == "portshim: events: $PORTSHIM_ROOT/one: no such directory; "* ]]
	finish one "$one"
	finish two "$two"
	wait "$both"
	grep -q " $two server exit(status=0)" both.out
	[ ! -s both.err ]
}

@test "run: the same process, its descriptors, its environment" {
	sh -c 'echo $$; exec "$0" run -o "$1" -- sh -c "echo \$\$"' "$PORTSHIM" "$SESSION" >pids
	[ "$(sort -u pids | wc -l)" -eq 1 ]
	ls /proc/self/fd >bare
	"$PORTSHIM" run ls /proc/self/fd >out
	diff bare out
	[ "$("$PORTSHIM" run sh -c 'echo "$LD_PRELOAD"')" = "$LIBRARY" ]
	[ "$(LD_PRELOAD=$LIBRARY "$PORTSHIM" run sh -c 'echo "$LD_PRELOAD"')" = "$LIBRARY" ]
	cp "$LIBRARY" "$DIR/other.so"
	for list in "$DIR/other.so" "$DIR/other.so:$LIBRARY" "$LIBRARY $DIR/other.so" ":$DIR/other.so: "; do
		[ "$(LD_PRELOAD=$list "$PORTSHIM" run sh -c 'echo "$LD_PRELOAD"' 2>/dev/null)" = "$LIBRARY:$DIR/other.so" ]
	done
	mkdir -p a/b
	(cd a && "$PORTSHIM" run -o b/../s sh -c 'echo "$PORTSHIM_SESSION"' >../said)
	[ "$(cat said)" = "$DIR/a/s" ]
}

@test "run: CMD keeps its own options and its status" {
	[ "$("$PORTSHIM" run printf '%s ' -o x --summary -s)" = "-o x --summary -s " ]
	[ "$("$PORTSHIM" run -- printf '%s' --help)" = "--help" ]
	for option in -- --summary; do
		[ "$(status_of "$PORTSHIM" run "$option" sh -c 'exit 7' | tail -n 1)" -eq 7 ]
		[ "$(status_of "$PORTSHIM" run "$option" sh -c 'kill -TERM $$' | tail -n 1)" -eq 143 ]
		[ "$(status_of "$PORTSHIM" run "$option" sh -c 'ulimit -c 0; kill -SEGV $$' | tail -n 1)" -eq 139 ]
		fails 127 "portshim: run: ./none: no such program" "$PORTSHIM" run "$option" ./none
		fails 127 "portshim: run: portshim-none: no such program" "$PORTSHIM" run "$option" portshim-none
		fails 126 "portshim: run: $DIR: Permission denied" "$PORTSHIM" run "$option" "$DIR"
	done
	PATH=$DIR:$PATH
	printf '#!/bin/sh\necho mine\n' >"$DIR/mine"
	chmod 755 "$DIR/mine"
	[ "$("$PORTSHIM" run mine)" = mine ]
}

@test "run: sessions that cannot be made or were not needed" {
	mkdir full
	touch full/file
	fails 2 "$DIR/full: not empty" "$PORTSHIM" run -o "$DIR/full" true
	fails 2 "/proc/portshim: " "$PORTSHIM" run -o /proc/portshim true
	"$PORTSHIM" run -o "$SESSION" true
	fails 2 "$SESSION: not empty; name a new directory, or join the session in it with -s" \
		"$PORTSHIM" run -o "$SESSION" true
	# One that nobody came to live in is not left behind.
	fails 127 "no such program" "$PORTSHIM" run portshim-none
	[ -z "$(ls "$PORTSHIM_ROOT")" ]
}

@test "run: programs that will not be seen, a library that cannot be named" {
	"$PORTSHIM" run "$HELPERS/static_server" tcp:127.0.0.1:0 </dev/null >out 2>err
	grep -qx ready out
	[ "$(wc -l <err)" -eq 1 ]
	grep -q "^portshim: $HELPERS/static_server will not be seen: static: .*; it runs all the same$" err
	mkdir 'a b' alone
	cp "$PORTSHIM" "$LIBRARY" 'a b'
	fails 125 "LD_PRELOAD cannot name a path with a blank or colon" 'a b/portshim' run true
}

@test "run --summary: the table, and what to type next" {
	"$PORTSHIM" run --summary sh -c 'echo | "$1" tcp:127.0.0.1:0; echo said' sh "$HELPERS/server" >said 2>out
	# CMD's output is CMD's alone, as for a pipe.
	[ "$(tail -n 1 said)" = said ]
	run -1 grep -E 'portshim|PID' said
	grep -qE '^ *[0-9]+ server +- +tcp +127.0.0.1:[0-9]+ ended bound ' out
	command=$(tail -n 1 out)
	[[ $command == "portshim ls -s $PORTSHIM_ROOT/"*" --past" ]]
	diff <(PATH=$BUILD:$PATH bash -c "$command") <(sed -n '/^ *PID/,/^$/p' out | sed '$d')
	"$PORTSHIM" run -o "$DIR/it's here" --summary true 2>&1 >said | tail -n 1 >out
	[ ! -s said ]
	diff out <(echo "portshim ls -s '$DIR/it'\\''s here' --past")
}

@test "run --summary: signals reach CMD, and only it decides" {
	for signal in HUP INT QUIT TERM USR1 USR2; do
		start summary env --default-signal "$PORTSHIM" run --summary bash -c \
			"trap 'exit 3' $signal; echo ready; while :; do read -rt 1 || true; done"
		ready summary
		kill -"$signal" "$PID"
		status=0
		wait "$PID" || status=$?
		[ "$status" -eq 3 ]
	done
	start summary "$PORTSHIM" run --summary bash -c 'echo ready; read -r; exit 4'
	ready summary
	kill -TSTP "$PID"
	wait_for grep -q '^State:.T' "/proc/$PID/status"
	child=$(children_of "$PID")
	grep -q '^State:.T' "/proc/$child/status"
	kill -CONT "$PID"
	wait_for grep -q '^State:.S' "/proc/$child/status"
	status=0
	finish summary "$PID" || status=$?
	[ "$status" -eq 4 ]
}

@test "run --summary: CMD stopped and continued by itself, or not stopping" {
	start summary "$PORTSHIM" run --summary sh -c 'kill -STOP $$; echo resumed; exit 4'
	wait_for children_of "$PID"
	child=$(children_of "$PID")
	wait_for grep -q '^State:.T' "/proc/$child/status"
	kill -CONT "$child"
	wait_for gone "$PID"
	status=0
	wait "$PID" || status=$?
	[ "$status" -eq 4 ]
	[ "$(cat summary.out)" = resumed ]
	# What CMD makes of it counts, and what was wanted once is over when it goes on.
	start summary "$PORTSHIM" run --summary bash -c "trap 'echo asked' TSTP; echo ready; while ! read -rt 0.1; do :; done"
	ready summary
	kill -TSTP "$PID"
	wait_for grep -qx asked summary.out
	grep -q '^State:.S' "/proc/$PID/status"
	finish summary "$PID"
}

@test "run --summary: dispositions and masks are CMD's as they were the caller's" {
	env --ignore-signal=HUP --ignore-signal=CHLD --block-signal=USR1 grep -E '^Sig(Blk|Ign)' /proc/self/status >bare
	for option in -- --summary; do
		env --ignore-signal=HUP --ignore-signal=CHLD --block-signal=USR1 \
			"$PORTSHIM" run "$option" grep -E '^Sig(Blk|Ign)' /proc/self/status >out
		diff bare <(head -n 2 out)
	done
}

@test "run: old sessions are tidied away, live ones never" {
	start live "$PORTSHIM" run "$HELPERS/server" tcp:127.0.0.1:0
	ready live
	for ((i = 0; i < 20; i++)); do "$PORTSHIM" run true; done
	[ "$(ls "$PORTSHIM_ROOT" | wc -l)" -eq 21 ] # too young
	for session in "$PORTSHIM_ROOT"/*; do
		sed -i -E 's/^(created ).*/\1'"$(date -d '2 hours ago' +%s%N)/" "$session/session"
		chmod 600 "$session/session"
	done
	"$PORTSHIM" run true
	[ "$(ls "$PORTSHIM_ROOT" | wc -l)" -le 18 ]
	[ "$("$PORTSHIM" ls --json | jq '.holders | length')" -eq 1 ]
}

@test "sessions and prune" {
	serve
	"$PORTSHIM" run true
	ended=$(ls -d "$PORTSHIM_ROOT"/*)
	"$PORTSHIM" sessions --json | jq -e ".sessions | length == 1 and (.[0] | .session == \"$ended\" and .live == 0 and
		.processes == 1 and .records > 0 and .size > 0 and .dropped == 0 and .user == \"$(id -un)\")"
	"$PORTSHIM" sessions -s "$SESSION" --json | jq -e '.sessions | length == 1 and .[0].live == 1'
	fails 1 "portshim: prune: $SESSION: process $SERVER lives in it" "$PORTSHIM" prune -s "$SESSION"
	[ "$("$PORTSHIM" prune)" = "removed $ended" ]
	[ -z "$(ls "$PORTSHIM_ROOT")" ]
	that "length == 1"
	finish server "$SERVER"
	touch "$SESSION/mine"
	fails 2 "$SESSION: holds 'mine', which is not portshim's" "$PORTSHIM" prune -s "$SESSION"
	[ -e "$SESSION/session" ]
	rm "$SESSION/mine"
	[ "$("$PORTSHIM" prune -s "$SESSION")" = "removed $SESSION" ]
	[ ! -e "$SESSION" ]
}

# As another version would leave it: the number is the session's own, and nothing else can be relied on.
age() {
	sed -i -E '1s/ [0-9]+$/ 9999/' "$1/session"
	chmod 600 "$1/session"
	touch -d '2 hours ago' "$1/session"
}

@test "sessions of another version: removed once nobody has them mapped, and no failure of the others" {
	"$PORTSHIM" run true
	ended=$(ls -d "$PORTSHIM_ROOT"/*)
	start live "$PORTSHIM" run "$HELPERS/server" tcp:127.0.0.1:0
	ready live
	server=$PID
	live=$(find "$PORTSHIM_ROOT" -mindepth 1 -type d ! -path "$ended")
	age "$ended"
	age "$live"
	run -1 --separate-stderr "$PORTSHIM" sessions
	[ "${#lines[@]}" -eq 1 ]
	[[ $stderr == *"portshim: sessions: $ended: made by another version of portshim; "*"'portshim prune'"* ]]
	run -0 --separate-stderr "$PORTSHIM" prune
	[ "$output" = "removed $ended, made by another version" ]
	[[ $stderr == "portshim: prune: $live: made by another version of portshim, and process $server lives in it; end that first" ]]
	[ ! -e "$ended" ]
	fails 1 "process $server lives in it" "$PORTSHIM" prune -s "$live"
	[ -e "$live/session" ]
	finish live "$server"
	run -0 --separate-stderr "$PORTSHIM" prune -s "$live"
	[ "$output" = "removed $live, made by another version" ]
	[ -z "$(ls "$PORTSHIM_ROOT")" ]
}

@test "run: old sessions of another version are tidied away, live ones never" {
	start live "$PORTSHIM" run "$HELPERS/server" tcp:127.0.0.1:0
	ready live
	live=$(ls -d "$PORTSHIM_ROOT"/*)
	"$PORTSHIM" run -o "$PORTSHIM_ROOT/old" true
	"$PORTSHIM" run -o "$PORTSHIM_ROOT/young" true
	for session in "$live" "$PORTSHIM_ROOT"/{old,young}; do age "$session"; done
	touch -d '8 days ago' "$live"/* "$PORTSHIM_ROOT"/old/*
	"$PORTSHIM" run true
	[ -e "$live/session" ]
	[ -e "$PORTSHIM_ROOT/young/session" ]
	[ ! -e "$PORTSHIM_ROOT/old" ]
}

@test "a bare program is recorded beside the ambient session of another version" {
	bind=(env LD_PRELOAD="$LIBRARY" python3 -c 'import socket; socket.socket().bind(("127.0.0.1", 0))')
	"${bind[@]}"
	ours=$(ls -d "$PORTSHIM_ROOT"/ambient-*)
	for session in "$PORTSHIM_ROOT"/ambient "$PORTSHIM_ROOT/ambient-9999"; do
		cp -a "$ours" "$session"
		age "$session"
	done
	rm -r "$ours"
	"${bind[@]}"
	"$PORTSHIM" events -s "$ours" | grep -q 'bind('
}

@test "output that finds no room" {
	serve
	for verb in "ls" "ls --json" "tree" "tree --json" "sessions" "events" "events --json"; do
		status=0
		# shellcheck disable=SC2086
		"$PORTSHIM" $verb -s "$SESSION" 2>err >/dev/full || status=$?
		[ "$status" -eq 2 ]
		[ "$(cat err)" = "portshim: ${verb%% *}: write: No space left on device" ]
	done
	status=0
	"$PORTSHIM" run --summary sh -c 'exit 5' 2>/dev/full || status=$?
	[ "$status" -eq 5 ]
}

@test "the manual is well-formed and knows every verb and option" {
	page=$TOP/tools/man/portshim.1
	if command -v man >/dev/null; then [ -z "$(man --warnings -l "$page" 2>&1 >/dev/null)" ]; fi
	for verb in $verbs; do
		grep -q "^.SS $verb\$" "$page"
		for option in $("$PORTSHIM" "$verb" --help | grep -oE -- '^ +(-.,)? +--[a-z]+' | grep -oE -- '--[a-z]+'); do
			grep -qF -- "${option//-/\\-}" "$page" || {
				echo "$verb $option" >&2
				return 1
			}
		done
	done
}

@test "a log that is full is said, never silent" {
	unshare -m true || skip "needs a mount namespace"
	export PORTSHIM
	unshare -m bash -c '
		mount -t tmpfs -o size=2m small "$1" &&
			"$PORTSHIM" run -o "$1/s" -- bash -c "for i in {1..300}; do /bin/true; done" &&
			"$PORTSHIM" ls -s "$1/s"' sh "$BATS_TEST_TMPDIR" >out 2>err || true
	grep -q "incomplete: the log had no room" err
}
