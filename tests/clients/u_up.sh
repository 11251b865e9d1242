#!/usr/bin/env bash
# `loligo up`, `status` and `down` whose reader goes away, as with `| head`: they do their work and succeed all the same.
# loligo-only
# limit-seconds: 60
. "$(dirname "$0")/lib.sh"
: "${LOLIGO:?}"
C=$T/c
trap 'status=$?; "$LOLIGO" down --dir "$C" >/dev/null 2>&1 || :; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
# What writes to a pipe without a reader gets EPIPE. The command's own status is what counts.
deaf() { local rc; { "$@"; echo $? > "$T/rc"; } 2>&1 | :; rc=$(cat "$T/rc"); [ "$rc" = 0 ] || die "$* without a reader exited with $rc"; }
say "up without a reader starts the whole cluster"
deaf "$LOLIGO" up --dir "$C" --osds 1 --osd-size 1G
"$LOLIGO" status --dir "$C" > "$T/status"
same "$(grep -c running "$T/status")" 2 "daemons that run"
say "again, and status"
deaf "$LOLIGO" up --dir "$C"
deaf "$LOLIGO" status --dir "$C"
say "down without a reader stops them all"
deaf "$LOLIGO" down --dir "$C"
! "$LOLIGO" status --dir "$C" > "$T/status" 2>&1
same "$(grep -c stopped "$T/status")" 2 "daemons that stopped"
say "ok"
