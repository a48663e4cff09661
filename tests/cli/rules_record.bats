#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What the record says of rules: what was asked for and what was done, and why a bind was refused or does not
# share though a rule meant it to.

# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

setup() {
	common_setup
	{ read -r PORT && read -r OTHER; } < <(free_port 2)
}

teardown() {
	common_teardown
}

# binds ADDRESS…: a program that binds TCP sockets one after the other, says how each ended, and goes on.
binds() {
	cat >binds.py <<-'END'
		import socket, sys
		kept = []
		for address in sys.argv[1:]:
		    host, _, port = address.rpartition(":")
		    s = socket.socket()
		    try:
		        s.bind((host, int(port)))
		        s.listen()
		        print("bound", s.getsockname()[1])
		    except OSError as e:
		        print(e.errno)
		    kept.append(s)
	END
	python3 binds.py "$@"
}

ruled() {
	declare -f binds >binds.sh
	"$PORTSHIM" run -o "$SESSION" "${RULES[@]}" -- bash -c '. ./binds.sh; binds "$@"' - "$@"
}

events() {
	"$PORTSHIM" events -s "$SESSION" "$@"
}

bind_of() {
	events --json | jq -c "select(.event == \"bind\" and .address == \"$1\")"
}

@test "asked and real, and the rule, in ls, JSON and events" {
	RULES=(-r "bind port $PORT -> redirect :$OTHER")
	run -0 ruled "127.0.0.1:$PORT"
	[ "$output" = "bound $PORT" ]
	run -0 "$PORTSHIM" ls -s "$SESSION" --past
	[[ ${lines[0]} == *" ASKED "*" RULE "* ]]
	[[ ${lines[1]} =~ \ 127.0.0.1:$OTHER\ +127.0.0.1:$PORT\ +-r\ #1\  ]]
	"$PORTSHIM" ls -s "$SESSION" --past --json |
		jq -e ".holders | length == 1 and .[0].local == \"127.0.0.1:$OTHER\" and
			.[0].asked == \"127.0.0.1:$PORT\" and .[0].rule == \"-r #1\""
	events --json | jq -es 'map(select(.event == "act")) | length == 1 and
		.[0].action == "redirect" and .[0].call == "bind" and .[0].error == null'
}

@test "no rule: no columns of rules" {
	RULES=(-r "bind port $OTHER -> deny")
	ruled "127.0.0.1:$PORT"
	run -0 "$PORTSHIM" ls -s "$SESSION" --past
	[[ ${lines[0]} != *RULE* ]]
	"$PORTSHIM" ls -s "$SESSION" --past --json | jq -e '.holders | all(.asked == null and .rule == null)'
}

@test "a bind that fails: the holder in the record did not share" {
	RULES=(-r 'bind exe nothing -> pass')
	run -0 ruled "127.0.0.1:$PORT" "127.0.0.1:$PORT"
	[ "${lines[1]}" -eq 98 ]
	run -0 events
	[[ $output == *"taken: 127.0.0.1:$PORT held by "*"; it did not set SO_REUSEPORT"* ]]
	bind_of "127.0.0.1:$PORT" | jq -es '.[1].taken_by == .[1].pid and .[1].taken_now_by == null'
}

@test "a bind that fails: an outsider holds it, or nobody" {
	start_ready outside "$HELPERS/server" "tcp:127.0.0.1:$PORT"
	RULES=(--share)
	run -0 ruled "127.0.0.1:$PORT"
	[ "$output" = 98 ]
	bind_of "127.0.0.1:$PORT" | jq -e ".taken_by == null and .taken_now_by == $PID"
	run -0 events
	[[ $output == *"taken: 127.0.0.1:$PORT held, as of now, by $PID server, which is not in the record"* ]]
	kill "$PID"
	wait "$PID" || true
	run -0 events
	[[ $output == *"taken: by nobody in the record, and by nobody now"* ]]
}

@test "a bind that fails: the holder is in another live session" {
	start_ready other "$PORTSHIM" run "$HELPERS/server" "tcp:127.0.0.1:$PORT"
	RULES=(--share)
	run -0 ruled "127.0.0.1:$PORT"
	[ "$output" = 98 ]
	run -0 events
	[[ $output == *"taken: 127.0.0.1:$PORT held, as of now, by $PID server of session $PORTSHIM_ROOT/"*"; to share, "* ]]
	bind_of "127.0.0.1:$PORT" | jq -e ".taken_now_by == $PID and (.taken_now_session | startswith(\"$PORTSHIM_ROOT/\"))"
}

@test "a bind that a rule moved and that fails: where to, and who holds that" {
	RULES=(--redirect "$PORT=$OTHER")
	start_ready outside "$HELPERS/server" "tcp:127.0.0.1:$OTHER"
	run -0 ruled "127.0.0.1:$PORT"
	[ "$output" = 98 ]
	run -0 events
	[[ $output == *"moved: by --redirect $PORT=$OTHER, to 127.0.0.1:$OTHER"* ]]
	[[ $output == *"taken: 127.0.0.1:$OTHER held, as of now, by $PID server"* ]]
	bind_of "127.0.0.1:$PORT" | jq -e ".moved_to == \"127.0.0.1:$OTHER\" and .taken_now_by == $PID and
		.moved_by == \"--redirect $PORT=$OTHER\" and .taken_by == null and .refused_by == null"
	finish outside "$PID"
	rm -r "$SESSION"
	run -0 ruled "127.0.0.1:$OTHER" "127.0.0.1:$PORT"
	[ "${lines[1]}" = 98 ]
	run -0 events
	[[ $output == *"taken: 127.0.0.1:$OTHER held by "*"; it did not set SO_REUSEPORT"* ]]
	bind_of "127.0.0.1:$PORT" | jq -e '.taken_by == .pid'
	# Rules of no session.
	run -0 env PORTSHIM_RULES="bind port $PORT -> redirect 192.0.2.1:$OTHER" LD_PRELOAD="$LIBRARY" \
		/usr/bin/python3 binds.py "127.0.0.1:$PORT"
	run -0 "$PORTSHIM" events -s "$PORTSHIM_ROOT"/ambient-*
	[[ $output == *"moved: by PORTSHIM_RULES:1, elsewhere"* ]]
}

@test "a bind that a rule refuses as taken: the rule did it, whoever holds the address" {
	RULES=(-r "bind port $PORT -> deny EADDRINUSE")
	run -0 ruled "127.0.0.1:$PORT"
	[ "$output" = 98 ]
	run -0 events
	[[ $output == *"refused: by -r #1"* && $output != *"taken: "* ]]
	bind_of "127.0.0.1:$PORT" | jq -e '.refused_by == "-r #1" and .taken == null and .moved_by == null'
}

@test "a bind that succeeds and does not share" {
	RULES=("--share=$PORT")
	run -0 ruled "127.0.0.1:$PORT" "0.0.0.0:$PORT"
	[ "${lines[1]}" = "bound $PORT" ]
	run -0 events
	[[ $output == *"not shared: beside 127.0.0.1:$PORT held by "* ]]
	bind_of "0.0.0.0:$PORT" | jq -e '.not_shared_with == .pid'
	bind_of "127.0.0.1:$PORT" | jq -e '.not_shared_with == null'
}

@test "a rule that cannot be carried out says so" {
	RULES=(-r "bind port $PORT -> redirect :+65000")
	run -0 ruled "127.0.0.1:$PORT"
	[ "$output" = 99 ]
	events --json | jq -es 'map(select(.event == "act")) | length == 1 and .[0].error == "EADDRNOTAVAIL"'
}

@test "PORTSHIM_RULES that are wrong: said in the record, and the program runs without" {
	run -0 env PORTSHIM_RULES='bind port 70000 -> deny' LD_PRELOAD="$LIBRARY" /usr/bin/python3 -c \
		"import socket; s = socket.socket(); s.bind(('127.0.0.1', $PORT)); print('bound')"
	[ "$output" = bound ]
	"$PORTSHIM" events -s "$PORTSHIM_ROOT"/ambient-* --json |
		jq -es 'map(select(.event == "rules")) | length == 1 and
			.[0].problem == ["PORTSHIM_RULES:1:11: port 70000: not in 0-65535"]'
}

@test "PORTSHIM_RULES hold over an exec with an empty environment" {
	run -0 env PORTSHIM_RULES="bind port $PORT -> redirect :$OTHER" LD_PRELOAD="$LIBRARY" \
		env -i PORTSHIM_ROOT="$PORTSHIM_ROOT" /usr/bin/python3 -c \
		"import socket; s = socket.socket(); s.bind(('127.0.0.1', $PORT)); print(s.getsockname()[1])"
	[ "$output" -eq "$PORT" ]
	"$PORTSHIM" ls -s "$PORTSHIM_ROOT"/ambient-* --past --json |
		jq -e ".holders | length == 1 and .[0].local == \"127.0.0.1:$OTHER\""
}

# What stays close-on-exec though the program clears it, in turn: the listener, a connection, copies of it.
cleared() {
	cat >cleared.py <<-'END'
		import fcntl, os, socket, sys
		listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
		client = socket.create_connection(listener.getsockname())
		connection = listener.accept()[0]
		copy = os.dup2(connection.fileno(), 50, inheritable=True)
		for fd in listener.fileno(), connection.fileno(), copy, fcntl.fcntl(connection, fcntl.F_DUPFD, 60):
		    os.set_inheritable(fd, True)
		    fcntl.ioctl(fd, 0x5450)  # FIONCLEX
		    fcntl.fcntl(fd, fcntl.F_SETFD, 0)
		    print("closes" if fcntl.fcntl(fd, fcntl.F_GETFD) else "stays", end=" ")
	END
	/usr/bin/python3 cleared.py "$PORT"
}

@test "cloexec holds whatever the program clears, on the listener's connections and on copies too" {
	[ "$(cleared)" = "stays stays stays stays " ]
	run -0 "$PORTSHIM" run -o one --cloexec -- /usr/bin/python3 cleared.py "$PORT"
	[ "$output" = "closes closes closes closes " ]
	run -0 "$PORTSHIM" run -o two -r "accept -> cloexec" -- /usr/bin/python3 cleared.py "$PORT"
	[ "$output" = "stays closes closes closes " ]
}

@test "an address without a family, which an IPv4 socket takes for its own" {
	cat >unspec.py <<-'END'
		import ctypes, errno, socket, struct, sys
		libc = ctypes.CDLL(None, use_errno=True)
		kept = []
		for i in range(2):
		    s = socket.socket()
		    kept.append(s)
		    bound = libc.bind(s.fileno(), struct.pack("=HH12x", 0, socket.htons(int(sys.argv[1]))), 16)
		    print(errno.errorcode[ctypes.get_errno()] if bound < 0 else "bound")
	END
	expect() {
		run -0 "$PORTSHIM" run -o "$SESSION" "${RULES[@]}" -- python3 unspec.py "$PORT"
		[ "${lines[*]}" = "$1" ]
		run -0 bind_of "0.0.0.0:$PORT"
		[ "${#lines[@]}" -eq 2 ]
	}
	RULES=()
	expect "bound EADDRINUSE"
	rm -r "$SESSION"
	RULES=(--deny "$PORT")
	expect "EACCES EACCES"
}

@test "send: a datagram's address, connected or not; not that of a stream" {
	cat >send.py <<-'END'
		import errno, socket, sys
		to = ("127.0.0.1", int(sys.argv[1]))
		l = socket.create_server(("127.0.0.1", 0))
		for type in socket.SOCK_DGRAM, socket.SOCK_STREAM:
		    for connected in False, True:
		        s = socket.socket(socket.AF_INET, type)
		        if connected:
		            s.connect(l.getsockname())
		        try:
		            print(s.sendto(b"x", socket.MSG_NOSIGNAL, to))
		        except OSError as e:
		            print(errno.errorcode[e.errno])
		try:
		    socket.socket().sendto(b"x", socket.MSG_FASTOPEN, to)
		except OSError as e:
		    print(errno.errorcode[e.errno])
	END
	run -0 python3 send.py "$PORT"
	[ "${lines[*]}" = "1 1 EPIPE 1 ECONNREFUSED" ]
	run -0 "$PORTSHIM" run -o "$SESSION" -r "send port $PORT -> deny" -- python3 send.py "$PORT"
	[ "${lines[*]}" = "EACCES EACCES EPIPE 1 EACCES" ]
}
