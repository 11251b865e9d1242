#!/usr/bin/env bash
# Workflow E: OSDs that die, hang and come back, the monitor's restart, a cluster killed whole. Needs a cluster that `loligo up`
# made on this machine (the folder of CEPH_CONF), three OSDs; LOLIGO names the program (default target/debug/loligo).
# limit-seconds: 420
# loligo-only
. "$(dirname "$0")/lib.sh"
D=$(dirname "${CEPH_CONF:?}"); L=${LOLIGO:-$(dirname "$0")/../../target/debug/loligo}; up() { "$L" up --dir "$D" >/dev/null; }
pid() { cat "$D/run/$1.pid"; }
clean() { local n s; for n in $(seq "${1:-90}"); do s=$(ceph pg stat 2>/dev/null); if [[ $s == *active+clean* && ! $s =~ degraded|peering|unknown|down|undersized|recover|backfill|activating|remapped|stale|misplaced ]]; then return 0; fi; sleep 1; done; die "not clean: $(ceph -s)"; }
osds_up() { local n; for n in $(seq "${2:-30}"); do ceph osd stat | grep -q " $1 up" && return 0; sleep 0.3; done; die "not $1 OSDs up: $(ceph osd tree)"; }
P=ep$$; ceph osd pool create $P 32 >/dev/null 2>&1; rbd pool init $P; rbd create $P/i --size 512M
load() { timeout 150 fio --name=w --ioengine=rbd --clientname=admin --pool=$P --rbdname=i --rw=randwrite --bs=16k --iodepth=16 --size=200m \
  --rate_iops=400 --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=$RANDOM > "$T/fio" 2>&1 || { cat "$T/fio"; die "fio failed"; }; }
say "each OSD in turn is killed under load and started again"
load & fio=$!
for o in 0 1 2; do sleep 2; kill -9 "$(pid osd.$o)"; osds_up 2; sleep 4; up; osds_up 3; clean; done
wait $fio; grep -q 'err= 0' "$T/fio" || die "fio: $(cat "$T/fio")"
say "an OSD hangs for 30 seconds"
load & fio=$!
sleep 1; kill -STOP "$(pid osd.1)"; osds_up 2 150; sleep 5; kill -CONT "$(pid osd.1)"; osds_up 3 60; clean; wait $fio
say "the monitor restarts under load"
load & fio=$!
sleep 1; kill -9 "$(pid mon.a)"; sleep 6; up; clean; wait $fio; osds_up 3
say "everything is killed at once, what was acknowledged is there"
/usr/bin/python3 - "$P" "$T/acked" > "$T/writer" 2>&1 <<'E' & w=$!
import rados, sys, os
c = rados.Rados(conffile=''); c.connect(); io = c.open_ioctx(sys.argv[1])
with open(sys.argv[2], 'w') as f:
    for i in range(1000000):
        io.write_full(f'k{i % 500}', (f'{i} ' * 2000).encode()); f.write(f'{i}\n'); f.flush()
E
acked() { wc -l < "$T/acked" 2>/dev/null || echo 0; }
# By count, not by the clock: a slow disk only makes it take longer.
more() { local from n; from=$(acked); for n in $(seq 600); do kill -0 $w 2>/dev/null || die "the writer ended: $(cat "$T/writer")"; [ "$(acked)" -ge $((from + $1)) ] && return 0; sleep 0.1; done; die "only $(( $(acked) - from )) of $1 writes in 60 s: $(ceph -s)"; }
for round in 1 2 3; do
  more 300; kill -9 "$(pid osd.0)" "$(pid osd.1)" "$(pid osd.2)" "$(pid mon.a)"; sleep 1; up; osds_up 3; clean
done
kill $w; wait $w 2>/dev/null || true
/usr/bin/python3 - "$P" "$T/acked" <<'E'
import rados, sys
c = rados.Rados(conffile=''); c.connect(); io = c.open_ioctx(sys.argv[1])
n = [int(l) for l in open(sys.argv[2]).read().split('\n')[:-1]]; assert n == list(range(len(n))), 'acks out of order'
assert len(n) > 500, f'only {len(n)} writes were acknowledged'
for k in range(500):
    last = max(i for i in n if i % 500 == k); got = io.read(f'k{k}', 100000)
    seen = int(got.split(b' ')[0]); assert got == (f'{seen} ' * 2000).encode(), f'k{k} is torn'
    assert seen in (last, len(n)), f'k{k} has {seen}, acknowledged was {last}, {len(n)} in all'
print(f'-- {len(n)} acknowledged writes are there')
E
clean; rbd rm $P/i >/dev/null 2>&1; ceph osd pool rm $P $P --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
