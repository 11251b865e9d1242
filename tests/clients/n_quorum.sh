#!/usr/bin/env bash
# Three monitors: the leader is killed, stopped, loses its store, under a steady stream of commands and of I/O. No accepted change is lost or
# made twice, commands go on within 5 s, I/O never stops. A cluster of its own; LOLIGO names the program.
# limit-seconds: 300
# loligo-only
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/release/loligo}; D=$T/c
BG=()
trap 'status=$?; set +e; touch "$T/stop"; for p in "${BG[@]}"; do kill "$p" 2>/dev/null; done; for m in a b c; do kill -CONT "$(cat "$D/run/mon.$m.pid" 2>/dev/null)" 2>/dev/null; done
  [ $status = 0 ] || tail -n 8 "$D"/log/mon.?.log "$T"/*.out 2>/dev/null; "$L" down --dir "$D" >/dev/null 2>&1; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
"$L" up --dir "$D" --mons 3 --osds 3 --osd-size 4G > "$T/up.log" 2>&1 || die "loligo up: $(cat "$T/up.log")"; export CEPH_CONF=$D/ceph.conf
quorum() { timeout 20 ceph quorum_status | json '",".join(sorted(d["quorum_names"]))'; }
leader() { timeout 20 ceph quorum_status | json 'd["quorum_leader_name"]'; }
wait_quorum() { local n; for n in $(seq 100); do [ "$(quorum 2>/dev/null)" = "$1" ] && return 0; sleep 0.2; done; die "the quorum is $(quorum), not $1"; }
up() { "$L" up --dir "$D" > "$T/up.log" 2>&1 || die "loligo up: $(cat "$T/up.log")"; }
pid() { cat "$D/run/mon.$1.pid"; }
say "three monitors, as stock prints them"
wait_quorum a,b,c
ceph -s | grep -q "mon: 3 daemons, quorum a,b,c" || die "$(ceph -s)"
ceph mon stat | grep -qE "^e[0-9]+: 3 mons at .*, leader 0 a, quorum 0,1,2 a,b,c$" || die "$(ceph mon stat)"
ceph mon getmap -o "$T/map" 2>/dev/null; monmaptool --print "$T/map" | grep -q "^2: .* mon.c" || die "$(monmaptool --print "$T/map")"
for m in a b c; do same "$(ceph tell mon.$m mon_status | json 'd["name"]+" "+str(len(d["quorum"]))')" "$m 3"; done
same "$(ceph daemon "$D/run/mon.b.asok" quorum_status | json 'd["quorum_leader_name"]')" a
for m in a b c; do won=$([ $m = a ] && echo win || echo lose); same "$(ceph daemon "$D/run/mon.$m.asok" perf dump | json "d['cluster']['num_mon_quorum'], d['mon']['election_$won'] > 0, 'num_pg' in d['cluster']")" "3 True $([ $m = a ] && echo True || echo False)"; done
say "a pending key that is used replaces the first, whichever monitor sees it"
ceph auth get-or-create client.t2 mon 'allow r' >/dev/null
for m in a b c; do
  key=$(ceph auth get-or-create-pending client.t2 -f json | json 'd[0]["pending_key"]'); printf '[client.t2]\n\tkey = %s\n' "$key" > "$T/t2"
  at=$(ceph mon dump -f json 2>/dev/null | json "[m['public_addrs']['addrvec'][0]['addr'] for m in d['mons'] if m['name']=='$m'][0]")
  ceph -m "v2:$at" --id t2 --keyring "$T/t2" health >/dev/null
  for n in $(seq 50); do [ "$(ceph auth get-key client.t2)" = "$key" ] && break; [ "$n" -lt 50 ] || die "the key used at mon.$m did not replace the old one"; done
done
ceph auth rm client.t2 >/dev/null 2>&1
say "Prometheus finds the leader's page"
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
ceph config set mgr mgr/prometheus/server_port "$port"
page() { /usr/bin/python3 -c 'import sys, urllib.request; print(urllib.request.urlopen("http://127.0.0.1:%s/metrics" % sys.argv[1], timeout=5).read().decode())' "$port" 2>/dev/null; }
for n in $(seq $((30 * PATIENCE))); do page > "$T/page" && break; sleep 0.2; done
for m in a b c; do grep -qE "^ceph_mon_quorum_status\{ceph_daemon=\"mon.$m\"\} 1" "$T/page" || die "metrics: $(grep quorum "$T/page")"; done
grep -qE '^ceph_osd_up\{ceph_daemon="osd.2"\} 1' "$T/page" && grep -q "^ceph_health_status" "$T/page" || die "metrics: $(cat "$T/page")"
ceph osd pool create p 16 >/dev/null 2>&1; ceph osd pool application enable p rados >/dev/null 2>&1
say "streams begin: commands of new clients and of one that stays, and I/O"
(cd "$T"; n=0; while [ ! -e stop ]; do n=$((n+1)); timeout 30 ceph config-key set "k/$n" "v$n" >/dev/null 2>>cli.out && echo "$n $(date +%s.%N)" >> cli.acks; done) & BG+=($!)
cat > "$T/stay.py" <<'P'
import json, os, sys, time, rados
t = sys.argv[1]
c = rados.Rados(conffile=os.environ["CEPH_CONF"], name="client.admin"); c.connect()
acks = open(t + "/stay.acks", "w", buffering=1); n = 0
while not os.path.exists(t + "/stop"):
    n += 1
    ret, _, outs = c.mon_command(json.dumps({"prefix": "log", "logtext": ["line-%d-end" % n]}), b"")
    assert ret == 0, outs
    ret, _, outs = c.mon_command(json.dumps({"prefix": "osd pool set", "pool": "p", "var": "nodelete", "val": str(n % 2)}), b"")
    assert ret == 0, outs
    acks.write("%d %f\n" % (n, time.time()))
P
/usr/bin/python3 "$T/stay.py" "$T" > "$T/stay.out" 2>&1 & BG+=($!)
rados -p p bench 200 write -b 4096 -t 4 --no-cleanup > "$T/bench.out" 2>&1 & BG+=($!); BENCH=$!
# Commands go on: a new client's is accepted within 5 s, and so is one of the client that stays.
WITHIN=$((5 * PATIENCE))
goes_on() { local since n; since=$(date +%s.%N); N=$((${N:-0}+1))
  timeout $WITHIN ceph config-key set "k/new$N" "vnew$N" >/dev/null 2>&1 || die "a new command was not accepted within $WITHIN s after $1"; echo "new$N" >> "$T/cli.acks"; [ "${2:-stay}" = stay ] || return 0
  for n in $(seq $((WITHIN * 10))); do [ "$(awk -v s="$since" '$2 > s {print; exit}' "$T/stay.acks" 2>/dev/null)" ] && return 0; [ "$n" -lt $((WITHIN * 10)) ] || die "no command of the client that stays was accepted within $WITHIN s after $1"; sleep 0.1; done; }
goes_on "the beginning"
say "the leader is killed; the next one, too"
for round in 1 2; do
  l=$(leader); kill -9 "$(pid "$l")"; goes_on "kill -9 of the leader mon.$l"
  ceph health detail | grep -q "mon.$l .*is down (out of quorum)" || die "health: $(ceph health detail)"
  up; wait_quorum a,b,c
done
say "the leader is stopped, and goes on"
l=$(leader); kill -STOP "$(pid "$l")"
# (A client that is connected to the stopped one itself finds out by its own timeout of 30 s, as with stock's monitors.)
goes_on "SIGSTOP of the leader mon.$l" new; kill -CONT "$(pid "$l")"; wait_quorum a,b,c; goes_on "SIGCONT of mon.$l"
say "the leader is told to leave, and to come back"
l=$(leader); ceph daemon "$D/run/mon.$l.asok" quorum exit | grep -q "stopped responding" || die "quorum exit"
same "$(ceph daemon "$D/run/mon.$l.asok" mon_status | json 'd["state"]')" electing
goes_on "quorum exit of mon.$l" new; quorum | grep -q "$l" && die "mon.$l left, and the quorum is $(quorum)"
ceph daemon "$D/run/mon.$l.asok" quorum enter | grep -q "started responding" || die "quorum enter"
wait_quorum a,b,c; goes_on "quorum enter of mon.$l"
say "a follower is killed"
l=$(leader); for f in a b c; do [ "$f" = "$l" ] || break; done
kill -9 "$(pid "$f")"; goes_on "kill -9 of mon.$f"
say "its store is gone: it is made again and joins"
rm -rf "$D/mon/ceph-$f/store.db"; ceph auth get mon. -o "$T/monkey" 2>/dev/null; ceph mon getmap -o "$T/map" 2>/dev/null
"$L" mon -i "$f" -c "$CEPH_CONF" --mkfs --monmap "$T/map" --keyring "$T/monkey"
up; wait_quorum a,b,c; goes_on "mon.$f joined again"
say "the leader loses its store"
l=$(leader); kill -9 "$(pid "$l")"; rm -rf "$D/mon/ceph-$l/store.db"
"$L" mon -i "$l" -c "$CEPH_CONF" --mkfs --monmap "$T/map" --keyring "$T/monkey"
up; wait_quorum a,b,c; goes_on "mon.$l joined again"
say "a monitor is removed, and added"
out=$(ceph mon rm c 2>&1) || true; grep -q "removing mon.c at .*, there will be 2 monitors" <<<"$out" || die "mon rm: $out"
same "$(quorum)" a,b; goes_on "removing mon.c"
kill -9 "$(pid c)"; at=$(monmaptool --print "$T/map" | sed -n 's/^[0-9]: \(.*\) mon\.c$/\1/p')
v2=$(sed "s/.*v2:\([0-9.:]*\).*/\1/" <<<"$at"); out=$(ceph mon add c "$v2" 2>&1) || true; grep -q "adding mon.c at" <<<"$out" || die "mon add c $v2: $out"
ceph mon set-addrs c "$at" 2>/dev/null; same "$(ceph mon dump 2>/dev/null | sed -n 's/^2: \(.*\) mon\.c$/\1/p')" "$at"
rm -rf "$D/mon/ceph-c/store.db"; ceph mon getmap -o "$T/map" 2>/dev/null; "$L" mon -i c -c "$CEPH_CONF" --mkfs --monmap "$T/map" --keyring "$T/monkey"
up; wait_quorum a,b,c; goes_on "adding mon.c"
touch "$T/stop"; wait "${BG[0]}" "${BG[1]}" || die "a stream failed: $(tail -3 "$T"/*.out)"
say "nothing that was accepted is lost, nothing was done twice: asked of each monitor"
tail -n 1 "$T/cli.acks" "$T/stay.acks" | awk 'NF==2 && $1 != "==>" {printf "%s accepted; ", $1} END {print ""}'
for m in a b c; do
  host=$(sed -n 's/^mon host = //p' "$CEPH_CONF" | sed 's/\],/] /g' | tr ' ' '\n' | sed -n "$(( $(printf %d "'$m") - 96 ))p")
  ceph -m "$host" config-key dump k/ > "$T/keys.$m"
  /usr/bin/python3 - "$T" "$m" <<'P' || die "mon.$m"
import json, sys
t, m = sys.argv[1:]
have = json.load(open(t + "/keys." + m))
for line in open(t + "/cli.acks"):
    n = line.split()[0]
    assert have.get("k/" + n) == "v" + n, "k/%s was accepted and is %r" % (n, have.get("k/" + n))
P
done
ceph log last 1000 > "$T/log"
/usr/bin/python3 - "$T" <<'P' || die "the log"
import re, sys, collections
t = sys.argv[1]
seen = collections.Counter(int(n) for n in re.findall(r"line-(\d+)-end", "".join(l for l in open(t + "/log") if "dispatch" not in l)))
acked = [int(l.split()[0]) for l in open(t + "/stay.acks")]
twice = [n for n, c in seen.items() if c > 1]
assert not twice, "logged twice: %s" % twice
first = min(seen)
lost = [n for n in acked if n >= first and n not in seen]
assert not lost, "accepted and lost: %s" % lost
print("%d lines of the log, each once" % len(seen))
P
say "I/O never stopped"
kill "$BENCH" 2>/dev/null || true; wait "$BENCH" 2>/dev/null || true
awk -v most="$PATIENCE" '$1 ~ /^[0-9]+$/ && NF >= 8 && $1 > 0 && $5 == "0" {n++; if (n > most) {print "no write for " n " seconds at second " $1; exit 1}; next} {n=0}' "$T/bench.out" || die "$(cat "$T/bench.out")"
same "$(ceph pg stat | grep -c "16 active+clean")" 1
say "ok"
