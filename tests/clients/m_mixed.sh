#!/usr/bin/env bash
# A mixed cluster: three loligo monitors lead three stock OSDs and three of loligo's, kept apart by CRUSH roots. Objects and images (snapshots, a clone)
# move from the stock OSDs to loligo's, back, and again; then the stock OSDs are drained and removed. As docs/moving-from-ceph.md tells it.
# A cluster of its own; LOLIGO names the program.
# limit-seconds: 400
# loligo-only
# needs-stock-daemons
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/release/loligo}; D=$T/c; S=$D/stock
stop() { local i; for i in 0 1 2; do [ -s "$S/$i.pid" ] && kill -9 "$(cat "$S/$i.pid")" 2>/dev/null; done; "$L" down --dir "$D" >/dev/null 2>&1; true; }
trap 'status=$?; set +e; [ $status = 0 ] || tail -n 5 "$S"/*.log "$D"/log/*.log 2>/dev/null; stop; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
up() { ceph osd stat | grep -q " $1 up"; }
say "three loligo monitors, three stock OSDs under root default"
"$L" up --dir "$D" --mons 3 --osds 0 >"$T/up" 2>&1 || die "loligo up: $(cat "$T/up")"; export CEPH_CONF=$D/ceph.conf
stock_osds "$S" 0 1 2
say "three loligo OSDs under a root of their own, and a rule for it"
for i in 3 4 5; do printf '\n[osd.%s]\ncrush location = root=loligo host=loligo-%s\n' $i $i >>"$CEPH_CONF"; done
"$L" up --dir "$D" --osds 3 --osd-size 4G >"$T/up" 2>&1 || die "loligo up: $(cat "$T/up")"
wait_until 60 "not six up" up 6
ceph osd crush rule create-replicated on-loligo loligo host
for p in a a.rbd; do ceph osd pool create $p 8 8 replicated replicated_rule 2>/dev/null; ceph osd pool set $p size 2 2>/dev/null; done
for p in b b.rbd; do ceph osd pool create $p 8 8 replicated on-loligo 2>/dev/null; done
for p in a b; do ceph osd pool application enable $p rados 2>/dev/null; rbd pool init $p.rbd; done
wait_until 120 "not healthy" healthy
for p in a a.rbd; do only_on $p '[0, 1, 2]'; done; for p in b b.rbd; do only_on $p '[3, 4, 5]'; done
same "$(ceph osd metadata 0 | json 'd["osd_objectstore"]') $(ceph osd metadata 3 | json 'd["osd_objectstore"]')" "bluestore loligo"
say "objects: cppool to loligo's OSDs"
fill_pools a; copy_objects a b
say "images: deep cp, cp, export and import"
copy_images a b
say "images: a migration that is taken back"
images=$(image_sums a); rbd migration prepare a.rbd/child b.rbd/child; rbd migration execute --no-progress b.rbd/child; rbd migration abort --no-progress b.rbd/child
same "$(image_sums a)" "$images"
say "images: migration to loligo's OSDs"
move_images a b
say "and back again: migration, cppool, copies"
copy_images b a; move_images b a
ceph osd pool rm a a --yes-i-really-really-mean-it 2>/dev/null
ceph osd pool create a 8 8 replicated replicated_rule 2>/dev/null; ceph osd pool set a size 2 2>/dev/null; ceph osd pool application enable a rados 2>/dev/null; copy_objects b a
say "one image moves while it is written to"
rbd create --size 32M a.rbd/live; rbd migration prepare a.rbd/live b.rbd/live
fio --name=live --ioengine=rbd --clientname=admin --pool=b.rbd --rbdname=live --rw=randwrite --bs=16k --iodepth=4 --size=32M --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 >"$T/fio" 2>&1 & fio=$!
rbd migration execute --no-progress b.rbd/live; wait $fio || die "fio: $(cat "$T/fio")"; rbd migration commit --no-progress b.rbd/live; rbd rm --no-progress b.rbd/live
say "one stock OSD is drained and removed: its data goes to the others"
clean() { ceph pg stat | grep -qE "32 pgs: 32 active\+clean;"; }
safe() { ceph osd safe-to-destroy "$1" >/dev/null 2>&1; }
gone() {
  local p n; p=$(cat "$S/$1.pid"); kill "$p"; for n in $(seq 200); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
  ceph osd down "$1" 2>/dev/null; ceph osd purge "$1" --yes-i-really-mean-it 2>/dev/null || die "purge: $(ceph osd purge "$1" --yes-i-really-mean-it 2>&1)"; rm -f "$S/$1.pid"
}
ceph osd out 0 2>/dev/null; wait_until 240 "osd.0 is not drained" safe 0; wait_until 120 "not clean" clean; gone 0
say "the last move; the stock OSDs leave"
move_images a b
for p in a a.rbd; do ceph osd pool rm $p $p --yes-i-really-really-mean-it 2>/dev/null; done
images=$(image_sums b); objects=$(object_sums b)
ceph osd out 1 2 2>/dev/null; for i in 1 2; do wait_until 120 "osd.$i is not drained" safe $i; gone $i; done
wait_until 120 "not healthy" healthy
same "$(ceph osd ls | xargs)" "3 4 5"; same "$(image_sums b)" "$images"; same "$(object_sums b)" "$objects"
say "ok"
