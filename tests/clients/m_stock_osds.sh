#!/usr/bin/env bash
# Stock OSDs on three loligo monitors: boot, pool, RBD, one killed and recovered, configuration delivered, marked down while alive; the leading
# monitor is killed while they serve I/O.
# A cluster of its own; LOLIGO names the program.
# limit-seconds: 400
# loligo-only
# needs-stock-daemons
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/debug/loligo}; D=$T/c
stop() { local i; for i in 0 1 2; do [ -s "$D/osd/$i.pid" ] && kill -9 "$(cat "$D/osd/$i.pid")" 2>/dev/null; done; "$L" down --dir "$D" >/dev/null 2>&1; true; }
trap 'status=$?; set +e; [ $status = 0 ] || tail -n 5 "$D"/osd/*.log 2>/dev/null; stop; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
"$L" up --dir "$D" --mons 3 --osds 0 >/dev/null 2>&1; export CEPH_CONF=$D/ceph.conf; mkdir -p "$D/osd"
up() { ceph osd stat | grep -q " $1 up"; }
degraded() { ceph pg stat | grep -q "active+undersized"; }
quorum() { [ "$(timeout 20 ceph quorum_status 2>/dev/null | json '",".join(sorted(d["quorum_names"]))' 2>/dev/null)" = "$1" ]; }
clean() { ceph pg stat | grep -qE " 16 active\+clean;"; }
say "three stock OSDs register, make their store and boot"
stock_osds "$D/osd" 0 1 2
wait_until 60 "not three up" up 3
say "configuration reaches them"
ceph config set osd osd_recovery_sleep_hdd 0
wait_until 40 "osd.0 was not told its configuration" eval '[ "$(ceph daemon "$D/osd/0.asok" config get osd_recovery_sleep_hdd | json "float(d[\"osd_recovery_sleep_hdd\"])")" = 0.0 ]'
say "a pool, an image, equal bytes"
ceph osd pool create p 16 2>/dev/null; same "$(ceph osd pool get p size)" "size: 3"; rbd pool init p
wait_until 120 "not clean" clean
healthy || die "$(ceph health detail)"
head -c 64M /dev/urandom > "$T/img"; rbd import --no-progress "$T/img" p/i; rbd export --no-progress p/i "$T/back"; same "$(sha "$T/img")" "$(sha "$T/back")" "image"
say "the leading monitor is killed under load: I/O goes on, the OSDs stay up, another leads"
wait_until 60 "no quorum" quorum a,b,c; was=$(ceph osd dump | grep -E "^osd\.[0-9]" | sed -E 's/ up_thru.*//')
rados -p p bench 12 write -b 65536 -t 4 --no-cleanup >"$T/bench" 2>&1 & bench=$!
until grep -q "^ *2 " "$T/bench"; do sleep 0.1; done
l=$(ceph quorum_status | json 'd["quorum_leader_name"]'); kill -9 "$(cat "$D/run/mon.$l.pid")"
timeout $((10 * PATIENCE)) ceph osd pool set p nodelete 1 2>/dev/null || die "no command within $((10 * PATIENCE)) s after kill -9 of mon.$l"
ceph health detail | grep -q "mon.$l .*is down (out of quorum)" || die "health: $(ceph health detail)"
wait "$bench" || die "rados bench: $(cat "$T/bench")"
awk -v most="$PATIENCE" '$1 ~ /^[0-9]+$/ && NF >= 8 && $1 > 0 && $5 == "0" {n++; if (n > most) {print "no write for " n " seconds at second " $1; exit 1}; next} {n=0}' "$T/bench" || die "$(cat "$T/bench")"
same "$(ceph osd dump | grep -E "^osd\.[0-9]" | sed -E 's/ up_thru.*//')" "$was" "OSDs over the failure"
"$L" up --dir "$D" >/dev/null 2>&1; wait_until 100 "mon.$l does not join again" quorum a,b,c
wait_until 60 "not healthy" healthy
say "what they count is on the page, and requests that hang are told of"
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'); ceph config set mgr mgr/prometheus/server_port "$port"
page() { /usr/bin/python3 -c 'import sys, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:%s/metrics" % sys.argv[1], timeout=5).read().decode())' "$port" > "$T/page" 2>/dev/null; }
counted() { page && [ "$(grep -cE '^ceph_(osd_op_w_latency_count|bluestore_commit_lat_count|osd_op_rw_out_bytes|osd_stat_bytes_used|osd_numpg)\{ceph_daemon="osd.[012]"\}' "$T/page")" = 15 ] && grep -qE '^ceph_osd_op_w\{ceph_daemon="osd.[012]"\} [1-9]' "$T/page"; }
wait_until 60 "no counters of stock OSDs" counted
ceph osd set nodown >/dev/null 2>&1; ceph config set osd osd_op_complaint_time 3
kill -STOP "$(cat "$D/osd/1.pid")"; PUTS=(); for n in $(seq 16); do timeout 200 rados -p p put "hangs$n" "$CEPH_CONF" & PUTS+=($!); done
slow() { ceph health detail > "$T/health"; grep -qE 'SLOW_OPS: [1-9][0-9]* slow ops, oldest one blocked for [0-9]+ sec, (daemons \[osd.0,osd.2\] have slow ops\.|osd.[02] has slow ops)$' "$T/health"; }
fast() { ceph health detail > "$T/health"; ! grep -q SLOW_OPS "$T/health"; }
wait_until 120 "SLOW_OPS is not there" slow; kill -CONT "$(cat "$D/osd/1.pid")"; for n in "${PUTS[@]}"; do wait "$n" || die "a put that hung failed"; done
wait_until 90 "SLOW_OPS is still there" fast; ceph osd unset nodown >/dev/null 2>&1; ceph config rm osd osd_op_complaint_time
say "one is killed; the others serve; it comes back and recovers"
kill -9 "$(cat "$D/osd/1.pid")"; wait_until 60 "not seen down" up 2
rados -p p bench 2 write -b 65536 -t 4 --no-cleanup >/dev/null; wait_until 40 "not degraded" degraded
ceph health | grep -q "1 osds down" || die "$(ceph health)"
stock_osd_start "$D/osd" 1; wait_until 60 "not up again" up 3; wait_until 240 "not recovered" clean
say "one that is marked down while it lives boots again"
ceph osd down 2 2>/dev/null; wait_until 60 "it does not come back" up 3; wait_until 120 "not clean" clean
rbd export --no-progress p/i "$T/back2"; same "$(sha "$T/img")" "$(sha "$T/back2")" "image"
same "$(ceph tell osd.2 version | json 'd["version"]')" 16.2.15
ceph osd df >/dev/null; ceph osd perf >/dev/null; same "$(ceph osd metadata 1 | json 'd["osd_objectstore"]')" bluestore
say "ok"
