#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# portshim verify: equal where the record is the kernel's, exact rows where it is not, and never a row
# for what is only a race.  Real servers are in verify_load.bats.

# shellcheck disable=SC2030,SC2031,SC2119,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

setup() {
	common_setup
}

teardown() {
	common_teardown
}

# verified STATUS FILTER: verify's status and, of its JSON, a jq filter that must be true.
verified() {
	run --separate-stderr "$PORTSHIM" verify -s "$SESSION" --json
	[ "$status" -eq "$1" ] && jq -e "$2" <<<"$output" >/dev/null && return 0
	echo "exit status $status, not so: $2" >&2
	echo "$output $stderr" >&2
	return 1
}

equal='.differences == [] and .unseen == []'

# The kernel's inode of fd $2 of process $1.
inode() {
	local link
	link=$(readlink "/proc/$1/fd/$2") || return
	link=${link#socket:[}
	echo "${link%]}"
}

# sneak WHAT: $PID, and the variables that the helper tells.
sneak() {
	record sneak "$HELPERS/sneak" "$1"
	ready sneak
	eval "$(sed -nE 's/^([A-Da-t]+) ([0-9]+)$/\1=\2/p' sneak.out)"
}

@test "equal: every kind of socket, and children that were forked" {
	cat >server.py <<-'END'
		import os, socket, sys
		keep = []
		def sock(family, kind, address, listen=False):
		    s = socket.socket(family, kind)
		    s.bind(address)
		    if listen: s.listen()
		    keep.append(s)
		    return s
		tcp = sock(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), True)
		sock(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
		sock(socket.AF_INET, socket.SOCK_DGRAM, ("0.0.0.0", 0))
		sock(socket.AF_UNIX, socket.SOCK_STREAM, "a path", True)
		sock(socket.AF_UNIX, socket.SOCK_DGRAM, "\0abstract\0name")
		if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
		    dual = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
		    sock(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0))
		    keep += [dual, socket.create_connection(("127.0.0.1", dual.getsockname()[1])), dual.accept()[0]]
		keep += [socket.create_connection(tcp.getsockname()), tcp.accept()[0], *socket.socketpair(), socket.socket()]
		children = []
		for i in range(3):
		    here, there = os.pipe()
		    if os.fork() == 0:
		        if i == 1: keep.pop().close()
		        if i == 2: keep.append(tcp.dup())
		        os.close(there)
		        os.read(here, 1)
		        os._exit(0)
		    children.append(there)
		    os.close(here)
		print("ready", flush=True)
		sys.stdin.read(1)
	END
	record server python3 server.py
	ready server
	mapfile -t children < <(children_of "$PID")
	fds=$("$SCRIPTS/proc_sockets" "$PID" "${children[@]}" | wc -l)
	[ "$fds" -gt 40 ]
	verified 0 "$equal and .compared == $fds"
	run "$PORTSHIM" verify -s "$SESSION"
	[ "$status" -eq 0 ]
	[ "$output" = "compared $fds descriptors of 4 processes: equal" ]
	finish server "$PID"
	verified 1 "$equal and .compared == 0"
	[[ $stderr == "portshim: verify: $SESSION: no process of it lives, "* ]]
	run -1 --separate-stderr "$PORTSHIM" verify -s "$SESSION"
	[ "$output" = "compared 0 descriptors of 0 processes: none lives" ]
}

@test "without a live session there is nothing to compare" {
	run -1 --separate-stderr "$PORTSHIM" verify
	[ "$output" = "compared 0 descriptors of 0 processes: none lives" ]
	[ "$stderr" = "portshim: no live session; name one with -s DIR, or see 'portshim sessions'" ]
	run -1 --separate-stderr "$PORTSHIM" verify --json
	[ "$output" = '{"differences":[],"compared":0,"unseen":[]}' ]
}

@test "equal: a port that the kernel chooses after the bind" {
	cat >late.py <<-'END'
		import socket, sys
		s = socket.socket()
		s.setsockopt(socket.IPPROTO_IP, 24, 1) # IP_BIND_ADDRESS_NO_PORT
		s.bind(("127.0.0.1", 0))
		s.listen()
		print(s.getsockname()[1], "ready", sep="\n", flush=True)
		sys.stdin.read(1)
	END
	record late python3 late.py
	ready late
	that "length == 1 and .[0].local == \"127.0.0.1:$(head -1 late.out)\" and .[0].state == \"listen\""
	verified 0 "$equal and .compared == 1"
}

@test "equal: listeners that are one no longer, and those that listen again" {
	cat >ended.py <<-'END'
		import ctypes, socket, sys
		libc = ctypes.CDLL(None)
		def dissolve(s):
		    assert libc.connect(s.fileno(), bytes(16), 16) == 0 # AF_UNSPEC
		def shut(s):
		    s.shutdown(socket.SHUT_RD)
		def chosen(port=0, name=True):
		    s = socket.socket()
		    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		    if name: s.bind(("127.0.0.1", port))
		    s.listen()
		    return s
		free = chosen()
		port = free.getsockname()[1]
		free.close()
		keep = [chosen(port)]
		dissolve(keep[0])
		for end in dissolve, shut:
		    for name in True, False:
		        for again in True, False:
		            s = chosen(name=name)
		            end(s)
		            if again: s.listen()
		            keep.append(s)
		path = socket.socket(socket.AF_UNIX)
		path.bind("path")
		path.listen()
		shut(path)
		print(port, "ready", sep="\n", flush=True)
		print(*(s.getsockname()[1] for s in keep if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)),
		      file=open("ports", "w"), flush=True)
		sys.stdin.read(1)
	END
	record ended python3 ended.py
	ready ended
	wait_for test -s ports
	verified 0 "$equal and .compared == 10"
	that "map(select(.local == \"127.0.0.1:$(head -1 ended.out)\")) | length == 1 and .[0].state == \"bound\""
	that 'map(select(.state == "listen" and .proto == "tcp") | .local | sub(".*:"; "")) | sort ==
		('"\"$(cat ports)\""' | split(" ") | sort) and length == 4'
	that 'map(select(.state == "listen" and .proto == "unix")) | length == 1'
	# What the kernel has given up is nobody'"'"'s.
	that 'map(select(.state == "bound") | .local) | map(select(endswith(":0") | not)) | length == 1'
}

@test "a program that nobody moves behind the record's back" {
	sneak nothing
	verified 0 "$equal and .compared == 2"
}

@test "a copy that was made unseen is the kernel's alone" {
	sneak dup
	# shellcheck disable=SC2154
	verified 1 ".differences == [{pid: $PID, fd: $at, inode: $(inode "$PID" "$at"), side: \"kernel\"}]
		and .compared == 3 and .unseen == []"
	run "$PORTSHIM" verify -s "$SESSION"
	[ "$status" -eq 1 ]
	[[ ${lines[0]} == *PID*COMMAND*FD*INODE*SIDE*WHAT* ]]
	[[ ${lines[1]} == *"$PID"*sneak*"$at"*"$(inode "$PID" "$at")"*kernel*"tcp listen 127.0.0.1:"* ]]
	[ "${lines[2]}" = "compared 3 descriptors of 1 process: 1 differs" ]
}

@test "a descriptor that became another socket unseen is a row of each side" {
	sneak over
	inode_of_b=$(holders | jq ".holders[] | select(.fds == [$B]) | .inode")
	verified 1 ".differences == [
		{pid: $PID, fd: $B, inode: $(inode "$PID" "$B"), side: \"kernel\"},
		{pid: $PID, fd: $B, inode: $inode_of_b, side: \"portshim\"}] and .compared == 2"
	[ "$(inode "$PID" "$A")" = "$(inode "$PID" "$B")" ]
}

@test "a descriptor that was closed unseen is the record's alone" {
	sneak close
	inode_of_a=$(holders | jq ".holders[] | select(.fds == [$A]) | .inode")
	verified 1 ".differences == [{pid: $PID, fd: $A, inode: $inode_of_a, side: \"portshim\"}]"
}

@test "a socket that listens unseen" {
	sneak listen
	verified 1 "(.differences | length) == 2 and all(.differences[]; .pid == $PID and .fd == $B
		and .inode == $(inode "$PID" "$B"))"
	run "$PORTSHIM" verify -s "$SESSION"
	[[ $output == *"kernel   tcp listen 127.0.0.1:"*"portshim tcp bound 127.0.0.1:"* ]]
}

@test "a socket without a name that became another one unseen is known by its cookie" {
	sneak nameless
	verified 1 "(.differences | length) == 3 and all(.differences[]; .pid == $PID)
		and [.differences[] | [.fd, .side, .inode]] == [[$C, \"portshim\", null],
			[$D, \"kernel\", $(inode "$PID" "$D")], [$D, \"portshim\", null]]"
	holders --all | jq -e "all(.holders[] | select(.fds == [$C] or .fds == [$D]); .inode == null)"
}

@test "an accepted connection, whose inode is not recorded, is known by its peer" {
	sneak accepted
	[ "$(inode "$PID" "$C")" = "$(inode "$PID" "$D")" ]
	verified 1 ".differences == [{pid: $PID, fd: $D, inode: $(inode "$PID" "$D"), side: \"kernel\"},
		{pid: $PID, fd: $D, inode: null, side: \"portshim\"}]"
}

@test "a static program is named, and is no difference" {
	record static sh -c "'$HELPERS/static_server' tcp:127.0.0.1:0; true"
	ready static
	static=$(children_of "$PID")
	join sneak "$HELPERS/sneak" nothing
	ready sneak
	verified 0 ".differences == [] and .compared == 2 and (.unseen | length) == 1
		and (.unseen[0] | .pid == $static and (.reason | startswith(\"static: \")))"
	run "$PORTSHIM" verify -s "$SESSION"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "compared 2 descriptors of 2 processes: equal" ]
	[[ $output == *UNSEEN*COMMAND*REASON*"$static"*static_server*static:* ]]
}

@test "a child that no hook saw start" {
	record bare "$HELPERS/sneak" fork
	ready bare
	child=$(sed -n 's/^child //p' bare.out)
	own "$child"
	verified 0 ".differences == [] and .unseen == [{pid: $child, reason: \"no record of it: started without the library\"}]"
	kill -KILL "$child"
	verified 0 "$equal"
}

@test "processes that come and go: equal every time" {
	cat >forks.py <<-'END'
		import os, socket, sys, threading
		s = socket.create_server(("127.0.0.1", 0))
		print("ready", flush=True)
		stop = threading.Event()
		threading.Thread(target=lambda: (sys.stdin.read(1), os._exit(0)), daemon=True).start()
		while True:
		    pid = os.fork()
		    if pid == 0:
		        t = socket.socket()
		        u = s.dup()
		        t.close()
		        os._exit(0)
		    a, b = socket.socketpair()
		    os.waitpid(pid, 0)
		    a.close()
		    b.close()
	END
	record forks python3 forks.py
	ready forks
	join shell sh -c 'while :; do /bin/true; (:); done'
	for ((look = 0; look < 20; look++)); do
		verified 0 '.differences == [] and .compared >= 1'
	done
}

@test "--watch: a line a look, and the last look's status" {
	sneak dup
	start watch "$PORTSHIM" verify -s "$SESSION" --watch
	watch=$PID
	wait_for grep -q 'compared 3 descriptors of 1 process: 1 differs' watch.out
	# Not SIGINT: bash has its background jobs ignore that.
	kill -TERM "$watch"
	STATUS=0
	wait "$watch" || STATUS=$?
	[ "$STATUS" -eq 1 ]
	run ! grep -v 'compared 3 descriptors of 1 process: 1 differs$' watch.out
}

@test "--watch --json: an object a line, the last one of what is there then" {
	sneak dup
	sneak=$PID
	start watch "$PORTSHIM" verify -s "$SESSION" --watch --json
	watch=$PID
	differs() { head -1 watch.out | jq -e ".differences[0].pid == $1 and .compared == 3"; }
	wait_for differs "$sneak"
	finish sneak "$sneak"
	wait_for grep -qx '{"differences":\[\],"compared":0,"unseen":\[\]}' watch.out
	kill -TERM "$watch"
	STATUS=0
	wait "$watch" || STATUS=$?
	[ "$STATUS" -eq 1 ]
	[ ! -s watch.err ]
}

@test "bad usage and bad input are exit status 2" {
	run "$PORTSHIM" verify --nonsense
	[ "$status" -eq 2 ]
	run "$PORTSHIM" verify -s "$DIR/none"
	[ "$status" -eq 2 ]
	run "$PORTSHIM" verify word
	[ "$status" -eq 2 ]
}
