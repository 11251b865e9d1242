#!/usr/bin/env bash
# The eye: clocks and stores of three monitors, requests that hang (SLOW_OPS), the counters on Prometheus' page, a disk that is slow.
# A cluster of its own; LOLIGO names the program.
# limit-seconds: 420
# loligo-only
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/release/loligo}; D=$T/c; BG=()
trap 'status=$?; set +e; for p in "${BG[@]}"; do kill "$p" 2>/dev/null; done; kill -CONT "$(cat "$D/run/osd.1.pid" 2>/dev/null)" 2>/dev/null
  [ $status = 0 ] || tail -n 8 "$D"/log/*.log 2>/dev/null; "$L" down --dir "$D" >/dev/null 2>&1; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
"$L" up --dir "$D" --mons 3 --osds 3 --osd-size 4G > "$T/up" 2>&1 || die "loligo up: $(cat "$T/up")"; export CEPH_CONF=$D/ceph.conf
# wait_for SECONDS WHAT cmd...: until the command succeeds.
wait_for() { local n; for n in $(seq $(($1 * 2))); do "${@:3}" && return 0; sleep 0.5; done; die "$2: $(ceph health detail; ceph -s)"; }
raised() { ceph health detail > "$T/health" 2>&1 && grep -q "$1" "$T/health"; }
gone() { ceph health detail > "$T/health" 2>&1 && ! grep -q "$1" "$T/health"; }
d() { ceph daemon "osd.$1" "${@:2}"; }
healthy() { [ "$(ceph health)" = HEALTH_OK ]; }
say "clocks are compared in rounds"
synced() { [ "$(ceph time-sync-status | json 'd["timechecks"]["round_status"], sorted(d.get("time_skew_status", {}))' 2>/dev/null)" = "finished ['a', 'b', 'c']" ]; }
wait_for 30 "no round: $(ceph time-sync-status)" synced
ceph time-sync-status | json 'all(set(v) == {"skew", "latency", "health"} and v["health"] == "HEALTH_OK" for v in d["time_skew_status"].values()), d["timechecks"]["round"] % 2' | grep -qx 'True 0' || die "$(ceph time-sync-status)"
say "the monitors' stores: room and size"
wait_for 60 "not healthy" healthy
ceph tell "mon.*" config set mon_data_avail_warn 100 >/dev/null; ceph config set mon mon_data_size_warn 1 # (ceph.conf, which says 2, goes before the central configuration)
wait_for 30 "not told of" raised "MON_DISK_LOW: mons a,b,c are low on available space"; grep -qE '^ +mon.b has [0-9]+% avail' "$T/health" || die "$(cat "$T/health")"
grep -q "MON_DISK_BIG: mons a,b,c are using a lot of disk space" "$T/health" && grep -qE '^ +mon.c is .* >= mon_data_size_warn \(1 B\)' "$T/health" || die "$(cat "$T/health")"
ceph tell "mon.*" config unset mon_data_avail_warn >/dev/null; ceph config rm mon mon_data_size_warn
wait_for 60 "still there" healthy
say "requests that hang are slow, and are told of until they are done"
ceph osd pool create p 32 >/dev/null 2>&1; ceph osd pool application enable p rados >/dev/null 2>&1
rados -p p bench 2 write -b 4096 -t 4 --no-cleanup >/dev/null; rados -p p bench 1 rand >/dev/null
ceph osd set nodown >/dev/null 2>&1; ceph config set osd osd_op_complaint_time 3
told() { [ "$(ceph tell "osd.$1" config get osd_op_complaint_time | json 'float(d["osd_op_complaint_time"])')" = 3.0 ]; }
for o in 0 2; do wait_for 20 "osd.$o was not told" told $o; done
kill -STOP "$(cat "$D/run/osd.1.pid")"
for n in $(seq 24); do timeout 240 rados -p p put "hangs$n" "$CEPH_CONF" & BG+=($!); done
wait_for 60 "not told of" raised "SLOW_OPS: "
grep -qE 'SLOW_OPS: [1-9][0-9]* slow ops, oldest one blocked for [0-9]+ sec, (daemons \[osd.0,osd.2\] have slow ops\.|osd.[02] has slow ops)$' "$T/health" || die "$(cat "$T/health")"
blocked() { local o; for o in 0 2; do d $o dump_blocked_ops; done | /usr/bin/python3 -c '
import json, sys
text = sys.stdin.read(); dec = json.JSONDecoder(); n = 0
while text.strip():
    v, at = dec.raw_decode(text.lstrip()); text = text.lstrip()[at:]; n += v["num_blocked_ops"]
    assert v["complaint_time"] == 3 and all(o["age"] >= 3 and o["description"].startswith("osd_op(") and o["type_data"]["client_info"]["tid"] > 0 for o in v["ops"]), v
sys.exit(n == 0)'; }
blocked || die "dump_blocked_ops: $(d 0 dump_blocked_ops; d 2 dump_blocked_ops)"
kill -CONT "$(cat "$D/run/osd.1.pid")"; for p in "${BG[@]}"; do wait "$p" || die "a put that hung failed"; done; BG=()
wait_for 30 "still there" gone SLOW_OPS
ceph osd unset nodown >/dev/null 2>&1; ceph config rm osd osd_op_complaint_time
for c in dump_historic_ops dump_historic_ops_by_duration; do d 0 $c | json 'd["size"], d["duration"], 0 < len(d["ops"]) <= 20' | grep -qx '20 600 True' || die "$c: $(d 0 $c)"; done
d 0 dump_historic_slow_ops | json 'd["num to keep"], d["threshold to keep"], "Ops" in d' | grep -qx '20 10 True' || die "$(d 0 dump_historic_slow_ops)"
wait_for 60 "not healthy" healthy
say "the page has what OSDs count"
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
ceph config set mgr mgr/prometheus/server_port "$port"
page() { /usr/bin/python3 -c 'import sys, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:%s/metrics" % sys.argv[1], timeout=5).read().decode())' "$port" > "$T/page" 2>/dev/null; }
counted() { page && grep -qE '^ceph_osd_op_w\{ceph_daemon="osd.0"\} [1-9]' "$T/page"; }
wait_for 30 "no counters" counted
for m in osd_op osd_op_r osd_op_w osd_op_rw osd_op_r_out_bytes osd_op_w_in_bytes osd_op_{,r_,w_,rw_}latency_{sum,count} osd_op_{in,out}_bytes osd_op_wip osd_apply_latency_ms osd_commit_latency_ms \
  osd_metadata osd_stat_bytes osd_stat_bytes_used osd_numpg osd_weight osd_in osd_up store_journal_latency_{sum,count} daemon_health_metrics; do
  same "$(grep -cE "^ceph_$m\{.*ceph_daemon=\"osd.[012]\"" "$T/page")" 3 "$m"
done
sum() { awk -v m="^ceph_$1[{]" '$0 ~ m {s += $NF} END {print s + 0}' "$T/page"; }
[ "$(sum osd_op_r_out_bytes)" -gt 4096 ] && [ "$(sum osd_op_w_in_bytes)" -gt 40960 ] || die "$(grep _bytes "$T/page")"
say "a disk that is much slower than the others is named, and is not when it is well"
printf '\n[osd.2]\nosd journal inject delay = 0.06\n' >> "$D/ceph.conf"
restart() { kill -9 "$(cat "$D/run/osd.2.pid")"; wait_for 40 "osd.2 is not seen down" eval 'ceph osd stat | grep -q " 2 up"'; "$L" up --dir "$D" > "$T/up" 2>&1 || die "loligo up: $(cat "$T/up")"; wait_for 60 "osd.2 is not up" eval 'ceph osd stat | grep -q " 3 up"'; }
restart
rados -p p bench 200 write -b 4096 -t 2 --no-cleanup > "$T/bench" 2>&1 & BG+=($!)
wait_for 150 "not told of" raised "OSD_SLOW_DISK: 1 OSD has a disk that is much slower than those of other OSDs"
grep -qE "^ +osd.2 needs [0-9]+\.[0-9] ms for a durable write \(median of 60 s, 99th percentile [0-9.]+ ms\), [0-9]+ times as long as its peers' [0-9.]+ ms" "$T/health" || die "$(cat "$T/health")"
sed -i '/^\[osd.2\]/,$d' "$D/ceph.conf"; restart
wait_for 60 "still there" gone OSD_SLOW_DISK
say "ok"
