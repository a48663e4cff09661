#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Real servers: each first bare, then recorded; it must answer and end alike, and the relation must be
# the kernel's.

# shellcheck disable=SC2030,SC2031,SC2119,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

setup() {
	common_setup
	PORT=$(free_port)
}

teardown() {
	common_teardown
}

# listener FILTER: the rows of this test's port.
on_port() {
	that "map(select(.local == \"127.0.0.1:$PORT\")) | $1" "${@:2}"
}

requests() {
	curl -sf --max-time 10 -H 'Connection: close' -o /dev/null "http://127.0.0.1:$PORT/?[1-$1]"
}

# ends PID SIGNAL: sends it and waits; $STATUS.
ends() {
	kill "-$2" "$1"
	STATUS=0
	wait "$1" || STATUS=$?
}

# Nothing holds the port any more, N processes did.
all_past() {
	run ! "$PORTSHIM" ls -s "$SESSION"
	[ "$status" -eq 1 ]
	on_port "length == $1 and all(.fds == [] and .live == false)" --past
}

@test "nginx: a master that bound, two workers that accept by fork" {
	cat >nginx.conf <<-END
		daemon off;
		worker_processes 2;
		pid $DIR/nginx.pid;
		error_log stderr;
		events { worker_connections 256; }
		http {
			access_log off;
			server { listen 127.0.0.1:$PORT; location / { return 200 "hello\n"; } }
		}
	END
	nginx=(nginx -e stderr -p "$DIR" -c "$DIR/nginx.conf")

	start bare "${nginx[@]}"
	wait_for listening "$PORT"
	requests 3
	ends "$PID" QUIT
	bare=$STATUS

	record nginx "${nginx[@]}"
	master=$PID
	wait_for listening "$PORT"
	wait_for on_port 'length == 3'
	mapfile -t workers < <(children_of "$master")
	[ ${#workers[@]} -eq 2 ]
	on_port "map(select(.pid == $master and .how == \"bound\" and .from == null and .state == \"listen\"
		and .proto == \"tcp\" and .type == \"stream\")) | length == 1"
	for worker in "${workers[@]}"; do
		on_port "map(select(.pid == $worker and .how == \"forked\" and .from_pid == $master)) | length == 1"
	done
	on_port '(map(.inode) | unique | length) == 1 and .[0].inode != null'
	same_as_kernel "$master" "${workers[@]}"

	requests 60
	wait_for on_port '(map(.accepts) | add) == 60'
	on_port "all(.pid != $master or .accepts == 0)"

	ends "$master" QUIT
	[ "$STATUS" -eq "$bare" ]
	all_past 3
	on_port '(map(.accepts) | add) == 60' --past
	cmp bare.out nginx.out
}

@test "nginx: reloaded, the new workers hold the port and the old ones are past" {
	cat >nginx.conf <<-END
		daemon off;
		worker_processes 2;
		pid $DIR/nginx.pid;
		error_log stderr;
		events { worker_connections 256; }
		http { access_log off; server { listen 127.0.0.1:$PORT; location / { return 200 "hello\n"; } } }
	END
	record nginx nginx -e stderr -p "$DIR" -c "$DIR/nginx.conf"
	master=$PID
	wait_for listening "$PORT"
	wait_for on_port 'length == 3'
	old=$(children_of "$master" | tr '\n' ' ')
	kill -HUP "$master"
	reloaded() {
		[ "$(children_of "$master" | wc -l)" -eq 2 ] && [ "$(children_of "$master" | tr '\n' ' ')" != "$old" ]
	}
	wait_for reloaded
	wait_for on_port 'length == 3'
	mapfile -t workers < <(children_of "$master")
	requests 10
	wait_for on_port '(map(.accepts) | add) == 10'
	same_as_kernel "$master" "${workers[@]}"
	on_port 'length == 2' --past
	ends "$master" QUIT
	all_past 5
}

@test "python3 -m http.server" {
	server=(python3 -u -m http.server --bind 127.0.0.1 "$PORT")
	start bare "${server[@]}"
	wait_for listening "$PORT"
	requests 2
	ends "$PID" TERM
	bare=$STATUS

	record python "${server[@]}"
	python=$PID
	wait_for listening "$PORT"
	requests 20
	wait_for on_port "length == 1 and .[0].pid == $python and .[0].how == \"bound\" and .[0].accepts == 20"
	same_as_kernel "$python"
	ends "$python" TERM
	[ "$STATUS" -eq "$bare" ]
	all_past 1
}

@test "redis-server, with clients and a forked child that saves" {
	server=(redis-server --port "$PORT" --bind 127.0.0.1 --save '' --daemonize no --dir "$DIR" --logfile "$DIR/log")
	client=(redis-cli -p "$PORT")
	start bare "${server[@]}"
	wait_for "${client[@]}" ping
	"${client[@]}" shutdown nosave || true
	bare=0
	wait "$PID" || bare=$?

	record redis "${server[@]}"
	redis=$PID
	wait_for "${client[@]}" ping
	redis-benchmark -p "$PORT" -n 2000 -c 10 -q -t set,get >/dev/null
	exec 7<>"/dev/tcp/127.0.0.1/$PORT"
	"${client[@]}" ping
	on_port 'map(select(.state == "listen")) | length == 1 and .[0].how == "bound" and .[0].accepts > 20'
	same_as_kernel "$redis"
	exec 7>&-
	"${client[@]}" bgsave
	wait_for on_port "map(select(.how == \"forked\" and .from_pid == $redis)) | length >= 1" --past
	"${client[@]}" shutdown nosave || true
	STATUS=0
	wait "$redis" || STATUS=$?
	[ "$STATUS" -eq "$bare" ]
	run ! "$PORTSHIM" ls -s "$SESSION"
}

@test "memcached: TCP and UDP, four threads, root given up" {
	need_root
	server=(memcached -u nobody -l 127.0.0.1 -p "$PORT" -U "$PORT" -t 4)
	ask() {
		exec 7<>"/dev/tcp/127.0.0.1/$PORT"
		printf 'set k 0 0 1\r\nx\r\nget k\r\nquit\r\n' >&7
		cat <&7
		exec 7>&-
	}
	start bare "${server[@]}"
	wait_for listening "$PORT"
	wanted=$(ask)
	[[ $wanted == *STORED*VALUE* ]]
	ends "$PID" TERM
	bare=$STATUS

	record memcached "${server[@]}"
	memcached=$PID
	wait_for listening "$PORT"
	wait_for listening_udp "$PORT"
	[ "$(ask)" = "$wanted" ]
	[ "$(ask)" = "$wanted" ]
	wait_for on_port 'map(select(.proto == "tcp" and .how == "bound" and .accepts == 2)) | length == 1'
	on_port 'map(select(.proto == "udp" and .how == "bound" and .state == "bound")) | length == 1'
	same_as_kernel "$memcached"
	ends "$memcached" TERM
	[ "$STATUS" -eq "$bare" ]
	all_past 2
}

@test "haproxy: a master that executes itself, and its worker" {
	haproxy_answers "$PORT" </dev/null >haproxy.cfg
	server=(haproxy -W -f "$DIR/haproxy.cfg")
	start bare "${server[@]}"
	wait_for listening "$PORT"
	wait_for requests 1
	# As below: what a master that is still starting makes of SIGTERM is another matter.
	requests 20
	ends "$PID" TERM
	bare=$STATUS

	record haproxy "${server[@]}"
	master=$PID
	wait_for listening "$PORT"
	wait_for requests 1
	requests 20
	mapfile -t workers < <(children_of "$master")
	wait_for on_port 'map(select(.state == "listen").accepts) | add >= 21'
	on_port "map(select(.pid == ${workers[0]})) | length == 1"
	same_as_kernel "$master" "${workers[@]}"
	ends "$master" TERM
	[ "$STATUS" -eq "$bare" ]
	run ! "$PORTSHIM" ls -s "$SESSION"
}

@test "socat: a child for each connection, which executes another program" {
	server=(socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr" EXEC:cat)
	talk() {
		local line
		exec 7<>"/dev/tcp/127.0.0.1/$PORT"
		echo "$1" >&7
		read -r -t 5 line <&7
		[ "$line" = "$1" ]
	}
	start bare "${server[@]}"
	wait_for listening "$PORT"
	talk hello
	exec 7>&-
	ends "$PID" TERM
	bare=$STATUS

	record socat "${server[@]}"
	socat=$PID
	wait_for listening "$PORT"
	talk one
	exec 7>&-
	talk two
	mapfile -t family < <(children_of "$socat")
	for pid in "${family[@]}"; do mapfile -t -O ${#family[@]} family < <(children_of "$pid"); done
	on_port "map(select(.pid == $socat and .how == \"bound\" and .accepts == 2)) | length == 1"
	on_port "map(select(.how == \"forked\" and .from_pid == $socat and .state == \"connected\")) | length == 1" --all
	same_as_kernel "$socat" "${family[@]}"
	exec 7>&-
	ends "$socat" TERM
	[ "$STATUS" -eq "$bare" ]
	wait_for on_port 'map(select(.until == null)) | length == 0' --past
}

@test "dnsmasq: UDP and TCP" {
	server=(dnsmasq --no-daemon --conf-file=/dev/null "--port=$PORT" --listen-address=127.0.0.1 --bind-interfaces
		--no-resolv --no-hosts --address=/host.test/192.0.2.7)
	ask() {
		python3 - "$PORT" <<-'END'
			import socket, sys
			s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
			s.settimeout(5)
			query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4host\4test\0\0\1\0\1"
			s.sendto(query, ("127.0.0.1", int(sys.argv[1])))
			assert s.recv(512).endswith(bytes([192, 0, 2, 7]))
		END
	}
	start bare "${server[@]}"
	wait_for listening_udp "$PORT"
	wait_for listening "$PORT"
	ask
	ends "$PID" TERM
	bare=$STATUS

	record dnsmasq "${server[@]}"
	dnsmasq=$PID
	wait_for listening_udp "$PORT"
	wait_for listening "$PORT"
	ask
	on_port 'map(select(.proto == "udp" and .state == "bound" and .how == "bound")) | length == 1'
	on_port 'map(select(.proto == "tcp" and .state == "listen" and .how == "bound")) | length == 1'
	same_as_kernel "$dnsmasq"
	ends "$dnsmasq" TERM
	[ "$STATUS" -eq "$bare" ]
	all_past 2
}
