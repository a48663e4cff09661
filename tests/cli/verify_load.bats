#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# portshim verify on each of the real servers while it works under load, and while it does what moves its
# descriptors: equal every time.

# shellcheck disable=SC2030,SC2031,SC2119,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

LOOKS=20

setup() {
	common_setup
	PORT=$(free_port)
	THERE=()
	PYTHON=$(python3 -c 'import sys; print(sys.executable)')
}

teardown() {
	common_teardown
}

# looks SOCKETS: no difference, ever.
looks() {
	run --separate-stderr "$PORTSHIM" verify -s "$SESSION" --json
	[ "$status" -eq 0 ] && jq -e ".differences == [] and .compared >= $1" <<<"$output" >/dev/null && return 0
	echo "exit status $status: $output $stderr" >&2
	return 1
}

# The same, and nobody unseen.  Only the records of connections may be overwritten; and where the machine does
# not come to start a program for a second, it is named, and looked at again.
equal() {
	local tries
	for ((tries = 0; tries < 3; tries++)); do
		looks "$1" || return
		jq -e 'all(.unseen[]; .reason | endswith("their records were overwritten"))' <<<"$output" >/dev/null &&
			return 0
	done
	echo "unseen: $output" >&2
	return 1
}

# server COMMAND…: recorded, until it listens; $SERVER.
server() {
	record server "$@"
	SERVER=$PID
	wait_for listening "$PORT"
}

# under_load SOCKETS REQUEST… [-- COMMAND…]: looks while helpers/load asks, in the same session, so that its
# side is looked at too; the command in the middle of it.  There are at least so many sockets, always.
under_load() {
	local sockets=$1 load=() look
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		load+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	start load "${THERE[@]}" "$PORTSHIM" run -s "$SESSION" -- "$PYTHON" "$SCRIPTS/load" "${load[@]}"
	LOAD=$PID
	ready load
	for ((look = 0; look < LOOKS; look++)); do
		if [ "$look" -eq $((LOOKS / 2)) ] && [ $# -gt 0 ]; then "$@"; fi
		equal "$sockets"
	done
	finish load "$LOAD"
	cat load.out
	[ "$(sed -n 's/^answers //p' load.out)" -gt "$LOOKS" ]
	equal "$sockets"
}

# Nobody may have been turned away.
none_failed() {
	grep -qx 'failures 0' load.out
}

# ends_well SIGNAL: and then nothing is left to compare.
ends_well() {
	kill "-$1" "$SERVER"
	wait "$SERVER" || true
	wait_for gone "$SERVER"
	"$PORTSHIM" verify -s "$SESSION" --json | jq -e '.compared == 0 and .differences == []'
}

GET='GET / HTTP/1.1\r\nHost: x\r\n\r\n'
DNS='\x12\x34\x01\0\0\1\0\0\0\0\0\0\4host\4test\0\0\1\0\1'

nginx_server() {
	cat >nginx.conf <<-END
		daemon off;
		worker_processes 2;
		pid $DIR/nginx.pid;
		error_log stderr;
		events { worker_connections 256; }
		http { access_log off; server { listen 127.0.0.1:$PORT; location / { return 200 "hello\n"; } } }
	END
	server nginx -e stderr -p "$DIR" -c "$DIR/nginx.conf"
}

@test "nginx, kept connections" {
	nginx_server
	under_load 3 again tcp "$PORT" "$GET"
	none_failed
	ends_well QUIT
}

@test "nginx, reloaded in the middle" {
	nginx_server
	under_load 3 tcp "$PORT" "$GET" -- kill -HUP "$SERVER"
	none_failed
	# Looking again and again hides nothing.
	join sneak "$HELPERS/sneak" dup
	sneak=$PID
	ready sneak
	join load "$PYTHON" "$SCRIPTS/load" tcp "$PORT" "$GET"
	run -1 "$PORTSHIM" verify -s "$SESSION" --json
	jq -e "(.differences | length) == 1 and .differences[0].pid == $sneak" <<<"$output"
	finish sneak "$sneak"
	finish load "$PID"
	ends_well QUIT
}

@test "redis, whose forked child saves in the middle" {
	server redis-server --bind 127.0.0.1 --port "$PORT" --save '' --dir "$DIR"
	under_load 1 again tcp "$PORT" 'PING\r\n' -- redis-cli -p "$PORT" bgsave
	none_failed
	ends_well TERM
}

@test "redis, 50 connections of redis-benchmark" {
	server redis-server --bind 127.0.0.1 --port "$PORT" --save '' --dir "$DIR"
	start bench redis-benchmark -p "$PORT" -q -l -t ping,set -n 20000 -c 30
	start churn redis-benchmark -p "$PORT" -q -l -t ping -n 2000 -c 20 -k 0
	for ((look = 0; look < LOOKS; look++)); do equal 1; done
	ends_well TERM
}

@test "memcached, TCP and UDP, four threads" {
	need_root
	server memcached -u nobody -l 127.0.0.1 -p "$PORT" -U "$PORT" -t 4
	wait_for listening_udp "$PORT"
	under_load 2 again tcp "$PORT" 'get k\r\n' udp "$PORT" '\0\1\0\0\0\1\0\0get k\r\n'
	none_failed
	ends_well TERM
}

@test "haproxy, whose master executes itself in the middle" {
	haproxy_answers "$PORT" <<<"insecure-setuid-wanted" >haproxy.cfg
	server haproxy -W -f "$DIR/haproxy.cfg"
	# insecure-setuid-wanted: else a worker takes new privileges from itself, and is seen but partly.
	# Its workers change, and a kept connection of the old one's may be closed.
	under_load 2 again tcp "$PORT" "$GET" -- kill -USR2 "$SERVER"
	ends_well TERM
}

@test "socat, a child and a program for each connection" {
	server socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr,max-children=20" EXEC:cat
	under_load 1 tcp "$PORT" 'hello\n'
	none_failed
	ends_well TERM
}

@test "dnsmasq, UDP and TCP, a child for each connection" {
	server dnsmasq --no-daemon --conf-file=/dev/null "--port=$PORT" --listen-address=127.0.0.1 --bind-interfaces \
		--no-resolv --no-hosts --address=/host.test/192.0.2.7
	wait_for listening_udp "$PORT"
	under_load 2 udp "$PORT" "$DNS" tcp "$PORT" "\\0\\x1b$DNS"
	none_failed
	ends_well TERM
}

@test "python3 -m http.server" {
	server python3 -u -m http.server --bind 127.0.0.1 "$PORT"
	under_load 1 tcp "$PORT" 'GET / HTTP/1.0\r\n\r\n'
	none_failed
	ends_well TERM
}

@test "python3, a child for each connection" {
	cat >forking.py <<-END
		import socketserver
		class Echo(socketserver.StreamRequestHandler):
		    def handle(self): self.wfile.write(self.rfile.readline())
		class Server(socketserver.ForkingTCPServer):
		    allow_reuse_address = True
		Server(("127.0.0.1", $PORT), Echo).serve_forever()
	END
	server python3 forking.py
	under_load 1 tcp "$PORT" 'hello\n'
	none_failed
	ends_well TERM
}

# ztcp binds every address: so in a network namespace of its own, and the load with it.
@test "zsh, a child for each connection, in another network namespace" {
	need_root
	unshare -n true 2>"$DIR/null" || skip "needs a network namespace"
	cat >loopback.py <<-'END'
		import fcntl, os, socket, struct, sys
		with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: # SIOCSIFFLAGS, IFF_UP
		    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1))
		os.execvp(sys.argv[1], sys.argv[1:])
	END
	cat >listener.zsh <<-END
		zmodload zsh/net/tcp
		ztcp -ld 3 $PORT
		print ready
		while ztcp -a 3; do
			{ read -ru \$REPLY line; print -ru \$REPLY -- \$line; /bin/true } &
			ztcp -c \$REPLY
		done
	END
	start zsh unshare -n python3 loopback.py "$PORTSHIM" run -o "$SESSION" -- zsh -f listener.zsh
	SERVER=$PID
	ready zsh
	THERE=(nsenter -n -t "$SERVER")
	under_load 1 tcp "$PORT" 'hello\n'
	none_failed
	ends_well KILL
}
