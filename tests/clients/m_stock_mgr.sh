#!/usr/bin/env bash
# External stock managers in place of the built-in one, on three loligo monitors: two of them, one active, one waits; what loligo's OSDs (and one of
# stock's) report to them is right in every command; kill -9 of the active one, kill -9 of the leading monitor; the role goes back to the monitors.
# A cluster of its own; LOLIGO names the program.
# limit-seconds: 240
# loligo-only
# needs-stock-daemons
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/debug/loligo}; D=$T/c; mkdir -p "$D"
stop() { local n; for n in mgr-x/pid mgr-y/pid stock/3.pid; do [ -s "$D/$n" ] && kill -9 "$(cat "$D/$n")" 2>/dev/null; done; "$L" down --dir "$D" >/dev/null 2>&1; true; }
trap 'status=$?; set +e; [ $status = 0 ] || { tail -n 8 "$D"/mgr-*/log "$D"/stock/3.log "$D"/log/mon.*.log 2>/dev/null; timeout 10 ceph -s; timeout 10 ceph health detail; timeout 10 ceph mgr stat; }; stop; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
"$L" up --dir "$D" --mons 3 --osds 3 --osd-size 4G >/dev/null 2>&1; export CEPH_CONF=$D/ceph.conf
start() {
  ceph-mgr -i "$1" --keyring "$D/mgr-$1/keyring" --mgr-data "$D/mgr-$1" --log-file "$D/mgr-$1/log" --pid-file "$D/mgr-$1/pid" --admin-socket "$D/mgr-$1/asok" \
    ${MGR_ARGS:-} >"$D/mgr-$1/out" 2>&1 || die "mgr.$1 does not start: $(tail -3 "$D/mgr-$1/out")"
}
manager() {
  mkdir -p "$D/mgr-$1"; ceph auth get-or-create "mgr.$1" mon 'allow profile mgr' osd 'allow *' mds 'allow *' >"$D/mgr-$1/keyring"; start "$1"
}
# What is waited for here comes with a beacon (2 s), a report (5 s) or a tick (1 s).
active() { [ "$(timeout 10 ceph mgr stat -f json 2>/dev/null | json '[d["active_name"], d["available"], d["num_standby"]]' 2>/dev/null)" = "['$1', True, $2]" ]; }
shows() { timeout 10 ceph -s 2>/dev/null | grep -qE "$1"; }
clean() { timeout 10 ceph pg stat 2>/dev/null | grep -qE "^([0-9]+) pgs: \1 active\+clean;" && shows "^    pgs:     [0-9]+ active\+clean"; }
quorum() { [ "$(timeout 20 ceph quorum_status 2>/dev/null | json '",".join(sorted(d["quorum_names"]))' 2>/dev/null)" = "$1" ]; }
# (Stock's grace of 30 s is long for a script.)
ceph config set mon mon_mgr_beacon_grace 12; ceph config set mon mon_mgr_mkfs_grace 0
ceph osd pool create p 16 2>/dev/null; ceph osd pool application enable p rbd 2>/dev/null
say "without the switch a manager waits and the built-in one serves"
shows "mgr: [abc]\(active" || die "$(ceph -s)"; manager x
ceph config set mon mon_mgr_builtin false
wait_until 40 "mgr.x does not become the active manager" active x 0
say "with it, it is the active one; the next one waits; all is well and all PGs are seen"
manager y; wait_until 40 "mgr.y does not wait" active x 1
wait_until 60 "the PGs are not clean" clean
shows "mgr: x\(active, since [0-9.a-z]+\), standbys: y$" || die "$(ceph -s)"
wait_until 20 "not healthy" healthy
say "commands that the manager answers"
same "$(ceph pg dump pgs -f json 2>/dev/null | json '{s["state"] for s in d["pg_stats"]}')" "{'active+clean'}" "pg dump"
same "$(ceph osd df -f json | json '[(n["id"], n["kb"] > 4000000, n["pgs"] > 0) for n in d["nodes"]]')" "[(0, True, True), (1, True, True), (2, True, True)]" "osd df"
same "$(ceph balancer status | json '(d["active"], d["mode"])')" "(True, 'upmap')" "balancer status"
same "$(ceph mgr module ls | json '("balancer" in d["always_on_modules"], d["enabled_modules"], "alerts" in [m["name"] for m in d["disabled_modules"]])')" "(True, ['iostat', 'nfs', 'restful'], True)"
same "$(ceph mgr metadata x | json 'd["ceph_version_short"]') $(ceph mgr versions | json 'list(d.values())')" "16.2.15 [2]"
same "$(ceph tell mgr version | json 'd["version"]')" 16.2.15
same "$(ceph osd metadata 0 | json 'd["id"]') $(ceph config show osd.0 osd_pool_default_size)" "0 3"
ceph --help | grep -q "^rbd task add flatten" || die "commands of the manager are not described"
say "an OSD of stock's beside loligo's"
printf '\n[osd.3]\ncrush location = root=old host=old-3\n' >>"$CEPH_CONF"; mkdir -p "$D/stock"; stock_osds "$D/stock" 3
up() { ceph osd stat | grep -q " $1 up"; }
wait_until 60 "osd.3 is not up" up 4
all_seen() { clean && [ "$(ceph osd df -f json | json 'sorted((n["id"], n["pgs"] > 0) for n in d["nodes"] if n["kb_used"] > 0)')" = "[(0, True), (1, True), (2, True), (3, False)]" ]; }
wait_until 80 "not all OSDs and PGs are seen" all_seen
same "$(ceph config show osd.3 osd_data)" "$D/stock/3"
say "what clients do is seen: rates, objects, space"
# io: writes for some seconds, and waits until the status shows it.
io() {
  rados -p p bench 6 write -b 16384 -t 2 --run-name "$1" --no-cleanup >"$T/bench" 2>&1 & local bench=$!
  wait_until 40 "no client io" shows "^    client:   .* wr, .* op/s wr"; wait "$bench" || die "rados bench: $(cat "$T/bench")"
}
io one
written() { [ "$(ceph df -f json | json '[p["stats"]["objects"] > 100 and p["stats"]["stored"] > 1000000 for p in d["pools"] if p["name"] == "p"]')" = "[True]" ]; }
wait_until 40 "df does not show what was written" written
rados df -f json | json '[p for p in d["pools"] if p["name"] == "p"][0]["num_objects"] > 100' | grep -q True || die "$(rados df)"
say "the leading monitor is killed: the manager stays, and so does what it said"
wait_until 60 "no quorum" quorum a,b,c; was=$(ceph mgr dump -f json | json '(d["active_gid"], d["active_change"])'); l=$(ceph quorum_status | json 'd["quorum_leader_name"]')
kill -9 "$(cat "$D/run/mon.$l.pid")"
timeout $((10 * PATIENCE)) ceph config-key set after "$l" 2>/dev/null || die "no command within $((10 * PATIENCE)) s after kill -9 of mon.$l"
wait_until 20 "the PGs are not seen" shows "^    pgs:     [0-9]+ active\+clean"
shows "mgr: x\(active, since .*\), standbys: y$" || die "$(ceph -s)"
"$L" up --dir "$D" >/dev/null 2>&1; wait_until 100 "mon.$l does not join again" quorum a,b,c
same "$(ceph mgr dump -f json | json '(d["active_gid"], d["active_change"])')" "$was" "the active manager"
active x 1 || die "$(ceph mgr stat)"
say "the active manager is killed: the other one takes over, and sees everything"
kill -9 "$(cat "$D/mgr-x/pid")"
wait_until 120 "mgr.y does not become the active manager" active y 0
wait_until 60 "mgr.y does not see all" all_seen; io two
[ "$(ceph osd blocklist ls 2>/dev/null | wc -l)" -ge 2 ] || die "mgr.x is not blocklisted: $(ceph osd blocklist ls)"
say "mgr fail: it starts anew and comes back; one that starts waits"
start x; wait_until 40 "mgr.x does not wait" active y 1
ceph mgr fail; wait_until 60 "mgr.x does not take over" active x 1
say "modules: on, off"
ceph mgr module enable alerts; same "$(ceph mgr module ls | json 'd["enabled_modules"]')" "['alerts', 'iostat', 'nfs', 'restful']"
# (They start anew with it: whoever is back first is active.)
one_active() { active x 1 || active y 1; }; wait_until 80 "no manager after a change of modules" one_active
say "back to the built-in manager"
ceph config rm mon mon_mgr_builtin
wait_until 20 "the monitors do not take the role" shows "mgr: [abc]\(active, since [0-9.a-z]+\), standbys: [abc]"
wait_until 60 "the PGs are not clean" all_seen; wait_until 40 "not healthy" healthy
same "$(ceph mgr module ls | json 'd["enabled_modules"]') $(ceph mgr versions | json 'len(d)')" "[] 1"
expect_fail 95 "the monitors have the manager's role" ceph mgr module enable alerts
say "ok"
