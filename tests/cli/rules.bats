#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The rule language as the tool has it: mistakes, expansion, trying.  What rules do is tested elsewhere.
# shellcheck disable=SC2016,SC2030,SC2031

bats_require_minimum_version 1.5.0

setup() {
	load common
	common_setup
	DEF=$TOP/include/portshim/rules.def
	PAGE=$TOP/tools/man/portshim-rules.5
}

teardown() {
	common_teardown
}

# refuses TEXT OPTION…: by one line, that is TEXT, before anything is started or made.
refuses() {
	fails 2 "portshim: $1" "$PORTSHIM" run "${@:2}" touch "$DIR/started"
	[ "$(cat "$DIR/err")" = "portshim: $1" ] || {
		cat "$DIR/err" >&2
		return 1
	}
	fails 2 "portshim: $1" "$PORTSHIM" run -o "$DIR/made" "${@:2}" touch "$DIR/started"
	[ ! -e "$DIR/started" ] && [ ! -e "$DIR/made" ] && [ -z "$(ls -A "$PORTSHIM_ROOT")" ]
}

rules() {
	"$PORTSHIM" rules "$@"
}

# words KIND: of rules.def.
words() {
	sed -nE "s/^$1\([A-Z0-9_]+, \"([a-z0-9]+)\".*/\1/p" "$DEF"
}

# calls_of ACTION: "bind, connect".
calls_of() {
	grep -E "^ACTION\([A-Z]+, \"$1\"," "$DEF" | grep -oE 'ON\([A-Z]+\)' | sed 's/ON(//; s/)//' |
		tr '[:upper:]' '[:lower:]' | paste -sd, | sed 's/,/, /g'
}

calls="bind, listen, connect, accept or send"
matchers="tcp, udp, unix, ipv4, ipv6, addr, port, path, exe, arg or uid"
actions="reuseport, adopt, redirect, deny, cloexec, set, backlog, unmasked or pass"
ports="ports without blanks, as 80 or 80,8000-8010"
where="IP, :PORT, IP:PORT, [IP6]:PORT, :+N, :-N, unix:PATH or unix:@NAME"

@test "a mistake is told by source, line and column" {
	printf '# web\n\nbind tcp port 70000 -> deny\n' >web.rules
	refuses "web.rules:3:15: port 70000: not in 0-65535" -f web.rules
	refuses "$DIR/web.rules:3:15: port 70000: not in 0-65535" -f "$DIR/web.rules"
	refuses "-r #1:1:11: port 70000: not in 0-65535" -r 'bind port 70000 -> deny'
	refuses "-r #2:1:14: port 65536: not in 0-65535" -r 'bind -> pass' -r 'connect port 65536 -> deny'
	refuses "-r #1:2:3: call x: expected $calls" -r $'bind -> pass;\n  x'
	fails 2 "portshim: stdin:3:15: port 70000: not in 0-65535" "$PORTSHIM" run -f - touch started <web.rules
	[ ! -e started ]
	PORTSHIM_RULES=$'bind -> pass\nbnd' refuses "PORTSHIM_RULES:2:1: call bnd: expected $calls"
	refuses "--share=70000: port 70000: not in 0-65535" --share=70000
	refuses "--deny 70000: port 70000: not in 0-65535" --deny 70000
	refuses "--redirect 70000=80: port 70000: not in 0-65535" --redirect 70000=80
	refuses "--redirect 80=70000: redirect 70000: not in 0-65535" --redirect 80=70000
	fails 2 "portshim: web.rules:3:15: port 70000: not in 0-65535" rules web.rules
	fails 2 "portshim: stdin:3:15: port 70000: not in 0-65535" rules - <web.rules
	fails 2 "portshim: -r #1:1:5: rule: ends too early" rules -r bind
}

@test "every kind of mistake" {
	refuses "-r #1:1:1: call bnd: expected $calls" -r 'bnd -> pass'
	refuses "-r #1:1:6: matcher tpc: expected $matchers" -r 'bind tpc -> pass'
	refuses "-r #1:1:9: action share: expected $actions" -r 'bind -> share'
	refuses "-r #1:1:9: rule: ends too early; expected -> and actions, or $matchers" -r 'bind tcp'
	refuses "-r #1:1:8: ->: nothing behind it; expected $actions" -r 'bind ->'
	refuses "-r #1:1:10: not: nothing behind it; expected $matchers" -r 'bind not -> pass'
	refuses "-r #1:1:11: port: nothing behind it; expected $ports" -r 'bind port -> pass'
	refuses "-r #1:1:11: port http: expected $ports" -r 'bind port http -> pass'
	refuses "-r #1:1:11: port 80,: expected $ports" -r 'bind port 80, 443 -> pass'
	refuses "-r #1:1:11: port 90-80: its end comes before its start" -r 'bind port 90-80 -> pass'
	refuses "-r #1:1:11: addr localhost: expected an IP address, as 127.0.0.1, ::1 or 10.0.0.0/8" \
		-r 'bind addr localhost -> pass'
	refuses "-r #1:1:11: addr 10.0.0.0/33: the prefix is not in 0-32" -r 'bind addr 10.0.0.0/33 -> pass'
	refuses "-r #1:1:10: uid no-such-user: no such user; expected a number or a name" \
		-r 'bind uid no-such-user -> pass'
	refuses "-r #1:1:10: exe: nothing behind it; expected a pattern, as nginx or \"/opt/my app/*\"" \
		-r 'bind exe -> pass'
	refuses '-r #1:1:10: quote "/opt/x -> pass: not finished; expected " on the same line' \
		-r 'bind exe "/opt/x -> pass'
	refuses '-r #1:1:12: quote \: in quotes a backslash stands before " or another one only' \
		-r 'bind exe "a\b" -> pass'
	refuses "-r #1:1:9: backlog: not for bind, only for listen" -r 'bind -> backlog 5'
	refuses "-r #1:1:11: redirect: not for listen, only for bind, connect or send" -r 'listen -> redirect :1'
	refuses "-r #1:1:18: cloexec: twice in one rule" -r 'bind -> cloexec, cloexec'
	refuses "-r #1:1:28: set SO_MARK: twice in one rule" -r 'bind -> set SO_MARK=1, set SO_MARK=2'
	refuses "-r #1:1:15: cloexec: deny stands alone in its rule" -r 'bind -> deny, cloexec'
	refuses "-r #1:1:18: deny: stands alone in its rule" -r 'bind -> cloexec, deny'
	refuses "-r #1:1:9: unmasked: expected with redirect in one rule" -r 'bind -> unmasked'
	refuses "-r #1:1:19: cloexec: expected ',' and another action, or the end of the rule" \
		-r 'bind -> reuseport cloexec'
	refuses "-r #1:1:14: deny EFOO: expected an error that these calls have, as EACCES or EADDRINUSE" \
		-r 'bind -> deny EFOO'
	refuses "-r #1:1:18: redirect 8080: expected $where" -r 'bind -> redirect 8080'
	refuses "-r #1:1:18: redirect unix:x: expected an absolute path behind unix:" -r 'bind -> redirect unix:x'
	refuses "-r #1:1:19: backlog -1: expected a number up to 2147483647" -r 'listen -> backlog -1'
	refuses "-r #1:1:13: set SO_FOO: no option known here; 'portshim rules --help' lists them" \
		-r 'bind -> set SO_FOO=1'
	refuses "-r #1:1:13: set SO_MARK: expected OPTION=VALUE without blanks, as SO_KEEPALIVE=1" \
		-r 'bind -> set SO_MARK 1'
	refuses "-r #1:1:13: set SO_MARK=on: expected a number as value" -r 'bind -> set SO_MARK=on'
	refuses "-r #1:1:15: adopt: not in this version; reuseport shares a port too" \
		-r 'bind -> pass; bind -> adopt web'
	printf 'bind -> pass\nbi\0nd' >nul.rules
	refuses "nul.rules:2:3: a NUL byte: expected text" -f nul.rules
}

@test "mistakes in the short forms" {
	form="expected FROM=TO, as 80=8080, 80=unix:/run/web.sock or 0.0.0.0=127.0.0.1"
	for bad in 80 80= =80 '' : '[::1]=80' '[::1]80=80' 1.2.3.4:=80 :80=81; do
		refuses "--redirect $bad: $form" --redirect "$bad"
	done
	refuses "--redirect localhost=80: addr localhost: expected an IP address, as 127.0.0.1, ::1 or 10.0.0.0/8" \
		--redirect localhost=80
	refuses "--redirect 80=x: redirect x: expected $where" --redirect 80=x
	refuses "--share=: port \"\": expected $ports" --share=
	refuses "--share=80 81: port \"80 81\": expected $ports" --share='80 81'
	# No argument is more than an argument.
	refuses "--deny 80 -> pass #: port \"80 -> pass #\": expected $ports" --deny '80 -> pass #'
	fails 2 "portshim: run: option '--cloexec' takes no argument" "$PORTSHIM" run --cloexec=x true
	fails 2 "portshim: run: option '--deny' needs an argument: PORTS" "$PORTSHIM" run --deny
	fails 2 "portshim: run: option '--rule' needs an argument: RULE" "$PORTSHIM" run -r
}

@test "files that cannot be read, and texts that are too long" {
	refuses "none.rules: No such file or directory" -f none.rules
	mkdir dir
	refuses "dir: Is a directory" -f dir
	head -c 65536 /dev/zero | tr '\0' '#' >long.rules
	refuses "long.rules: longer than 65535 bytes" -f long.rules
	head -c 65535 long.rules >fits.rules
	"$PORTSHIM" rules fits.rules
	for ((i = 0; i < 3000; i++)); do echo 'bind -> deny'; done >many.rules
	refuses "all rules together: longer than 65535 bytes when written out" -f many.rules
	export PORTSHIM_RULES
	PORTSHIM_RULES=$(head -c 16385 long.rules)
	refuses "PORTSHIM_RULES: longer than 16384 bytes"
	PORTSHIM_RULES=$(head -c 16384 long.rules)
	"$PORTSHIM" run true
	fails 2 "no FILE and no -r" "$PORTSHIM" rules
	fails 2 "unexpected argument 'b'" "$PORTSHIM" rules -r 'bind -> pass' many.rules b
}

@test "run takes rules of every form" {
	echo 'bind -> cloexec' >a.rules
	status=0
	PORTSHIM_RULES='bind -> pass' "$PORTSHIM" run -r 'connect port 1 -> pass' -f a.rules --share --share=80,81-90 \
		--redirect 80=81 --redirect 1.2.3.4=::1 --redirect '[::1]:80=unix:/x y' --deny 1-2 --cloexec \
		sh -c 'exit 7' || status=$?
	[ "$status" -eq 7 ]
}

@test "rules: expanded" {
	cat >web.rules <<-'EOF'
		# the web
		bind   tcp port 80,443->reuseport ; listen -> deny   # both
		bind uid root exe "/opt/my app" -> set IP_TOS=0x10,redirect unix:"/run/a b"
	EOF
	cat >expected <<-'EOF'
		#: -r #1
		bind port 1 -> pass
		#: -r #2
		send -> pass
		#: web.rules:2
		bind tcp port 80,443 -> reuseport
		#: web.rules:2
		listen -> deny EACCES
		#: web.rules:3
		bind uid 0 exe "/opt/my app" -> set IP_TOS=16, redirect "unix:/run/a b"
	EOF
	rules -r 'bind port 1 -> pass' -r 'send->pass' web.rules | diff - expected
	# What it prints is rules again.
	rules expected | grep -v '^#:' | diff - <(grep -v '^#:' expected)
	rules -r 'bind port 1 -> pass' --json web.rules |
		jq -e '.rules == [{source: "-r #1", rule: "bind port 1 -> pass"},
			{source: "web.rules:2", rule: "bind tcp port 80,443 -> reuseport"},
			{source: "web.rules:2", rule: "listen -> deny EACCES"},
			{source: "web.rules:3",
			rule: "bind uid 0 exe \"/opt/my app\" -> set IP_TOS=16, redirect \"unix:/run/a b\""}]'
	: >empty
	[ -z "$(rules empty)" ]
	rules --json empty | jq -e '.rules == []'
	[ "$(rules - <<<'bind -> pass' | head -n 1)" = "#: stdin:1" ]
	# A file's name cannot make a second line.
	echo 'bind -> pass' >$'a\nbind -> deny'
	[ "$(rules $'a\nbind -> deny')" = $'#: a?bind -> deny:1\nbind -> pass' ]
}

@test "rules --try" {
	cat >web.rules <<-'EOF'
		bind tcp port 80 exe nginx -> redirect :+8000, unmasked
		bind -> cloexec, set SO_MARK=1, redirect 127.0.0.1
		bind port 65000 -> pass
		bind path /run/*.sock -> deny EPERM
		connect udp port 53 -> redirect [::1]:5353
		bind uid 33 arg -x -> reuseport
		bind port 60000 -> redirect :+6000
	EOF
	run -0 rules --try 'bind tcp 0.0.0.0:80 exe /usr/sbin/nginx' web.rules
	[[ ${lines[0]} =~ ^DOES\ +RESULT\ +SOURCE\ +RULE$ ]]
	[[ ${lines[1]} =~ ^"redirect :+8000 0.0.0.0:8080 web.rules:1 bind tcp port 80 exe nginx -> redirect :+8000, unmasked"$ ]]
	[[ ${lines[2]} =~ ^cloexec\ +-\ +web.rules:2\  ]]
	[[ ${lines[3]} =~ ^unmasked\ +-\ +web.rules:1\  ]]
	[[ ${lines[4]} =~ ^"set SO_MARK=1 "\ *-\ +web.rules:2\  ]]
	[ "${#lines[@]}" -eq 5 ]
	rules --json --try 'bind tcp [::]:80' web.rules | jq -e '.decisions | map([.action, .does, .result, .source]) == [
		["redirect", "redirect 127.0.0.1", "127.0.0.1:80", "web.rules:2"],
		["cloexec", "cloexec", null, "web.rules:2"], ["set", "set SO_MARK=1", null, "web.rules:2"]] and
		.[0].rule == "bind -> cloexec, set SO_MARK=1, redirect 127.0.0.1"'
	rules --json --try 'bind tcp 0.0.0.0:65000' web.rules | jq -e '.decisions[2] | .action == "pass" and .source == "web.rules:3"'
	rules --json --try 'connect udp [::1]:53' web.rules | jq -e '.decisions | length == 1 and .[0].result == "[::1]:5353"'
	rules --json --try 'bind unix /run/x.sock' web.rules |
		jq -e '.decisions | length == 1 and .[0].does == "deny EPERM" and .[0].result == null'
	rules --json --try 'bind unix @name uid 33 arg -x' web.rules |
		jq -e '.decisions | map(.action) == ["reuseport", "cloexec", "set"]'
	run -0 rules -r 'bind port 60000 -> redirect :+6000' --try 'bind tcp 0.0.0.0:60000' web.rules
	[[ $output == *"EADDRNOTAVAIL"*"-r #1"* ]]
	run -1 --separate-stderr rules --try 'connect udp [::1]:54' web.rules
	[[ $output == "DOES RESULT SOURCE RULE" ]]
	[ -z "$stderr" ]
	run -1 rules --try 'connect udp [::1]:54' --json web.rules
	jq -e '.decisions == []' <<<"$output"
}

@test "rules: a program is known after symbolic links" {
	ln -s "$(realpath /bin/true)" linked
	run -0 --separate-stderr rules -r "bind exe $DIR/linked -> deny" </dev/null
	[ "$stderr" = "portshim: -r #1: exe $DIR/linked: a symbolic link, which never matches: the program is $(
	)$(realpath /bin/true); name that" ]
	run -1 --separate-stderr rules -r "bind exe $DIR/linked -> deny" --try "bind tcp 0.0.0.0:80 exe $DIR/linked"
	[[ $stderr == *"portshim: rules: --try: exe $DIR/linked: a symbolic link: tried as $(realpath /bin/true)"* ]]
	run -0 --separate-stderr rules -r "bind exe $(realpath /bin/true) -> deny" \
		--try "bind tcp 0.0.0.0:80 exe $DIR/linked"
	# Patterns, plain files and what is not there are no links.
	run -0 --separate-stderr rules -r "bind exe $DIR/link* -> deny; bind exe $(realpath /bin/true) -> deny; $(
	)bind exe $DIR/none -> deny; bind exe linked -> deny"
	[ -z "$stderr" ]
}

@test "rules --try: calls that make no sense" {
	try() {
		fails 2 "portshim: rules: --try: $1" "$PORTSHIM" rules -r 'bind -> pass' --try "$2"
	}
	try "ends too early: expected bind, listen" ''
	try "bnd: expected bind, listen, connect, accept or send" 'bnd tcp 0.0.0.0:80'
	try "ends too early: expected tcp, udp or unix" 'bind'
	try "ipv4: expected tcp, udp or unix" 'bind ipv4'
	try "ends too early: expected an address, as 0.0.0.0:80 or [::1]:80" 'bind tcp'
	for address in 80 :80 0.0.0.0 0.0.0.0: 0.0.0.0:65536 0.0.0.0:x ::1:80 '[::1]' '[0.0.0.0]:80' x:80 '[]:1' '[]]:1'; do
		try "$address: expected an address, as 0.0.0.0:80 or [::1]:80" "bind tcp $address"
	done
	try "ends too early: expected a path or @NAME of at most 108 bytes" 'bind unix'
	try "port: expected exe PATH, arg WORD, uid USER or nothing more" 'bind tcp 0.0.0.0:80 port 80'
	try "ends too early: expected a word more" 'bind tcp 0.0.0.0:80 exe'
	try "no-such-user: expected a user's number or name" 'bind tcp 0.0.0.0:80 uid no-such-user'
}

@test "help and manual know every word and every pair" {
	rules --help >help
	[ "$(words CALL | wc -l)" -eq 5 ] && [ "$(words MATCHER | wc -l)" -eq 11 ] && [ "$(words ACTION | wc -l)" -eq 9 ]
	for word in $(words CALL; words MATCHER); do
		grep -qE "^  $word( |\$)" help
		awk '/^.SH CALLS/ { on = 1 } /^.SH ACTIONS/ { on = 0 } on' "$PAGE" | grep -qE "^\.B[IR]* (.* )?$word\b"
	done
	for word in $(words ACTION); do
		pair=$(calls_of "$word")
		grep -qE "^  $word\b.*  $pair\$" help
		# The line behind the one that names it: .RI ( bind ", " connect )
		[ "$(grep -A1 -E "^\.BI? $word(\\\\~|\$)" "$PAGE" | sed -nE 's/^\.RI \( (.*) \)$/\1/p' | tr -d '" ')" = \
			"${pair// /}" ] || {
			echo "$word: $pair" >&2
			return 1
		}
	done
	sed -nE 's/^(OPTION|ERRNO)\(([A-Z0-9_]+).*/\2/p' "$DEF" | while read -r word; do grep -qw "$word" help; done
}

@test "the manual's examples are rules, one for each action" {
	man() {
		awk '/^.SH ACTIONS/ { on = 1 } /^.SH SHORT/ { on = 0 } on' "$PAGE" |
			sed -n '/^\.EX/,/^\.EE/{/^\.E/d; s/\\-/-/g; p}'
	}
	man | grep -v 'adopt' >examples
	for word in $(words ACTION); do man | grep -q -- "[>,] $word"; done
	[ "$(rules examples | grep -c '^#:')" -eq "$(grep -o -- '->' examples | wc -l)" ]
	if command -v man >/dev/null; then [ -z "$(command man --warnings -l "$PAGE" 2>&1 >/dev/null)" ]; fi
}
