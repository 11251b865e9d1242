#!/usr/bin/env bash
# External stock managers in place of the built-in one, on three loligo monitors: two of them, one active, one waits; what loligo's OSDs (and one of
# stock's) report to them is right in every command; kill -9 of the active one, kill -9 of the leading monitor; the role goes back to the monitors.
# A cluster of its own; LOLIGO names the program.
# limit-seconds: 240
# loligo-only
# needs-stock-daemons
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/debug/loligo}; D=$T/c; mkdir -p "$D"
stop() { local n; for n in mgr-x mgr-y osd/3; do [ -s "$D/$n/pid" ] && kill -9 "$(cat "$D/$n/pid")" 2>/dev/null; done; "$L" down --dir "$D" >/dev/null 2>&1; true; }
trap 'status=$?; set +e; [ $status = 0 ] || { tail -n 8 "$D"/mgr-*/log "$D"/run/mon.*.log 2>/dev/null; timeout 10 ceph -s; timeout 10 ceph health detail; timeout 10 ceph mgr stat; }; stop; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
"$L" up --dir "$D" --mons 3 --osds 3 --osd-size 4G >/dev/null 2>&1; export CEPH_CONF=$D/ceph.conf
start() {
  ceph-mgr -i "$1" --keyring "$D/mgr-$1/keyring" --mgr-data "$D/mgr-$1" --log-file "$D/mgr-$1/log" --pid-file "$D/mgr-$1/pid" --admin-socket "$D/mgr-$1/asok" \
    ${MGR_ARGS:-} >"$D/mgr-$1/out" 2>&1 || die "mgr.$1 does not start: $(tail -3 "$D/mgr-$1/out")"
}
manager() {
  mkdir -p "$D/mgr-$1"; ceph auth get-or-create "mgr.$1" mon 'allow profile mgr' osd 'allow *' mds 'allow *' >"$D/mgr-$1/keyring"; start "$1"
}
