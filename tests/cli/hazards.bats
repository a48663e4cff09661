#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What breaks shims.  Each test says which remedy it would fail without.  The programs are those of
# tests/helpers/hazard.c, run bare first: recorded, they must say and end the same.

# shellcheck disable=SC2030,SC2031,SC2119,SC2154 # each test is a subshell, and run sets what it sets
bats_require_minimum_version 1.5.0
load common

setup() {
	common_setup
	HAZARD=$HELPERS/hazard
}

teardown() {
	common_teardown
	rm -rf "$BIN"
}

# A directory that everybody can reach and execute from, as the checkout may not be.
public_bin() {
	BIN=$(mktemp -d /tmp/portshim-bin-XXXXXX)
	chmod 755 "$BIN"
	cp "$PORTSHIM" "$LIBRARY" "$HAZARD" "$BIN"
	HAZARD=$BIN/hazard
	PORTSHIM=$BIN/portshim
}

# What differs from run to run: pids and ports.
plain() {
	sed -E 's/^child [0-9]+$/child/; s/^[0-9]+$/port/' "$1"
}

# both NAME COMMAND...: bare, until it ends well; then recorded, until it is ready.  Both must say the same.
# $RECORDED is the recorded one.
both() {
	local name=$1
	shift
	start "$name.bare" "$@"
	ready "$name.bare"
	finish "$name.bare" "$PID"
	record "$name" "$@"
	RECORDED=$PID
	ready "$name"
	diff <(plain "$name.bare.out") <(plain "$name.out")
	diff "$name.bare.err" "$name.err"
}

# The recorded one ends as it did bare.
both_end() {
	finish "$1" "$RECORDED"
	diff "$1.bare.err" "$1.err"
}

child_pid() {
	sed -n 's/^child //p' "$1.out"
}

# Which processes are known, and how: "covered" of each.
covered() {
	"$PORTSHIM" tree -s "$SESSION" --past --json | jq -r '.processes[].covered' | sort -u
}

dropped() {
	"$PORTSHIM" sessions -s "$SESSION" --json | jq '.sessions[0].dropped'
}

# ---- descriptors ----

# Remedies: copies are holders of one socket, the target of dup2 is closed first, ranges and fclose are
# followed, syscall(SYS_close) is wrapped, and no number is taken from the program.
@test "close(dup(s)), a file over a socket, ranges, fclose, syscall(SYS_close), epoll" {
	both descriptors "$HAZARD" descriptors
	same_as_kernel "$RECORDED"
	that 'map(select(.state == "listen")) | length == 1 and (.[0].fds | index(103) == null)'
	both_end descriptors
}

# Remedy: nothing is written to a descriptor that is kept open, as none is kept.
@test "the program has files of its own at every number that it closed" {
	both reused "$HAZARD" reused
	same_as_kernel "$RECORDED"
	both_end reused
}

# Remedy: an own descriptor is never open while the program runs, so that a free fd 0 stays free for it.
@test "stdin closed: fd 0 is the program's" {
	"$HAZARD" number <&- >bare.out
	"$PORTSHIM" run -o "$SESSION" -- "$HAZARD" number <&- >recorded.out
	grep -qx 'first 0' bare.out
	cmp bare.out recorded.out
	that 'length == 1 and .[0].local != "" and .[0].how == "bound"' --past
	"$PORTSHIM" events -s "$SESSION" | grep -E 'listen.*0'
}

# ---- disk and memory ----

# on_small_tmpfs SCRIPT: in a mount namespace of its own, with a tmpfs of 1 MiB on ./small; fill() fills it,
# runs_full MODE does so while the hazard waits for a line on descriptor 8, until it is ready again.
on_small_tmpfs() {
	mkdir small
	cat >small.sh <<-'END'
		set -e
		mount -t tmpfs -o size=1m none small
		fill() {
			dd if=/dev/zero of=small/filler bs=4k 2>/dev/null || true
			[ "$(df --output=avail -k small | tail -1)" -eq 0 ]
		}
		is_ready() {
			i=0
			until [ "$(grep -c ready out)" -eq "$1" ] || [ $i -ge 500 ]; do sleep 0.02; i=$((i + 1)); done
		}
		runs_full() {
			mkfifo go
			exec 8<>go
			"$portshim" run -o small/s -- "$hazard" "$1" <&8 >out 2>err 8>&- &
			is_ready 1
			fill
			echo >&8
			is_ready 2
		}
		portshim=$1 library=$2 hazard=$3
	END
	cat >>small.sh
	run unshare -m --propagation private sh small.sh "$PORTSHIM" "$LIBRARY" "$HAZARD" </dev/null
	echo "$output"
}

# Remedy: a page is populated before it is touched (else SIGBUS); no chunk is no record, and no more.
@test "the disk is full: a program that joins goes on, and that it did not fit is counted" {
	unshare -m true 2>"$DIR/null" || skip "needs a mount namespace"
	need_root
	on_small_tmpfs <<-'END'
		"$portshim" run -o small/s -- true
		fill
		# run itself says so beforehand, and starts nothing.
		status=0
		"$portshim" run -s small/s -- touch started 2>refused || status=$?
		[ $status -eq 125 ] && grep -q 'No space left' refused && [ ! -e started ]
		for what in descriptors forks vfork image; do
			LD_PRELOAD=$library PORTSHIM_SESSION=$PWD/small/s "$hazard" $what </dev/null
		done
		"$portshim" sessions -s small/s --json
		"$portshim" tree -s small/s --past || [ $? -eq 1 ]
	END
	[ "$status" -eq 0 ]
	[ "$(grep -cx ready <<<"$output")" -eq 4 ]
	[[ $output == *"refused to processes "[1-9]* ]]
}

# Remedy: the same, for a program that has chunks and finds no more: counted drops, with back-off.
@test "the disk fills up while a program runs, and is freed again" {
	unshare -m true 2>"$DIR/null" || skip "needs a mount namespace"
	need_root
	on_small_tmpfs <<-'END'
		runs_full late
		cat out err
		"$portshim" sessions -s small/s --json >full.json
		rm small/filler
		echo >&8
		wait $!
		"$portshim" tree -s small/s --past
	END
	[ "$status" -eq 0 ]
	grep -qx 'done' out
	[ ! -s err ]
	jq -e '.sessions[0].dropped > 1000' full.json
}

# Remedy: the table is told anew by whatever record is the first that finds room, be it a count.
@test "there is room again, and the first record is a count" {
	unshare -m true 2>"$DIR/null" || skip "needs a mount namespace"
	need_root
	on_small_tmpfs <<-'END'
		runs_full late-count
		rm small/filler
		echo >&8
		is_ready 3
		"$portshim" ls -s small/s --json >held.json
		"$portshim" sessions -s small/s --json >full.json
		echo >&8
		wait $!
		cat err
	END
	[ "$status" -eq 0 ]
	[ ! -s err ]
	jq -e '.sessions[0].dropped > 10' full.json
	jq -e '.holders | length == 11 and all(.state == "listen" and (.fds | length) == 1)' held.json
}

# Remedy: a page that may not be populated is not touched either.
@test "MADV_POPULATE_WRITE is refused, as by an old kernel or a sandbox" {
	need_root
	for error in 1 22; do # EPERM, EINVAL
		SESSION=$DIR/session.$error
		"$PORTSHIM" run -o "$SESSION" -- true
		for name in descriptors forks vfork image; do
			start_ready bare "$HAZARD" "$name"
			finish bare "$PID"
			start_ready loaded "$HAZARD" refused "$error" \
				env LD_PRELOAD="$LIBRARY" PORTSHIM_SESSION="$SESSION" "$HAZARD" "$name"
			loaded=$PID
			grep -q libportshim "/proc/$loaded/maps"
			finish loaded "$loaded"
			diff <(plain bare.out) <(plain loaded.out)
			diff bare.err loaded.err
		done
		"$PORTSHIM" tree -s "$SESSION" --past 2>&1 | grep "refused to processes [1-9]"
	done
}

# Remedy: a traced process never grows a file.
@test "RLIMIT_FSIZE=0 kills nobody" {
	both fsize "$HAZARD" fsize
	same_as_kernel "$RECORDED"
	both_end fsize
	[ "$(dropped)" -eq 0 ] || [ "$(id -u)" -eq 0 ]
}

# Remedy: a process maps its own chunks, not the arena (256 MiB).
@test "RLIMIT_AS: the program has its memory" {
	limited() {
		(
			ulimit -v 100000
			exec "$@"
		)
	}
	start bare limited "$HAZARD" as 80
	ready bare
	finish bare "$PID"
	# shellcheck disable=SC2016 # the inner shell's
	record limited sh -c 'ulimit -v 100000; exec "$0" as 80' "$HAZARD"
	limited=$PID
	ready limited
	same_as_kernel "$limited"
	cmp bare.err limited.err
	finish limited "$limited"
}

# Remedy: what the table has no room for is asked for at its end.
@test "RLIMIT_AS as high descriptors are made: their ends are recorded" {
	both no-table "$HAZARD" no-table
	same_as_kernel "$RECORDED"
	that '.[0].fds | contains([3003, 3006, 3007])'
	both_end no-table
}

# Remedy: chunks are claimed by mapping a file that is closed again, which needs a number for a moment:
# where there is none, that is a counted drop; stock is taken without a descriptor.
@test "EMFILE: no number is left, and the table is right" {
	both nofile "$HAZARD" nofile
	same_as_kernel "$RECORDED"
	both_end nofile
}

# Remedy: as with RLIMIT_AS: only own chunks are mapped, so only they are locked in memory.
@test "mlockall locks no more than what is used" {
	need_root
	both locked "$HAZARD" locked
	same_as_kernel "$RECORDED"
	# 3,000 records and more, in KiB; the sparse arena is 256 MiB.
	[ "$(du -kc "$SESSION"/arena.* | tail -1 | cut -f1)" -le 2048 ]
	both_end locked
}

# ---- identity and sandboxes ----

# Remedies: room is reserved before the chroot, a new uid's arena is made before the drop, and no
# descriptor stays open (the program's own list of them is compared).
@test "chroot to an empty directory, then nobody" {
	need_root
	mkdir jail
	both jail "$HAZARD" jail "$DIR/jail"
	same_as_kernel "$RECORDED" "$(child_pid jail)"
	that "map(select(.pid == $RECORDED)) | length == 3 and all(.how == \"bound\" and .state == \"listen\")"
	that "map(select(.pid == $(child_pid jail))) | length == 4"
	covered | grep -q 'partly: chroot'
	both_end jail
}

# Remedy: LD_PRELOAD is left out where the new image could not read the library, and the reason is recorded.
@test "nobody executes a program while the library is in a directory of root's" {
	need_root
	public_bin
	mkdir -m 700 "$BIN/private"
	mv "$BIN/libportshim.so" "$BIN/portshim" "$BIN/private"
	PORTSHIM=$BIN/private/portshim
	both nobody setpriv --reuid=65534 --regid=65534 --clear-groups "$HAZARD" vfork
	"$PORTSHIM" events -s "$SESSION" | grep -i exec | grep -F "$HAZARD" | grep -F 'could not read the shim'
	covered | grep -F 'could not read the shim'
	both_end nobody
}

# Remedy: the same where the library does not exist, in the new root.
@test "a program is executed in a chroot that has no library of ours" {
	need_root
	mkdir jail
	for file in "$HAZARD" $(ldd "$HAZARD" | grep -o '/[^ ]*'); do cp --parents "$file" jail; done
	both jailed chroot "$DIR/jail" "$HAZARD" vfork
	[ ! -s jailed.err ]
	"$PORTSHIM" events -s "$SESSION" | grep -i exec | grep -F "$HAZARD" | grep -F 'could not read the shim'
	covered | grep -F 'could not read the shim'
	both_end jailed
}

# Remedy: what ld.so will not load us into is known beforehand, and said.
@test "a program with file capabilities, executed by a user who gains them" {
	need_root
	public_bin
	cp "$HAZARD" "$BIN/capable"
	# capabilities(7): revision 2, effective; CAP_NET_BIND_SERVICE.
	python3 -c 'import os, struct, sys
os.setxattr(sys.argv[1], "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))' "$BIN/capable"
	nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	"${nobody[@]}" "$BIN/capable" wait </dev/null
	start_ready bare "${nobody[@]}" "$BIN/capable" wait
	grep -q '^CapEff:.*400$' "/proc/$PID/status" || skip "no file capabilities here"
	# shellcheck disable=SC2016 # the inner shell's
	both capable "${nobody[@]}" sh -c '"$0" vfork; exit $?' "$BIN/capable"
	[ ! -s capable.err ]
	"$PORTSHIM" events -s "$SESSION" | grep -i exec | grep -F "$BIN/capable" | grep -F 'capabilit'
	covered | grep -F 'capabilit'
	both_end capable
}

# Remedy: with privileges to gain, the environment is somebody else's: nothing of it is obeyed.
@test "a setuid program into which the library is loaded all the same" {
	need_root
	unshare -m true 2>"$DIR/null" || skip "needs a mount namespace"
	public_bin
	if findmnt -no OPTIONS -T "$BIN" | grep -qw nosuid; then skip "$BIN is on a nosuid file system"; fi
	cp "$HAZARD" "$BIN/setuid"
	chmod u+s "$BIN/setuid" "$BIN/libportshim.so"
	# ld.so(8): then by its name alone, from where it always looks, and with this bit.
	theirs=$(ldconfig -p | sed -n 's/.*libutil\.so\.1 (libc6,x86-64.*) => //p; s/.*libutil\.so\.1 (libc6,AArch64.*) => //p')
	[ -n "$theirs" ] || skip "no libutil.so.1 to be in the place of"
	cat >secure.sh <<-'END'
		mount --bind "$1" "$2" || exit 77
		shift 2
		exec env LD_PRELOAD=libutil.so.1 "$@"
	END
	loaded() {
		start_ready "$1" unshare -m --propagation private sh secure.sh "$BIN/libportshim.so" "$theirs" "${@:2}"
		grep -F libutil.so.1 "/proc/$PID/maps"
	}
	loaded own "$BIN/setuid" descriptors
	own=$PID
	"$PORTSHIM" tree --json | jq -e "[.processes[].pid] == [$own]"
	loaded other setpriv --reuid=65534 --regid=65534 --clear-groups "$BIN/setuid" descriptors
	grep -q '^Uid:.65534.0' "/proc/$PID/status"
	"$PORTSHIM" tree --json | jq -e "[.processes[].pid] == [$own]"
	diff own.out other.out
	diff own.err other.err
}

# Remedy: room is reserved before the filter is set, and no system call of ours is made from then on.
@test "seccomp that kills for any other call: 500 connections are recorded" {
	both sandbox "$HAZARD" sandbox
	child=$(child_pid sandbox)
	that "map(select(.pid == $child and .state == \"listen\")) | length == 1 and .[0].accepts == 500"
	same_as_kernel "$RECORDED" "$child"
	covered | grep -q 'partly: .*seccomp'
	both_end sandbox
}

# Remedies: seteuid is wrapped as setresuid is, and who comes back to a uid goes on in that one's chunks
# rather than claim others for each request.
@test "a server that is another user for each of 3,000 requests" {
	need_root
	both euid "$HAZARD" euid
	same_as_kernel "$RECORDED"
	[ "$(dropped)" -eq 0 ]
	# 21,000 calls, in KiB.
	[ "$(du -kc "$SESSION"/arena.* | tail -1 | cut -f1)" -le 8192 ]
	both_end euid
}

# Remedy: a socket that cannot be looked at any more goes to the ring as any other, so that the room that was
# reserved is there for what decides who holds a port.
@test "3,000 connections after no_new_privs: none is lost, and the next listener is known" {
	both connects "$HAZARD" connects
	that "map(select(.state == \"listen\")) | length == 2 and (map(.accepts) | add) == 3000"
	[ "$(dropped)" -eq 0 ]
	both_end connects
}

# Remedy: the table's end is where the last entry was written, also by who may not map one.
@test "close_range and closefrom after no_new_privs" {
	both ranges "$HAZARD" ranges
	that 'length == 1 and (.[0].fds | length) == 1 and .[0].state == "listen"'
	same_as_kernel "$RECORDED"
	both_end ranges
}

# Remedy: what a thread does to a table of its own is not done to the process's, and that is said.
@test "CLOSE_RANGE_UNSHARE in a thread, and where there is no other" {
	both unshares "$HAZARD" unshares
	that 'length == 1 and (.[0].fds | length) == 1 and .[0].state == "listen"'
	same_as_kernel "$RECORDED"
	covered | grep -q 'partly: .*shared'
	[ "$("$PORTSHIM" events -s "$SESSION" | grep -c 'sandbox(shared)')" -eq 2 ]
	both_end unshares
}

# ---- processes ----

# Remedy: what exec must carry on is completed again by its wrapper, from what the process keeps itself.
@test "env -i in the middle of a tree" {
	# shellcheck disable=SC2016 # the inner shell's
	both scrubbed env -i "$(command -v sh)" -c 'env -i "$0" image; exit $?' "$HAZARD"
	that 'length == 1 and .[0].command == "hazard" and .[0].fds == [9] and .[0].accepts == 1 and .[0].how == "bound"'
	"$PORTSHIM" tree -s "$SESSION" --json |
		jq -e '.processes | length == 2 and (map(select(.parent == null)) | length) == 1'
	same_as_kernel
	both_end scrubbed
}

# Remedies: state is rebuilt after exec, and descriptors that outlive it are found by taking stock.
@test "one image listens, the next accepts" {
	both image "$HAZARD" image
	that "length == 1 and .[0].pid == $RECORDED and .[0].how == \"bound\" and .[0].accepts == 1"
	same_as_kernel
	both_end image
}

# Remedy: a vfork child is known as one: what it closes is closed in it.
@test "a vfork child closes its parent's listener" {
	both vfork "$HAZARD" vfork
	that "length == 1 and .[0].pid == $RECORDED"
	same_as_kernel
	both_end vfork
}

# Remedy: each public name of a call is wrapped.
@test "a child of __clone on its parent's memory closes the listener" {
	both clone "$HAZARD" clone
	that "length == 1 and .[0].pid == $RECORDED"
	same_as_kernel
	both_end clone
}

# Remedy: no lock is held over a fork, and a child that was forked in the middle of a call takes stock.
@test "200 forks while four threads are in the middle of calls" {
	both forks "$HAZARD" forks
	same_as_kernel "$RECORDED"
	[ "$("$PORTSHIM" tree -s "$SESSION" --past --json | jq '.processes | length')" -eq 201 ]
	both_end forks
}

# Remedies: a page that the kernel wipes tells of each fork; who the parent is stands where that page is not.
@test "forks by number: each is the child of who made it, in the middle of another fork too" {
	both numbers "$HAZARD" numbers
	"$PORTSHIM" tree -s "$SESSION" --past --json >processes
	jq '.processes | (.[0].process) as $first | (map(select(.exit == 0))) as $forked |
		length == 10 and ($forked | length == 3 and all(.parent == $first)) and
		(map(select(.exit == 11 or .exit == 12)) | length == 6 and
			(map(.parent) | sort) == ([range(4) | $first] + [range(2) | $forked[0].process] | sort))' processes |
		grep -qx true || {
		jq -c '.processes[] | [.process, .parent, .pid, .exit]' processes
		false
	}
	both_end numbers
}

# Remedy: pthread_atfork handlers from the start on.
@test "a fork by libc's own symbol, that no wrapper sees, and a child that does nothing" {
	cat >unseen.py <<-'END'
		import ctypes, os, signal, socket, sys
		listener = socket.create_server(("127.0.0.1", 0))
		libc = ctypes.CDLL("libc.so.6")
		child = libc.fork()
		while child == 0:
		    libc.pause()
		print(child, "ready", sep="\n", flush=True)
		sys.stdin.read(1)
		os.kill(child, signal.SIGKILL)
	END
	record unseen python3 unseen.py
	ready unseen
	child=$(head -n 1 unseen.out)
	own "$child"
	that "map([.pid, .how]) | sort == ([[$PID, \"bound\"], [$child, \"forked\"]] | sort)"
	finish unseen "$PID"
}

# Remedy: what a process knows of its arena is never taken over by one of another user.
@test "an exec that failed, another user, and an exec that did not" {
	[ "$(id -u)" -eq 0 ] || skip "not root"
	# Where the other user can read it.
	mkdir "$DIR/bin"
	cp "$PORTSHIM" "$LIBRARY" "$DIR/bin"
	cp /bin/true "$DIR/no_program"
	chmod 644 "$DIR/no_program"
	cat >users.py <<-'END'
		import os, sys
		for i in range(6):
		    if os.fork() == 0:
		        try:
		            os.execv(sys.argv[1], [sys.argv[1]])
		        except PermissionError:
		            os.setuid(65534)
		            os.execv("/bin/true", ["true"])
		    os.wait()
	END
	"$DIR/bin/portshim" run -o "$SESSION" -- python3 users.py "$DIR/no_program"
	"$PORTSHIM" events -s "$SESSION" --json | jq -se 'map(select(.event == "start" and .image[0] == "/usr/bin/true")) | length == 6'
}

# Remedies: no lock is held over a blocking accept, which stays a cancellation point; the count of calls
# in flight that a cancelled one leaves behind only costs.
@test "a thread is cancelled in accept, with a fork beside it" {
	both cancel "$HAZARD" cancel
	same_as_kernel "$RECORDED" "$(child_pid cancel)"
	that "map(select(.pid == $RECORDED and .state == \"listen\")) | length == 1 and .[0].accepts == 1"
	that "map(select(.pid == $(child_pid cancel) and .how == \"forked\")) | length == 1"
	both_end cancel
}

# Remedies: appends take no lock, and counters are raised by one instruction: a handler may come anywhere.
@test "a signal handler that closes, a thousand times" {
	both signals "$HAZARD" signals
	that 'map(select(.state == "listen")) | length == 1 and (.[0].fds | length) == 1'
	same_as_kernel "$RECORDED"
	both_end signals
}

# Remedy: an image that should report and has not in a second is said not to.
@test "a session that another user cannot reach: tree says who did not report" {
	need_root
	public_bin
	mkdir -m 700 "$DIR/private"
	SESSION=$DIR/private/session
	record other setpriv --reuid=65534 --clear-groups sleep 600
	silent() {
		"$PORTSHIM" tree -s "$SESSION" --json |
			jq -e ".processes | map(select(.pid == $PID)) | .[0].covered == \"no: did not report\""
	}
	wait_for silent >"$DIR/null"
}

# Remedies: the parent's signals wait until it is clear again who is who; a ticket is for one fork.
@test "a handler that comes before vfork is back, and one that forks in the middle of a fork" {
	both handlers "$HAZARD" handlers
	wait_for that 'map(select(.live) | .pid) | unique | length == 4' 2>"$DIR/null"
	same_as_kernel "$RECORDED"
	"$PORTSHIM" verify -s "$SESSION"
	both_end handlers
}

# Remedy: each thread knows what it is in the middle of itself.
@test "a handler that forks in the middle of accept: its child counts right from then on" {
	both accepts-on "$HAZARD" accepts-on
	"$PORTSHIM" events -s "$SESSION" --json | jq -se '
		def stocks(p): map(select(.event == "stock" and .process == p)) | length;
		(map(select(.event == "exit" and .status == 11) | .process)) as [$calm] |
		(map(select(.event == "exit" and .status == 12) | .process)) as [$contended] |
		$calm != null and $contended != null and stocks($calm) == 0 and stocks($contended) == 1'
	both_end accepts-on
}

# Remedy: whatever was counted between what a wrapper says and what the kernel does makes it look.
@test "a signal handler that makes a socket where a call is about to close" {
	start_ready bare env LD_PRELOAD="$HELPERS/interrupting.so" "$HAZARD" in-the-way
	finish bare "$PID"
	record recorded env LD_PRELOAD="$HELPERS/interrupting.so" "$HAZARD" in-the-way
	recorded=$PID
	ready recorded
	diff <(plain bare.out) <(plain recorded.out)
	same_as_kernel "$recorded" "$(child_pid recorded)"
	finish recorded "$recorded"
}

# Remedy: a pid that a process sees of itself is looked up among those of processes that live in namespaces.
@test "pid namespaces: who lives in them, under equal pids, is known by the pids outside" {
	need_root
	unshare -p -f true 2>"$DIR/null" || skip "needs a pid namespace"
	local n first child pids=() outer=()
	"$PORTSHIM" run -o "$SESSION" -- true
	for n in 1 2; do
		join "inner.$n" unshare -p -f "$HAZARD" cancel
		outer+=("$PID")
		ready "inner.$n"
		grep -qx 'child [0-9]' "inner.$n.out"
		first=$(children_of "$PID")
		child=$(children_of "$first")
		pids+=("$first" "$child")
	done
	same_as_kernel "${pids[@]}"
	that "map(select(.state == \"listen\" and .live) | .pid) | unique == ([$(tr ' ' , <<<"${pids[*]}")] | sort)"
	"$PORTSHIM" verify -s "$SESSION"
	finish inner.1 "${outer[0]}"
	same_as_kernel "${pids[2]}" "${pids[3]}"
	that "map(select(.live) | .pid) | unique == ([${pids[2]}, ${pids[3]}] | sort)"
	finish inner.2 "${outer[1]}"
	that 'length > 0 and all(.live | not)' --past
}

# Remedy: each process folds its own records by their stamps; others' matter only for who gave what.
@test "a time namespace whose clock is ahead or behind: who holds what is right" {
	need_root
	unshare -T true 2>"$DIR/null" || skip "needs a time namespace"
	for ahead in 100000 -100; do
		SESSION=$DIR/session.$ahead
		both "time.$ahead" unshare -T -f --monotonic "$ahead" "$HAZARD" vfork
		child=$(children_of "$RECORDED")
		same_as_kernel "$RECORDED" "$child"
		that "map(select(.pid == $child)) | length == 1 and .[0].how == \"bound\" and .[0].state == \"listen\""
		covered | grep -q 'partly: namespace'
		both_end "time.$ahead"
	done
}

# Remedy: ids of our own, and (pid, start) always together.
@test "three processes of one and the same pid" {
	unshare -m true 2>"$DIR/null" || skip "needs a mount namespace"
	need_root
	# A background job's stdin would be /dev/null.
	# shellcheck disable=SC2016 # the inner shell's
	start pids unshare -pfm --mount-proc sh -c '
		exec 8<&0
		"$0" run -o "$1" -- "$2" same-pid <&8 &
		child=$!
		i=0
		until grep -qx ready pids.out || [ $i -ge 500 ]; do sleep 0.02; i=$((i + 1)); done
		"$0" ls -s "$1" --json >live.json
		"$0" ls -s "$1" --past --json >past.json
		kill $child
		wait $child' "$PORTSHIM" "$SESSION" "$HAZARD"
	unshare=$PID
	wait "$unshare" || true
	if grep -q ns_last_pid pids.err; then skip "no /proc/sys/kernel/ns_last_pid"; fi
	cat pids.out pids.err
	child=$(child_pid pids)
	jq -e ".holders | map(select(.pid == $child)) | length == 1 and .[0].live" live.json
	jq -e ".holders | map(select(.pid == $child)) | length == 2 and all(.live == false)" past.json
	jq -s -e "map(.holders[] | select(.pid == $child)) | (map(.process) | unique | length) == 3
		and (map(.local) | unique | length) == 3" live.json past.json
}

# Remedy: what is acknowledged is in shared memory before the call returns.
@test "SIGKILL in the middle of everything" {
	for round in 1 2 3; do
		SESSION=$DIR/session.$round
		record "server.$round" "$HELPERS/server" tcp:127.0.0.1:0
		server=$PID
		join "storm.$round" "$HAZARD" forks
		storm=$PID
		started() { [ "$("$PORTSHIM" tree -s "$SESSION" --past --json | jq '.processes | length')" -gt 20 ]; }
		wait_for started
		kill -KILL "$storm"
		wait "$storm" || true
		alone() { "$PORTSHIM" tree -s "$SESSION" --json | jq -e ".processes | length == 1 and .[0].pid == $server"; }
		wait_for alone
		same_as_kernel "$server"
		that "length == 1 and .[0].pid == $server" --all
		that "map(select(.pid == $storm)) | length > 0 and all(.live == false and .fds == [])" --past --all
	done
}

# ---- hostile programs ----

# Remedies: a process has windows on its own chunks only, there is an arena for each uid, that no other uid
# can open, and the reader trusts nothing.
@test "a program scribbles over all of the log that it can reach: others' records survive" {
	need_root
	public_bin
	record server "$HELPERS/server" tcp:127.0.0.1:0 udp:127.0.0.1:0 "unix:$DIR/x.sock"
	server=$PID
	ready server
	holders | jq -c ".holders[] | select(.pid == $server)" >before
	[ "$(wc -l <before)" -eq 3 ]
	join scribble "$HAZARD" scribble 65534 "$SESSION/arena.0" "$SESSION/session"
	scribble=$PID
	ready scribble
	grep -q scribbled scribble.out
	[ ! -s scribble.err ]
	holders | jq -c ".holders[] | select(.pid == $server)" >after
	diff before after
	for verb in "ls --all" "ls --past --json" "tree --past" "events" "events --json" "sessions"; do
		# shellcheck disable=SC2086 # words
		run "$PORTSHIM" ${verb%% *} -s "$SESSION" ${verb#"${verb%% *}"}
		[ "$status" -le 1 ]
	done
	finish scribble "$scribble"
}

# Remedy: what is mapped of an arena does not outlive the uid that it belongs to.
@test "a program that was root once scribbles: root's later records are not lost" {
	need_root
	public_bin
	record scribble "$HAZARD" scribble 65534
	scribble=$PID
	ready scribble
	grep -q scribbled scribble.out
	join later "$HELPERS/server" tcp:127.0.0.1:0
	ready later
	that "map(select(.pid == $PID)) | length == 1 and .[0].how == \"bound\""
	finish scribble "$scribble"
}

# Remedy: windows: even one of the same uid has no mapping of another's chunks.
@test "a program of the same uid scribbles: what others had recorded survives" {
	record server "$HELPERS/server" tcp:127.0.0.1:0 udp:127.0.0.1:0 "unix:$DIR/x.sock"
	server=$PID
	ready server
	holders | jq -c ".holders[] | select(.pid == $server)" >before
	[ "$(wc -l <before)" -eq 3 ]
	join scribble "$HAZARD" scribble
	ready scribble
	grep -q scribbled scribble.out
	holders | jq -c ".holders[] | select(.pid == $server)" >after
	diff before after
	finish server "$server"
	that "map(select(.pid == $server)) | length == 3" --past
}

# ---- loading ----

# Remedy: the first call that matters attaches, whoever makes it: it is recorded, and ruled.
@test "another preloaded library listens before any constructor of ours" {
	for order in "$HELPERS/early.so:$LIBRARY" "$LIBRARY:$HELPERS/early.so"; do
		SESSION=$DIR/session.${order##*/}
		start_ready "bare" env LD_PRELOAD="$HELPERS/early.so" "$HAZARD" wait
		finish bare "$PID"
		"$PORTSHIM" run -o "$SESSION" -- true
		start early env LD_PRELOAD="$order" PORTSHIM_SESSION="$SESSION" "$HAZARD" wait
		early=$PID
		ready early
		same_as_kernel "$early"
		that "length == 1 and .[0].pid == $early and .[0].state == \"listen\" and .[0].how == \"bound\""
		cmp bare.err early.err
		finish early "$early"
	done
	run "$PORTSHIM" run -o "$DIR/denied" -r 'bind tcp -> deny' -- \
		env LD_PRELOAD="$HELPERS/early.so" "$HAZARD" wait
	[ "$status" -eq 99 ]
}

# Remedy: real calls go to the next definition of the symbol, and so through other libraries.
@test "another preloaded library that wraps the same calls sees each of them once" {
	export COUNTING=$DIR/count
	start bare env LD_PRELOAD="$HELPERS/counting.so" "$HAZARD" image
	ready bare
	finish bare "$PID"
	mv count bare.count
	record counted env LD_PRELOAD="$HELPERS/counting.so" "$HAZARD" image
	counted=$PID
	ready counted
	same_as_kernel "$counted"
	finish counted "$counted"
	cat bare.count
	grep -q ' 1 accepts' bare.count
	diff bare.count count
}

# Remedy: exec's wrapper puts ours in front and leaves the others as they are.
@test "LD_PRELOAD keeps its other entries, in order" {
	touch none
	LD_PRELOAD="$HELPERS/early.so:$HELPERS/counting.so" "$PORTSHIM" run -o "$SESSION" -- \
		env LD_PRELOAD="$HELPERS/counting.so $HELPERS/early.so" sh -c 'env; exec env' >out
	[ "$(grep -c '^LD_PRELOAD=' out)" -eq 2 ]
	[ "$(grep -cx "LD_PRELOAD=$LIBRARY:$HELPERS/counting.so:$HELPERS/early.so" out)" -eq 2 ]
}

# Remedies: no malloc in any wrapper, and none by dlsym for symbols that are there.
@test "jemalloc beside us" {
	jemalloc=$(ldconfig -p | sed -n 's/.*libjemalloc\.so\.2 .* => //p' | head -1)
	[ -n "$jemalloc" ] || skip "no libjemalloc2"
	for name in descriptors forks cancel; do
		SESSION=$DIR/session.$name
		LD_PRELOAD=$jemalloc both "$name" env LD_PRELOAD="$jemalloc" "$HAZARD" "$name"
		grep -q libjemalloc "/proc/$RECORDED/maps"
		grep -q libportshim "/proc/$RECORDED/maps"
		same_as_kernel "$RECORDED"
		both_end "$name"
	done
}

# ./asan, and its $runtime.
asan_program() {
	echo 'int main(void) { return 0; }' >none.c
	gcc -fsanitize=address -o none none.c 2>/dev/null || skip "gcc has no AddressSanitizer"
	gcc -std=gnu17 -D_GNU_SOURCE -g -fsanitize=address -o asan "$TOP/tests/helpers/hazard.c" -pthread
	runtime=$(ldd asan | sed -n 's/.*libasan\.so[^ ]* => \([^ ]*\).*/\1/p')
}

# Nothing that is preloaded may come before ASan's runtime, unless it is told not to mind: so with any
# library.  Remedies: ours must work where any does, without a word from ASan about it.
@test "a program built with AddressSanitizer" {
	asan_program
	export ASAN_OPTIONS=verify_asan_link_order=0
	for name in descriptors forks vfork image signals; do
		SESSION=$DIR/session.$name
		# What works with a library that does nothing of the kind must work with ours.
		start_ready other env LD_PRELOAD="$HELPERS/counting.so" "$DIR/asan" "$name"
		finish other "$PID"
		both "$name" "$DIR/asan" "$name"
		same_as_kernel "$RECORDED"
		both_end "$name"
	done
}

# Remedy: ours goes behind a sanitizer's runtime, which insists on being first.
@test "a program built with AddressSanitizer whose runtime is preloaded" {
	asan_program
	start_ready other env LD_PRELOAD="$runtime:$HELPERS/counting.so" "$DIR/asan" vfork
	finish other "$PID"
	record first env LD_PRELOAD="$runtime" "$DIR/asan" vfork
	first=$PID
	ready first
	same_as_kernel "$first"
	finish first "$first"
}

# unseen WORD PROGRAM [ARG...]: runs as it does bare, with a warning that says WORD; executed by a program
# that is seen, nothing is printed and the reason is on record.
unseen() {
	local word=$1 bare=0
	shift
	"$@" >bare.out 2>bare.err </dev/null || bare=$?
	run --separate-stderr "$PORTSHIM" run -o "$SESSION" -- "$@" </dev/null
	[ "$status" -eq "$bare" ]
	[ "$output" = "$(cat bare.out)" ]
	[[ $stderr == *"$word"* ]]
	SESSION=$SESSION.exec
	# shellcheck disable=SC2016 # the inner shell's
	run --separate-stderr "$PORTSHIM" run -o "$SESSION" -- sh -c '"$@"; exec "$@"' sh "$@" </dev/null
	echo "$stderr"
	[ "$status" -eq "$bare" ]
	[ "$output" = "$(cat bare.out bare.out)" ]
	[ "$stderr" = "$(cat bare.err bare.err)" ]
	"$PORTSHIM" events -s "$SESSION" | grep -i exec | grep -F "$1" | grep -F "$word"
	covered | grep -F "$word"
}

# Remedy: the loader of another libc is found before it is asked to load us, and the program is named.
@test "a program of musl's is unharmed, and named" {
	command -v musl-gcc >/dev/null || skip "no musl-gcc"
	cat >musl.c <<-'END'
		#include <stdio.h>
		#include <sys/socket.h>
		int main(void) { printf("socket %d\n", socket(AF_INET, SOCK_STREAM, 0)); return 7; }
	END
	musl-gcc -o musl musl.c
	readelf -l musl | grep -q 'interpreter: .*musl' || skip "musl-gcc links statically"
	unseen "another libc" "$DIR/musl"
}

# Remedies: no symbol is needed that only one libc has, for a single one would keep the program from starting;
# what musl has no function for can still be called by number.
@test "a program of musl's that is preloaded all the same: it works, and is recorded" {
	command -v musl-gcc >/dev/null || skip "no musl-gcc"
	musl-gcc -std=gnu17 -D_GNU_SOURCE '-Dclose_range(...)=syscall(SYS_close_range, __VA_ARGS__)' \
		-idirafter /usr/include -idirafter "/usr/include/$(gcc -print-multiarch)" \
		-o musl "$TOP/tests/helpers/hazard.c" -pthread
	for name in descriptors forks cancel vfork signals connects sandbox; do
		SESSION=$DIR/session.$name
		start_ready bare "$DIR/musl" "$name"
		finish bare "$PID"
		"$PORTSHIM" run -o "$SESSION" -- true
		start_ready loaded env LD_PRELOAD="$LIBRARY" PORTSHIM_SESSION="$SESSION" "$DIR/musl" "$name"
		loaded=$PID
		grep -q libportshim "/proc/$loaded/maps"
		diff <(plain bare.out) <(plain loaded.out)
		same_as_kernel "$loaded"
		finish loaded "$loaded"
		diff bare.err loaded.err
	done
}

# Remedy: the same for another ELF class; children that can be seen are seen again.
@test "a 32-bit program in the middle of a tree: its 64-bit child is seen" {
	[ "$(uname -m)" = x86_64 ] || skip "x86-64 only"
	cat >middle.c <<-'END'
		#include <unistd.h>
		int main(int argc, char **argv) { execv(argv[1], argv + 1); return 1; }
	END
	gcc -m32 -o middle middle.c 2>/dev/null || skip "gcc -m32 does not link"
	./middle "$(command -v true)" || skip "this kernel runs no 32-bit programs"
	# shellcheck disable=SC2016 # the inner shell's
	both middle sh -c '"$0" "$@"; exit $?' "$DIR/middle" "$HAZARD" image
	[ ! -s middle.err ]
	"$PORTSHIM" events -s "$SESSION" | grep -i exec | grep -F "$DIR/middle" | grep -F 'another machine'
	same_as_kernel
	both_end middle
}
