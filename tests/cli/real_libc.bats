#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What libc does by itself, and what is done by number: python carries it out call by call, by ctypes.

# shellcheck disable=SC2030,SC2031,SC2119,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

setup() {
	common_setup
	# python3 itself may be a script that looks for it.
	PYTHON=$(python3 -c 'import sys; print(sys.executable)')
	STEPS=0
	BIN=
	cat >driver.py <<-'END'
		import ctypes, os, resource, socket, sys, threading
		libc = ctypes.CDLL(None, use_errno=True)
		libc.popen.restype = ctypes.c_void_p
		libc.pclose.argtypes = [ctypes.c_void_p]
		def listener():
		    s = socket.create_server(("127.0.0.1", 0))
		    s.set_inheritable(True)
		    return s
		for n, line in enumerate(sys.stdin, 1):
		    exec(line)
		    print(f"step {n}", flush=True)
	END
}

teardown() {
	common_teardown
	rm -rf "$BIN"
}

# driver [COMMAND…]: python in this test's session, started by that; $DRIVER.
driver() {
	record driver "$@" "$PYTHON" -u "$DIR/driver.py"
	DRIVER=$PID
}

# begin CODE: has the driver start on it.  step CODE: waits until it is done, too.
begin() {
	echo "$1" >driver.in
	STEPS=$((STEPS + 1))
}

step() {
	begin "$1"
	wait_for grep -qx "step $STEPS" driver.out || {
		cat driver.err >&2
		return 1
	}
}

# recorded FILTER: of the list of processes.
recorded() {
	"$PORTSHIM" tree -s "$SESSION" --past --json >tree.json
	jq -e ".processes | $1" tree.json >/dev/null && return 0
	echo "not so: $1" >&2
	jq -c '.processes[] | [.process, .pid, .parent, .command, .exit, .covered]' tree.json >&2
	return 1
}

# Who runs the shell that waits for the fifo "wait"; $SHELL_PID.
shell_waits() {
	wait_for test -s shell.pid
	SHELL_PID=$(cat shell.pid)
	own "$SHELL_PID"
}

# The process of that pid: an id to compare with a parent.
id_of() {
	"$PORTSHIM" tree -s "$SESSION" --past --json | jq ".processes[] | select(.pid == $1) | .process"
}

# The shell says its pid and holds what it has inherited until somebody writes to the fifo.
WAITING='echo $$ >shell.pid; read -r x <wait'

@test "system(3) after clearenv: the shell is seen, with its parent and what it inherited" {
	mkfifo wait
	driver
	step 's = listener()'
	begin "libc.clearenv(); status = libc.system(b'$WAITING; exit 7')"
	shell_waits
	that "map(select(.pid == $SHELL_PID)) | length == 1 and .[0].how == \"forked\" and .[0].from_pid == $DRIVER
		and .[0].state == \"listen\""
	same_as_kernel "$DRIVER" "$SHELL_PID"
	echo >"$DIR/wait"
	step 'assert status == 7 << 8 '
	recorded "map(select(.pid == $SHELL_PID)) | length == 1 and .[0].parent == $(id_of "$DRIVER") and .[0].exit == 7"
	recorded "length == 2 and all(.covered == \"preload\")"
	# And again, from what is left of the environment.
	step "assert libc.system(b'exit 3') == 3 << 8"
	recorded "length == 3 and (map(select(.exit == 3 and .parent == $(id_of "$DRIVER"))) | length == 1)"
}

@test "popen(3) after clearenv: the same" {
	mkfifo wait
	driver
	step 's = listener()'
	step "libc.clearenv(); f = libc.popen(b'$WAITING; exit 6', b'w')"
	shell_waits
	that "map(select(.pid == $SHELL_PID)) | length == 1 and .[0].how == \"forked\" and .[0].from_pid == $DRIVER"
	same_as_kernel "$DRIVER" "$SHELL_PID"
	echo >"$DIR/wait"
	step 'assert libc.pclose(f) == 6 << 8'
	recorded "map(select(.pid == $SHELL_PID)) | length == 1 and .[0].parent == $(id_of "$DRIVER") and .[0].exit == 6"
	recorded 'length == 2'
}

@test "system(3) in a threaded program: its own child" {
	mkfifo wait
	driver env
	step 's = listener()'
	step 'e = threading.Event(); t = threading.Thread(target=e.wait); t.start()'
	begin "status = libc.system(b'$WAITING; exit 5')"
	shell_waits
	that "map(select(.pid == $SHELL_PID)) | length == 1 and .[0].how == \"forked\" and .[0].from_pid == $DRIVER"
	same_as_kernel "$DRIVER" "$SHELL_PID"
	recorded "map(select(.pid == $SHELL_PID and .parent == $(id_of "$DRIVER"))) | length == 1"
	echo >"$DIR/wait"
	step 'assert status == 5 << 8; e.set(); t.join()'
}

@test "system(3) in a forked child of a threaded program: the child is the parent, not who exec'd last" {
	mkfifo wait
	driver env
	step 's = listener()'
	step 'e = threading.Event(); t = threading.Thread(target=e.wait); t.start()'
	step "p = os.fork(); p or os._exit(libc.system(b'$WAITING; exit 4') >> 8); print(p, file=open('child.pid', 'w'), flush=True)"
	shell_waits
	child=$(cat child.pid)
	own "$child"
	that "map(select(.pid == $SHELL_PID)) | length == 1 and .[0].how == \"forked\" and .[0].from_pid == $child"
	same_as_kernel "$DRIVER" "$child" "$SHELL_PID"
	recorded "map(select(.pid == $SHELL_PID and .parent == $(id_of "$child"))) | length == 1"
	recorded "map(select(.pid == $child and .parent == $(id_of "$DRIVER"))) | length == 1"
	echo >"$DIR/wait"
	step 'assert os.waitpid(p, 0)[1] == 4 << 8; e.set(); t.join()'
}

@test "system(3) whose status nobody gets is a shell all the same" {
	driver
	step 'import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)'
	step "assert libc.system(b'exit 9') == -1"
	recorded "length == 2 and (map(select(.exit == 9 and .parent == $(id_of "$DRIVER"))) | length == 1)"
}

@test "forks that fail leave no process on record" {
	need_root
	BIN=$(mktemp -d /tmp/portshim-bin-XXXXXX)
	chmod 755 "$BIN"
	cp "$PORTSHIM" "$LIBRARY" "$BIN"
	PORTSHIM=$BIN/portshim driver
	step 's = listener()'
	step 'os.setgid(65534); os.setuid(65534); resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))'
	step 'assert libc.daemon(0, 0) == -1'
	step "assert libc.system(b'exit 3') == 127 << 8 and not libc.popen(b'exit 3', b'r')"
	step 'm = ctypes.c_int(); assert libc.forkpty(ctypes.byref(m), None, None, None) == -1'
	recorded 'length == 1'
	that "length == 1 and .[0].pid == $DRIVER"
	same_as_kernel "$DRIVER"
}

# A /dev of its own for the command, with a log daemon to come.  Nothing is mounted below $DIR, which
# is removed.
own_dev() {
	cat >own_dev <<-'END'
		exec 9</dev/shm && mount -t tmpfs none /dev && mkdir -m 1777 /dev/shm &&
			mount -c --bind /proc/self/fd/9 /dev/shm && mknod -m 666 /dev/null c 1 3 &&
			mknod -m 444 /dev/urandom c 1 9 && exec 9<&- && exec "$@"
	END
	unshare -m bash own_dev true
}

# log_socket FILTER: of the rows of the descriptor that syslog(3) keeps.
log_socket() {
	that "map(select(.pid == $DRIVER and .proto == \"unix\" and .local != \"/dev/log\")) | $1" --all "${@:2}"
}

@test "syslog(3): its socket is on record while it is there" {
	need_root
	own_dev || skip "needs a mount namespace"
	start driver unshare -m bash own_dev "$PORTSHIM" run -o "$SESSION" -- "$PYTHON" -u "$DIR/driver.py"
	DRIVER=$PID
	step 'd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind("/dev/log")'
	log_socket 'length == 0'
	step 'libc.syslog(6, b"text"); assert b"text" in d.recv(999)'
	log_socket 'length == 1 and (.[0].fds | length) == 1 and .[0].type == "dgram" and .[0].how == "created"'
	same_as_kernel "$DRIVER"
	# The daemon comes again: another socket.
	step 'd.close(); os.unlink("/dev/log"); d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind("/dev/log")'
	step 'libc.syslog(6, b"again"); assert b"again" in d.recv(999)'
	log_socket 'length == 1'
	same_as_kernel "$DRIVER"
	step 'libc.closelog()'
	log_socket 'length == 0'
	same_as_kernel "$DRIVER"
	log_socket 'length == 2 and all(.fds == [] and .until != null)' --past
	step 'libc.openlog(b"ident", 8, 8)'
	log_socket 'length == 1'
	same_as_kernel "$DRIVER"
	step 'libc.closelog()'
}

# fetched CALL: FD in it is the descriptor.
fetched() {
	start_ready giver "$PORTSHIM" run -o "$SESSION" -- "$HELPERS/server" tcp:127.0.0.1:0
	giver=$PID
	join driver "$PYTHON" -u "$DIR/driver.py"
	DRIVER=$PID
	step "p = os.pidfd_open($giver)"
	step "FD = $(head -1 giver.out | cut -d' ' -f1); f = libc.$1; assert f > 2"
	that "length == 2 and (map(select(.pid == $DRIVER and .how == \"fetched\" and .from_pid == $giver
		and .state == \"listen\")) | length == 1)"
	same_as_kernel "$giver" "$DRIVER"
	finish giver "$giver"
	that "length == 1 and .[0].pid == $DRIVER"
	step 'os.close(f)'
	run "$PORTSHIM" ls -s "$SESSION"
	[ "$status" -eq 1 ]
}

@test "pidfd_getfd(2): fetched, and from whom" {
	"$PYTHON" -c 'import ctypes; ctypes.CDLL(None).pidfd_getfd' 2>/dev/null || skip "not in this libc"
	fetched 'pidfd_getfd(p, FD, 0)'
}

@test "pidfd_getfd(2) by number: the same" {
	fetched 'syscall(438, p, FD, 0)' # on every machine
}

@test "by number: a socket moved, sent on and closed is where the kernel has it" {
	[ "$(uname -m)" = x86_64 ] || skip "the numbers are those of x86-64"
	driver
	step 's = listener(); t = listener()'
	# dup2 over another, dup3, fcntl(F_DUPFD), dup
	step 'assert libc.syscall(33, s.fileno(), t.fileno()) == t.fileno()'
	that 'length == 1 and (.[0].fds | length) == 2'
	step 'assert libc.syscall(292, s.fileno(), 70, 0o2000000) == 70 and libc.syscall(72, s.fileno(), 0, 80) == 80'
	step 'c = libc.syscall(32, 80); assert c > 2'
	that 'length == 1 and (.[0].fds | length) == 5 and .[0].how == "bound"'
	same_as_kernel "$DRIVER"
	step 'assert libc.syscall(436, 60, 90, 0) == 0'
	that '.[0].fds | length == 3'
	# socket, bind, listen: the kernel chooses the port
	step 'new = libc.syscall(41, 2, 1, 0); assert libc.syscall(50, new, 5) == 0'
	that 'length == 2 and (map(select(.local | startswith("0.0.0.0:"))) | length == 1 and .[0].state == "listen")'
	same_as_kernel "$DRIVER"
	# clone without a stack: a fork that no wrapper sees, and its exec
	step 'p = libc.syscall(56, 17, 0, 0, 0, 0); p or (libc.socket(2, 2, 0), libc.pause())'
	recorded "length == 2 and (map(select(.parent == $(id_of "$DRIVER"))) | length == 1)"
	same_as_kernel "$DRIVER"
	step 'os.kill(p, 9); os.waitpid(p, 0)'
	step 'libc.syscall(3, new); libc.syscall(3, c); libc.syscall(3, s.detach()); libc.syscall(3, t.detach())'
	run "$PORTSHIM" ls -s "$SESSION"
	[ "$status" -eq 1 ]
}

# left_open CODE: the driver does that to execute a helper with the last two of four listeners; $PID says who.
left_open() {
	driver
	step 'from fcntl import *; FIOCLEX, FIONCLEX = 0x5451, 0x5450; a, b, c, d = (listener() for i in range(4))'
	step 'ioctl(a, FIOCLEX); fcntl(b, F_SETFD, 0); ioctl(b, FIOCLEX)'
	step 'ioctl(c, FIOCLEX); ioctl(c, FIONCLEX); fcntl(d, F_SETFD, FD_CLOEXEC); ioctl(d, FIONCLEX)'
	step 'print(c.fileno(), d.fileno(), file=open("fds", "w"), flush=True)'
	read -ra left <fds
	begin "$1"
	wait_for grep -qx ready driver.out
	PID=$DRIVER
	if [ -n "${2:-}" ]; then
		PID=$(children_of "$DRIVER")
		own "$PID"
	fi
	[ "$("$SCRIPTS/proc_sockets" "$PID" | wc -l)" -eq 2 ]
	that "map(select(.pid == $PID) | .fds) | sort == [[${left[0]}], [${left[1]}]]"
	same_as_kernel "$PID"
	"$PORTSHIM" verify -s "$SESSION"
	# The next driver reads from the same fifo.
	kill "$PID"
	[ "$PID" -eq "$DRIVER" ] || kill "$DRIVER"
	wait_for gone "$PID"
	wait_for gone "$DRIVER"
}

@test "FIOCLEX and FIONCLEX: what an exec closes is known, also of a program that never reports" {
	left_open "os.execv('$HELPERS/server', ['server'])"
	for helper in server static_server; do
		SESSION=$DIR/session.$helper STEPS=0
		left_open "os.posix_spawn('$HELPERS/$helper', ['$helper'], os.environ)" child
	done
	SESSION=$DIR/session.static STEPS=0
	left_open "os.execv('$HELPERS/static_server', ['static_server'])"
}

@test "daemon(3) of a program whose 0 to 2 are sockets" {
	driver
	step 's = listener(); k = os.dup(1)'
	step 'sys.stdout = open(k, "w"); os.dup2(s.fileno(), 1); os.dup2(s.fileno(), 2)'
	that '.[0].fds[:2] == [1, 2]'
	begin 'libc.daemon(1, 0); print(os.getpid(), file=open("daemon.pid", "w"), flush=True); libc.pause()'
	wait_for test -s daemon.pid
	daemon=$(cat daemon.pid)
	own "$daemon"
	wait "$DRIVER"
	that "length == 1 and .[0].pid == $daemon and (.[0].fds | length) == 1 and .[0].how == \"forked\""
	same_as_kernel "$daemon"
}

@test "bindresvport(3): the port that libc chose" {
	need_root
	driver unshare -n
	step 's = socket.socket(); assert libc.bindresvport(s.fileno(), None) == 0'
	step 'print(s.getsockname()[1], file=open("port", "w"), flush=True)'
	that "length == 1 and .[0].local == \"0.0.0.0:$(cat port)\" and .[0].state == \"bound\" and .[0].how == \"bound\""
}

@test "login_tty(3) over sockets at 0 to 2" {
	driver
	step 's = listener(); m, t = os.openpty()'
	step 'p = os.fork(); p or ([os.dup2(s.fileno(), n) for n in (0, 1, 2)], libc.login_tty(t), open("in", "w").close(), libc.pause()); print(p, file=open("child.pid", "w"), flush=True)'
	wait_for test -e in
	child=$(cat child.pid)
	own "$child"
	that "map(select(.pid == $child)) | length == 1 and (.[0].fds | length) == 1"
	same_as_kernel "$DRIVER" "$child"
	step 'os.kill(p, 9); os.waitpid(p, 0)'
}

@test "rresvport(3): a socket and a port that libc chose" {
	need_root
	driver unshare -n
	step 'p = ctypes.c_int(1023); f = libc.rresvport(ctypes.byref(p)); assert f > 2 and libc.listen(f, 5) == 0'
	step 'print(p.value, file=open("port", "w"), flush=True)'
	that "length == 1 and .[0].local == \"0.0.0.0:$(cat port)\" and .[0].state == \"listen\" and .[0].how == \"bound\""
	same_as_kernel "$DRIVER"
	step 'os.close(f); p.value = 1023; f = libc.rresvport_af(ctypes.byref(p), 10); assert f > 2'
	that "length == 1 and .[0].proto == \"tcp6\" and .[0].state == \"bound\""
	same_as_kernel "$DRIVER"
}

# A remote command that is not executed: what is left of the call is two connections of the caller.
@test "rexec(3): both of its sockets" {
	driver
	cat >serve.py <<-'END'
		def string(c):
		    s = b""
		    while not s.endswith(b"\0"): s += c.recv(1)
		    return s[:-1]
		def serve(s):
		    global kept
		    c = s.accept()[0]
		    e = socket.create_connection(("127.0.0.1", int(string(c))))
		    for i in range(3): string(c)
		    c.send(b"\0")
		    kept = c, e
	END
	step 'exec(open("serve.py").read()); s = listener(); t = threading.Thread(target=serve, args=(s,)); t.start()'
	step 'h = ctypes.c_char_p(b"127.0.0.1"); e = ctypes.c_int(-1)'
	step 'f = libc.rexec(ctypes.byref(h), socket.htons(s.getsockname()[1]), b"user", b"password", b"command", ctypes.byref(e))'
	step 't.join(); assert f > 2 and e.value > 2'
	step 'print(f, e.value, file=open("fds", "w"), flush=True)'
	read -r first second <fds
	"$PORTSHIM" verify -s "$SESSION"
	that "map(select(.fds == [$first] or .fds == [$second])) | length == 2 and all(.state == \"connected\")" --all
}

@test "mq_notify(3): the socket that libc keeps for SIGEV_THREAD" {
	driver
	step 'q = libc.mq_open(b"/portshim-%d" % os.getpid(), os.O_CREAT | os.O_RDWR, 0o600, None)'
	step 'libc.mq_unlink(b"/portshim-%d" % os.getpid())'
	step 'import struct; F = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda v: None); print(q, file=open("q", "w"), flush=True)'
	[ "$(cat q)" -ge 0 ] || skip "no message queues here"
	# struct sigevent: a value, a signal, SIGEV_THREAD, a function
	step 'assert libc.mq_notify(q, struct.pack("QiiQ32x", 0, 0, 2, ctypes.cast(F, ctypes.c_void_p).value)) == 0'
	that 'map(select(.proto == "netlink")) | length == 1 and .[0].how == "created"' --all
	same_as_kernel "$DRIVER"
	# A child of fork makes one of its own.
	step 'p = os.fork(); p or (libc.mq_notify(q, None), libc.mq_notify(q, struct.pack("QiiQ32x", 0, 0, 2, ctypes.cast(F, ctypes.c_void_p).value)), open("in", "w").close(), libc.pause())'
	wait_for test -e in
	child=$(children_of "$DRIVER")
	own "$child"
	same_as_kernel "$DRIVER" "$child"
	step 'os.kill(p, 9); os.waitpid(p, 0)'
}

@test "a fork while another thread asks for a name: the child has a copy of libc's socket" {
	need_root
	unshare -nm true 2>"$DIR/null" || skip "needs namespaces"
	echo 'nameserver 127.0.0.1' >resolv.conf
	cat >resolving <<-'END'
		ip link set lo up && mount --bind resolv.conf /etc/resolv.conf && exec "$@"
	END
	# shellcheck disable=SC2016 # the inner shell's
	start driver unshare -nm bash resolving "$PORTSHIM" run -o "$SESSION" -- "$PYTHON" -u "$DIR/driver.py"
	DRIVER=$PID
	step 'd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.bind(("127.0.0.1", 53))'
	for call in 'getaddrinfo(b"name.test", None, None, ctypes.byref(ctypes.c_void_p()))' 'gethostbyname(b"name.test")'; do
		step "t = threading.Thread(target=lambda: libc.$call); t.start(); d.recv(999)"
		step 'p = os.fork(); p or libc.pause(); print(p, file=open("child.pid", "w"), flush=True)'
		child=$(cat child.pid)
		own "$child"
		[ "$("$SCRIPTS/proc_sockets" "$child" | wc -l)" -gt 1 ]
		# What the parent has in libc is in no record.
		"$PORTSHIM" verify -s "$SESSION" --json >verified || [ $? -eq 1 ]
		jq -e ".compared > 2 and all(.differences[]; .pid != $child)" verified
		step 'os.kill(p, 9); os.waitpid(p, 0)'
	done
	kill -KILL "$DRIVER"
}

@test "node closes by syscall(2)" {
	node=$(command -v node) || skip "no node here"
	port=$(free_port)
	record node "$node" -e "require('http').createServer((q, r) => r.end('hello')).listen($port, '127.0.0.1',
		() => console.log('ready'))"
	node=$PID
	ready node
	curl -sf --max-time 10 -H 'Connection: close' -o /dev/null "http://127.0.0.1:$port/?[1-30]"
	that "map(select(.state == \"listen\")) | length == 1 and .[0].accepts == 30 and .[0].pid == $node"
	same_as_kernel "$node"
	closed() {
		that 'map(select(.how == "accepted")) | length == 30 and all(.fds == [] and .until != null)' --all --past
	}
	wait_for closed
}
