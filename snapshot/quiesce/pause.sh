# Holds the CouchDB of this container still by SIGSTOP, for as long as this
# script's input lasts, at most $1 seconds. Runs in CouchDB's own container under
# any POSIX shell. Speaks the protocol of package protocol.
#
# Three things end the pause, each by itself: this script (release, or end of
# input), the watcher (this script was killed: its pipe ended), and the sleeper
# (the deadline passed, both others are gone).
set -u
max=$1

say() { printf '{"state":"%s"%s}\n' "$1" "${2-}" >&3; }
fail() { say error ",\"reason\":\"QuiesceUnavailable\",\"text\":\"$1\""; }

# Process ids of the Erlang VMs here. The name tells them from tini, which is
# process 1 and cannot be stopped, and from couchjs.
vms() {
	for comm in /proc/[0-9]*/comm; do
		{ read -r name <"$comm"; } 2>/dev/null || continue
		[ "$name" = beam.smp ] || continue
		comm=${comm#/proc/}
		printf '%s ' "${comm%/comm}"
	done
}

# True when every thread of every VM is in state T. The kill returning is not
# the stop: a write that is in the kernel by then still finishes. By grep, since
# a shell reads a file byte by byte, which is most of a stall on a busy machine;
# it says 1 only when it has read them all and none is in another state.
stopped() {
	for vm in $vms; do
		grep -qv '^[0-9]* (.*) T ' /proc/"$vm"/task/*/stat 2>/dev/null
		[ $? -eq 1 ] || return 1
	done
}

hold() {
	vms=$(vms)
	[ -n "$vms" ] || { fail "no process beam.smp in this container"; return; }
	command -v grep >/dev/null || { fail "no grep in this container"; return; }
	say ready
	read -r command || return
	[ "$command" = hold ] || return
	printf '%s\n' "$vms" # arms the watcher
	(
		trap '' HUP INT TERM
		sleep "$max"
		kill -CONT $vms
	) >/dev/null 2>&1 3>&- </dev/null &
	sleeper=$!
	if ! kill -STOP $vms; then
		kill -CONT $vms
		fail "SIGSTOP was refused"
	else
		tries=0
		until stopped || [ $tries -ge 250 ]; do
			tries=$((tries + 1))
			sleep 0.002
		done
		if stopped; then
			say held
			text="the stream ended"
			held=false
			if read -r command && [ "$command" = release ]; then
				# Not stopped any more: the deadline passed, or somebody meddled.
				if stopped; then held=true; else text="CouchDB was not stopped any more"; fi
			fi
			kill -CONT $vms
			if $held; then say released ',"held":true'; else say released ",\"reason\":\"QuiesceLost\",\"text\":\"$text\""; fi
		else
			kill -CONT $vms
			fail "CouchDB did not stop within 250 looks"
		fi
	fi
	kill -KILL $sleeper
	printf 'disarm\n'
}

exec 3>&1
hold | {
	trap '' HUP INT TERM
	exec 3>&-
	read -r vms || exit 0
	read -r word || word=
	[ "$word" = disarm ] || kill -CONT $vms
}
