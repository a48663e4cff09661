#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Rules on real programs: each first without portshim, then with a rule.  What it says of itself must be the
# same, and the relation must be the kernel's.

# shellcheck disable=SC2030,SC2031,SC2119,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

setup() {
	common_setup
	# Debian's own programs.
	PATH=/usr/sbin:/usr/bin:/sbin:/bin
	# Node and Java take their time to start on a busy machine.
	export WAITS=1500
	{ read -r PORT && read -r OTHER; } < <(free_port 2)
	SOCKET=$DIR/x.sock
	THERE=()
}

teardown() {
	common_teardown
}

# ruled NAME RULE… -- COMMAND…: in a new session of this test with rules, or without any in the one that is there.
ruled() {
	local name=$1 options=(-o "$SESSION")
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ ! -d "$SESSION" ] || options=(-s "$SESSION")
	start "$name" "${THERE[@]}" "$PORTSHIM" run "${options[@]}" "$@"
}

# A network namespace of the test's own, with 127.0.0.1, ::1 and 192.0.2.7.  "${THERE[@]}" COMMAND…: in it.
network() {
	local unshare=(unshare -n)
	THERE=(nsenter -n -t)
	if [ "$(id -u)" -ne 0 ]; then
		unshare=(unshare -rn)
		THERE=(nsenter --preserve-credentials -Un -t)
	fi
	# shellcheck disable=SC2016
	start network "${unshare[@]}" sh -c 'ip link set lo up && ip addr add 192.0.2.7/32 dev lo && echo ready &&
		exec cat'
	THERE+=("$PID")
	up_or_not() { grep -qx ready network.out || gone "$PID"; }
	wait_for up_or_not
	grep -qx ready network.out || THERE=()
	[ ${#THERE[@]} -gt 0 ]
}

# Under the rules of the session.
inside() {
	"$PORTSHIM" run -s "$SESSION" -- "$@"
}

# Outlives what is asked of it, but not a hanging one.
patient() {
	timeout 30 "$@"
}

# ends PID SIGNAL: sends it and waits; $STATUS.
ends() {
	kill "-$2" "$1"
	STATUS=0
	wait "$1" || STATUS=$?
}

# Somebody listens there, or has a UDP socket there.
held() {
	[ -n "$(ss -Htuln "sport = :$1")" ]
}

equal() {
	"$PORTSHIM" verify -s "$SESSION" && same_as_kernel "$@"
}

# listeners FILTER: those of an address of 127.0.0.1 and this port, moved ones included.
listeners() {
	that "map(select(.state == \"listen\" and
		([.local, .asked] | any(. != null and test(\"127.0.0.1\\\\]?:$PORT\$\"))))) | $1"
}

http() {
	curl -sf --noproxy '*' --max-time 20 "$@"
}

ask_http() {
	http -H 'Connection: close' "http://127.0.0.1:$1/"
}

ask_epmd() {
	patient epmd -port "$1" -names
}

# ask_dns PORT: the address of host.test, and who has answered.
ask_dns() {
	patient python3 - "$1" <<-'END'
		import socket, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.settimeout(20)
		s.sendto(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4host\4test\0\0\1\0\1", ("127.0.0.1", int(sys.argv[1])))
		answer, source = s.recvfrom(512)
		print(socket.inet_ntoa(answer[-4:]), "from", source)
	END
}

export -f patient http ask_http ask_epmd ask_dns

# gives_up NAME COMMAND…: it ends, and says that somebody else is there.
gives_up() {
	local status=0
	timeout 60 "${@:2}" </dev/null >"$DIR/$1.out" 2>"$DIR/$1.err" 3>&- || status=$?
	[ "$status" -lt 124 ] && grep -qiE 'address (already )?in use|already a epmd' "$DIR/$1.out" "$DIR/$1.err" && return
	echo "status $status: ${*:2}" >&2
	cat "$DIR/$1.out" "$DIR/$1.err" >&2
	return 1
}

# alone ASK COMMAND…: without portshim: it answers, a second one finds the port taken.  $BARE: how it ends.
alone() {
	start bare "${@:2}"
	wait_for "$1" "$PORT"
	"$1" "$PORT" >bare.answer
	gives_up second "${@:2}"
	ends "$PID" "${SIGNAL:-TERM}"
	BARE=$STATUS
}

# Connections one after another, until each of the two has got one.
both_accept() {
	local i both='map(select(.state == "listen" and .accepts > 0).pid) | unique | length == 2'
	for ((i = 0; i < 20; i++)); do
		times 5 "$1" "$PORT" >/dev/null
		that "$both" 2>/dev/null && return
	done
	that "$both"
}

end_both() {
	local pid
	for pid in "$@"; do
		ends "$pid" "${SIGNAL:-TERM}"
		[ "$STATUS" -eq "$BARE" ]
	done
	rm -r "$SESSION"
}

# share ASK COMMAND…: the same command twice.
share() {
	local first
	ruled one "--share=$PORT" -- "${@:2}"
	first=$PID
	wait_for "$1" "$PORT"
	ruled two -- "${@:2}"
	wait_for listeners "map(.pid) | sort == ([$first, $PID] | sort)"
	listeners 'all(.how == "bound" and .rule == "--share='"$PORT"'")'
	both_accept "$1"
	equal "$first" "$PID"
	end_both "$first" "$PID"
}

# What it says of itself, and what is said of it under the same rules, is as it was.
as_bare() {
	inside bash -c "$1 $PORT" | diff bare.answer -
	diff bare.out moved.out
	run ! held "$PORT"
	equal "$PID"
	ends "$PID" "${SIGNAL:-TERM}"
	[ "$STATUS" -eq "$BARE" ]
	rm -r "$SESSION"
}

# move ASK COMMAND…: to another port.
move() {
	ruled moved --redirect "$PORT=$OTHER" --cloexec -- "${@:2}"
	wait_for "$1" "$OTHER"
	listeners "length == 1 and (.[0].local | test(\"127.0.0.1\\\\]?:$OTHER\$\")) and
		.[0].rule == \"--redirect $PORT=$OTHER\""
	as_bare "$1"
}

# move_to_path COMMAND…: HTTP over a UNIX socket.
move_to_path() {
	ruled moved --redirect "$PORT=unix:$SOCKET" -- "$@"
	wait_for http --unix-socket "$SOCKET" http://anywhere/
	listeners "length == 1 and .[0].local == \"$SOCKET\" and .[0].proto == \"unix\""
	as_bare ask_http
	[ ! -e "$SOCKET" ]
}

@test "python3 -m http.server: two share a port" {
	server=(python3 -u -m http.server --bind 127.0.0.1 --directory "$DIR/www" "$PORT")
	mkdir www
	alone ask_http "${server[@]}"
	share ask_http "${server[@]}"
	# Each has seen some of the requests.
	for name in one two; do grep -q '"GET / HTTP/1.1" 200' "$name.err"; done
	move ask_http "${server[@]}"
}

@test "node" {
	cat >server.js <<-'END'
		const server = require("http").createServer((request, response) => {
			const s = request.socket;
			response.end(`node at ${s.localAddress}:${s.localPort}, asked by ${s.remoteAddress}\n`);
		});
		server.on("error", (e) => { console.error(e.message); process.exit(1); });
		server.listen(+process.argv[2], "127.0.0.1", () => console.log(server.address()));
		process.on("SIGTERM", () => server.close(() => process.exit(0)));
	END
	server=(node server.js "$PORT")
	alone ask_http "${server[@]}"
	share ask_http "${server[@]}"
	move ask_http "${server[@]}"
	move_to_path "${server[@]}"
}

@test "a threaded Java server" {
	ecj -proc:none -nowarn -source 11 -target 11 -d . "$SCRIPTS/ThreadedServer.java"
	server=(java -XX:TieredStopAtLevel=1 -cp "$DIR" ThreadedServer "$PORT")
	alone ask_http "${server[@]}"
	share ask_http "${server[@]}"
	move ask_http "${server[@]}"
	move_to_path "${server[@]}"
}

@test "php -S" {
	# SIGTERM it does not handle.
	SIGNAL=INT
	cat >index.php <<-'END'
		php at <?= $_SERVER["SERVER_PORT"] ?>, asked by <?= $_SERVER["REMOTE_ADDR"] ?>.
	END
	server=(php -n -S "127.0.0.1:$PORT")
	alone ask_http "${server[@]}"
	share ask_http "${server[@]}"
	move ask_http "${server[@]}"
	move_to_path "${server[@]}"
}

@test "epmd" {
	server=(epmd -d -address 127.0.0.1 -port "$PORT")
	alone ask_epmd "${server[@]}"
	share ask_epmd "${server[@]}"
	move ask_epmd "${server[@]}"
}

@test "dnsmasq: UDP and TCP" {
	server=(dnsmasq --no-daemon --conf-file=/dev/null "--port=$PORT" --listen-address=127.0.0.1 --bind-interfaces
		--no-resolv --no-hosts)
	alone ask_dns "${server[@]}" --address=/host.test/192.0.2.7

	ruled one "--share=$PORT" -- "${server[@]}" --address=/host.test/192.0.2.7
	first=$PID
	wait_for ask_dns "$PORT"
	ruled two -- "${server[@]}" --address=/host.test/192.0.2.8
	both='(map(select(.proto == "udp" and .state == "bound").pid) | unique | length) == 2 and
		(map(select(.proto == "tcp" and .state == "listen").pid) | unique | length) == 2'
	wait_for that "$both"
	both_answer() { ask_dns "$PORT" >>answers && grep -q 192.0.2.7 answers && grep -q 192.0.2.8 answers; }
	for ((i = 0; i < 100; i++)); do ! both_answer || break; done
	both_answer
	equal "$first" "$PID"
	end_both "$first" "$PID"

	ruled moved --redirect "$PORT=$OTHER" -- "${server[@]}" --address=/host.test/192.0.2.7
	wait_for ask_dns "$OTHER"
	that "map(select(.local == \"127.0.0.1:$OTHER\" and .asked == \"127.0.0.1:$PORT\").proto) | sort == [\"tcp\", \"udp\"]"
	as_bare ask_dns
}

@test "redis moved from its port; its client in the same session knows it there" {
	client=(timeout 30 redis-cli --no-auth-warning)
	server=(redis-server --bind 127.0.0.1 --save '' --daemonize no --dir "$DIR" --logfile "$DIR/log")
	# Without portshim at a port that may be anybody's: in a network of its own.
	if network; then
		start bare "${THERE[@]}" "${server[@]}"
		wait_for "${THERE[@]}" "${client[@]}" ping
		wanted=$("${THERE[@]}" "${client[@]}" client list | grep -oE 'laddr=[^ ]+')
		ends "$PID" TERM
		BARE=$STATUS
		THERE=()
	else
		wanted=laddr=127.0.0.1:6379
		BARE=0
	fi

	for to in "$OTHER" "unix:$SOCKET"; do
		ruled redis --redirect "6379=$to" -- "${server[@]}"
		redis=$PID
		wait_for inside "${client[@]}" ping
		[ "$(inside "${client[@]}" client list | grep -oE 'laddr=[^ ]+')" = "$wanted" ]
		inside python3 -c 'if True:
			import socket
			s = socket.create_connection(("127.0.0.1", 6379))
			assert s.getpeername() == ("127.0.0.1", 6379), s.getpeername()
			s.sendall(b"PING\r\n")
			assert s.recv(100) == b"+PONG\r\n"'
		that "map(select(.pid == $redis and .asked == \"127.0.0.1:6379\" and .rule == \"--redirect 6379=$to\"))
			| length == 1"
		inside "${client[@]}" bgsave
		saved() { inside "${client[@]}" info persistence | tr -d '\r' | grep -x rdb_bgsave_in_progress:0; }
		wait_for saved
		equal "$redis"
		ends "$redis" TERM
		[ "$STATUS" -eq "$BARE" ]
		[ ! -e "$SOCKET" ]
		rm -r "$SESSION"
	done
}

@test "nginx moved to a UNIX socket" {
	cat >nginx.conf <<-END
		daemon off;
		worker_processes 2;
		pid $DIR/nginx.pid;
		error_log stderr;
		events { worker_connections 256; }
		http {
			access_log off;
			server {
				listen 127.0.0.1:$PORT;
				location / { return 200 "nginx at \$server_addr:\$server_port, asked by \$remote_addr\n"; }
			}
		}
	END
	server=(nginx -e stderr -p "$DIR" -c "$DIR/nginx.conf")
	page() { [ "$(http -H 'Connection: close' --unix-socket "$SOCKET" http://anywhere/)" = "$(cat bare.answer)" ]; }
	SIGNAL=QUIT
	alone ask_http "${server[@]}"

	ruled moved --redirect "$PORT=unix:$SOCKET" -- "${server[@]}"
	master=$PID
	wait_for page
	wait_for listeners 'length == 3'
	mapfile -t workers < <(children_of "$master")
	listeners "all(.local == \"$SOCKET\" and .proto == \"unix\") and
		(map(select(.how == \"forked\" and .from_pid == $master).pid) | sort) == ([${workers[0]}, ${workers[1]}] | sort)"
	equal "$master" "${workers[@]}"
	times 10 page
	wait_for listeners '(map(.accepts) | add) >= 11'

	# New workers; the old ones, as they end, do not take the path with them.
	old=$(children_of "$master" | tr '\n' ' ')
	kill -HUP "$master"
	reloaded() {
		[ "$(children_of "$master" | wc -l)" -eq 2 ] && [ "$(children_of "$master" | tr '\n' ' ')" != "$old" ]
	}
	wait_for reloaded
	times 10 page
	mapfile -t workers < <(children_of "$master")
	equal "$master" "${workers[@]}"
	ends "$master" QUIT
	[ "$STATUS" -eq "$BARE" ]
	[ ! -e "$SOCKET" ]

	for signal in TERM KILL QUIT; do
		ruled again -- "${server[@]}"
		master=$PID
		wait_for page
		mapfile -t workers < <(children_of "$master")
		ends "$master" "$signal"
		[ "$signal" != KILL ] || kill -KILL "${workers[@]}"
		for pid in "${workers[@]}"; do wait_for gone "$pid"; done
		if [ "$signal" = KILL ]; then
			[ -S "$SOCKET" ]
			run ! page
		else
			[ "$STATUS" -eq "$BARE" ]
			[ ! -e "$SOCKET" ]
		fi
	done
}

@test "what binds to all addresses is confined to loopback" {
	network || skip "no network namespace to be had: $(tail -n 1 network.err)"
	from() { "${THERE[@]}" curl -sf --noproxy '*' --max-time 20 -o /dev/null "http://$1:$PORT/"; }
	cat >any.js <<-'END'
		require("http").createServer((request, response) => response.end("node\n")).listen(+process.argv[2]);
		process.on("SIGTERM", () => process.exit(0));
	END
	# node binds to [::], and takes IPv4 by it.
	mkdir www
	for server in "python3 -m http.server --bind 0.0.0.0 --directory www $PORT" "node any.js $PORT"; do
		read -ra server <<<"$server"
		start bare "${THERE[@]}" "${server[@]}"
		wait_for from 127.0.0.1
		from 192.0.2.7
		ends "$PID" TERM
		bare=$STATUS

		ruled confined -r 'bind addr 0.0.0.0 addr :: -> redirect 127.0.0.1' -- "${server[@]}"
		wait_for from 127.0.0.1
		status=0
		from 192.0.2.7 || status=$?
		[ "$status" -eq 7 ]
		that "map(select(.local == \"127.0.0.1:$PORT\" and (.asked | IN(\"0.0.0.0:$PORT\", \"[::]:$PORT\")))) | length == 1"
		"${THERE[@]}" "$PORTSHIM" verify -s "$SESSION"
		same_as_kernel "$PID"
		ends "$PID" TERM
		[ "$STATUS" -eq "$bare" ]
		rm -r "$SESSION"
	done
}

@test "haproxy, denied one of its two ports, names it" {
	haproxy_answers "$PORT" "$OTHER" </dev/null >haproxy.cfg
	server=(haproxy -W -f "$DIR/haproxy.cfg")
	start bare "${server[@]}"
	wait_for ask_http "$PORT"
	wait_for ask_http "$OTHER"
	ends "$PID" TERM

	status=0
	patient "$PORTSHIM" run -o "$SESSION" --deny "$OTHER" -- "${server[@]}" 2>denied.err 3>&- || status=$?
	[ "$status" -eq 1 ]
	grep -F 'Permission denied' denied.err | grep -qF "127.0.0.1:$OTHER"
	run ! grep -F "127.0.0.1:$PORT" denied.err
	"$PORTSHIM" events -s "$SESSION" | grep -F "bind(" | grep -F "127.0.0.1:$OTHER) = -1 EACCES"
	run ! held "$PORT"
	run -1 "$PORTSHIM" verify -s "$SESSION"
}

@test "a child that outlives its server keeps the port; not with --cloexec" {
	cat >server.py <<-'END'
		import os, signal, socket, subprocess, sys
		listener = socket.socket()
		listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		listener.bind(("127.0.0.1", int(sys.argv[1])))
		listener.listen()
		os.set_inheritable(listener.fileno(), True)
		child = subprocess.Popen(["sleep", "600"], close_fds=False)
		print(child.pid, flush=True)
		signal.pause()
	END
	server=(python3 server.py "$PORT")
	# Leaves $CHILD behind.
	run_once() {
		wait_for grep -qx '[0-9]*' "$1.out"
		CHILD=$(cat "$1.out")
		own "$CHILD"
		executes() { [ "$(cat "/proc/$CHILD/comm")" = sleep ]; }
		wait_for executes
		[ "$1" = bare ] || equal "$PID" "$CHILD"
		ends "$PID" TERM
		[ "$STATUS" -eq 143 ]
		run ! gone "$CHILD"
	}
	end_child() {
		kill "$CHILD"
		wait_for gone "$CHILD"
	}

	start bare "${server[@]}"
	run_once bare
	gives_up restart "${server[@]}"
	end_child

	record recorded "${server[@]}"
	run_once recorded
	gives_up restart "$PORTSHIM" run -s "$SESSION" -- "${server[@]}"
	that "map(select(.command == \"sleep\" and .pid == $CHILD and .local == \"127.0.0.1:$PORT\")) | length == 1"
	end_child
	rm -r "$SESSION"

	ruled closing --cloexec -- "${server[@]}"
	run_once closing
	first=$CHILD
	ruled restarted -- "${server[@]}"
	run_once restarted
	end_child
	kill "$first"
	wait_for gone "$first"
}

@test "--cloexec holds for copies too: by dup2 of a vfork child, and beside another thread" {
	cat >copies.py <<-'END'
		import ctypes, os, socket, subprocess, sys, threading
		listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
		is_closed = [sys.executable, "-c", "import os\ntry: os.fstat(0)\nexcept OSError: print('closed')"]
		# Python's child is one of vfork, which makes the copy.
		print(subprocess.run(is_closed, stdin=listener, stdout=subprocess.PIPE).stdout)
		libc = ctypes.CDLL(None)
		libc.popen.restype = ctypes.c_void_p
		libc.pclose.argtypes = [ctypes.c_void_p]
		ours, theirs = os.pipe()
		os.set_inheritable(ours, True)
		stream = libc.popen(b"read x <&%d" % ours, b"r")
		waiting = threading.Thread(target=libc.pclose, args=(stream,))
		waiting.start()
		print(os.get_inheritable(os.dup2(listener.fileno(), 50)))
		os.write(theirs, b"\n")
		waiting.join()
		print(os.get_inheritable(os.dup2(listener.fileno(), 51)))
	END
	python3 copies.py "$PORT" >bare.out
	"$PORTSHIM" run -o "$SESSION" --cloexec -- python3 copies.py "$PORT" >ruled.out
	diff - bare.out <<<$'b\'\'\nTrue\nTrue'
	diff - ruled.out <<<$'b\'closed\\n\'\nFalse\nFalse'
}

@test "verify finds the relation equal under every action" {
	cat >sockets.py <<-'END'
		import os, socket, subprocess, sys
		address = ("127.0.0.1", int(sys.argv[1]))
		kept = []

		def new(type):
		    s = socket.socket(socket.AF_INET, type)
		    s.setblocking(False)
		    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(type == socket.SOCK_STREAM))
		    kept.extend([s, s.dup()])
		    return s

		def call(name, f, *args):
		    try:
		        f(*args)
		    except OSError as e:
		        print(name, e.strerror)

		listener, datagrams = new(socket.SOCK_STREAM), new(socket.SOCK_DGRAM)
		for s in listener, datagrams:
		    call("bind", s.bind, address)
		call("listen", listener.listen, 5)
		for s in new(socket.SOCK_STREAM), new(socket.SOCK_DGRAM):
		    call("connect", s.connect, address)
		call("send", new(socket.SOCK_DGRAM).sendto, b"x", address)
		call("accept", lambda: kept.append(listener.accept()))
		call("receive", datagrams.recvfrom, 10)
		for s in kept:
		    if isinstance(s, socket.socket):
		        s.set_inheritable(True)
		child = subprocess.Popen(["cat"], close_fds=False, stdin=subprocess.PIPE)
		pid = os.fork()
		if pid == 0:
		    child.stdin.close()
		    os.read(0, 1)
		    os._exit(0)
		listener.close()
		print("ready", flush=True)
		os.read(0, 1)
		child.stdin.close()
		child.wait()
		os.waitpid(pid, 0)
	END
	moved() { echo "bind $1 -> redirect $2; connect $1 -> redirect $2; send $1 -> redirect $2"; }
	cat >rules <<-END
		bind -> reuseport
		$(moved "port $PORT" ":$OTHER")
		$(moved "port $PORT" "127.0.0.2")
		$(moved "port $PORT" "[::1]:$OTHER")
		$(moved "tcp port $PORT" "unix:$SOCKET")
		$(moved "tcp port $PORT" "unix:@$SOCKET")
		bind tcp port $PORT -> redirect unix:$SOCKET
		bind -> deny
		listen -> deny EADDRINUSE
		connect -> deny ECONNREFUSED
		accept -> deny
		send -> deny EPERM
		bind -> cloexec; listen -> cloexec; accept -> cloexec; connect -> cloexec
		bind -> set SO_RCVBUF=65536; accept -> set SO_KEEPALIVE=1, set SO_LINGER=3
		listen -> backlog 1
		bind -> redirect :$OTHER, unmasked; connect -> redirect :$OTHER, unmasked
		bind tcp -> redirect unix:$SOCKET, unmasked
		bind -> pass; bind -> deny
		bind -> reuseport, cloexec, set SO_SNDBUF=4096, redirect [::1]:$OTHER; listen -> backlog 3
	END
	mapfile -t rules <rules
	for rule in "${rules[@]}"; do
		start_ready all "$PORTSHIM" run -o "$SESSION" -r "$rule" -- python3 sockets.py "$PORT"
		"$PORTSHIM" verify -s "$SESSION" || {
			echo "under $rule" >&2
			return 1
		}
		same_as_kernel "$PID"
		# Each kind of action that stands in it was carried out.
		"$PORTSHIM" events -s "$SESSION" --json | jq -rs 'map(select(.event == "act").action) | unique[]' >acted
		for action in reuseport redirect deny cloexec set backlog; do
			[[ $rule != *"pass"* ]] || break
			[[ $rule != *"-> $action"* ]] || grep -qx "$action" acted
		done
		echo >all.in
		echo >all.in
		STATUS=0
		wait "$PID" || STATUS=$?
		[ "$STATUS" -eq 0 ]
		[ ! -e "$SOCKET" ]
		rm -r "$SESSION"
	done
}

@test "a path that another server has is taken from it neither before it listens nor after" {
	cat >server.py <<-'END'
		import errno, socket, sys
		s = socket.socket()
		try:
		    s.bind(("127.0.0.1", int(sys.argv[1])))
		except OSError as e:
		    sys.exit(errno.errorcode[e.errno])
		for word in "bound", "listening":
		    print(word, flush=True)
		    sys.stdin.readline()
		    s.listen()
		s.settimeout(0)
		try:
		    print("accepted", s.accept())
		except BlockingIOError:
		    print("nobody came")
	END
	second() {
		run -1 --separate-stderr inside python3 server.py "$PORT"
		[ "$stderr" = EADDRINUSE ]
		[ -S "$SOCKET" ]
	}
	ruled one --redirect "$PORT=unix:$SOCKET" -- python3 server.py "$PORT"
	wait_for grep -qx bound one.out
	second
	echo >one.in
	wait_for grep -qx listening one.out
	second
	echo >one.in
	wait "$PID"
	[ "$(tail -n 1 one.out)" = "nobody came" ]
	[ ! -e "$SOCKET" ]
}

@test "what another server has put at the path stays there, after an exec too" {
	cat >server.py <<-'END'
		import os, socket, sys
		path = sys.argv[2]
		if sys.argv[1] != "again":
		    s = socket.socket()
		    s.bind(("127.0.0.1", int(sys.argv[1])))
		    s.listen()
		    if sys.argv[3] == "exec":
		        os.set_inheritable(s.fileno(), True)
		        os.execvp("python3", ["python3", sys.argv[0], "again", path, str(s.fileno())])
		else:
		    s = socket.socket(fileno=int(sys.argv[3]))
		print("bound", flush=True)
		sys.stdin.readline()
		s.close()
		print("closed", flush=True)
	END
	for how in stay exec; do
		for whose in ours others; do
			ruled one --redirect "$PORT=unix:$SOCKET" -- python3 server.py "$PORT" "$SOCKET" "$how"
			wait_for grep -qx bound one.out
			[ "$whose" = ours ] || {
				rm "$SOCKET"
				python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$SOCKET"
			}
			echo >one.in
			wait "$PID"
			grep -qx closed one.out
			if [ "$whose" = ours ]; then [ ! -e "$SOCKET" ]; else rm "$SOCKET"; fi
			rm -r "$SESSION"
		done
	done
}

@test "a child forked by number goes on serving at the path when its parent has ended" {
	cat >server.py <<-'END'
		import ctypes, os, socket, sys
		s = socket.socket()
		s.bind(("127.0.0.1", int(sys.argv[1])))
		s.listen()
		SYS_clone = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
		SIGCHLD = 17
		pid = ctypes.CDLL(None).syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
		if pid > 0:
		    print(pid, flush=True)
		    sys.exit(0)
		s.accept()[0].sendall(b"served\n")
		os._exit(0)
	END
	ruled one --redirect "$PORT=unix:$SOCKET" -- python3 server.py "$PORT"
	wait "$PID"
	own "$(cat one.out)"
	[ "$(inside python3 -c 'if True:
		import socket, sys
		print(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(100))' "$PORT")" = "b'served\\n'" ]
	wait_for gone "$(cat one.out)"
	[ ! -e "$SOCKET" ]
}
