#!/usr/bin/env bash
# Workflow B: the rbd command. SIZE_MIB sets the imported image's size (the long form uses 512 and more).
. "$(dirname "$0")/lib.sh"
SIZE_MIB=${SIZE_MIB:-64}
P=rb$$; ceph osd pool create $P 16 >/dev/null 2>&1; rbd pool init $P; export POOL=$P
export CEPH_ARGS="--rbd_default_pool=$P"; rbd() { command rbd "$@" 2>"$T/err" || { local rc=$?; cat "$T/err" >&2; return $rc; }; }
say "import, export"
dd if=/dev/urandom of="$T/img" bs=1M count=$((SIZE_MIB/2)) status=none; truncate -s ${SIZE_MIB}M "$T/img"
rbd import "$T/img" img; rbd export img "$T/out"; same "$(sha "$T/img")" "$(sha "$T/out")" "export differs"
rbd info img | grep -q "size $SIZE_MIB MiB"; rbd ls | grep -qx img; rbd ls -l | grep -q "img .*$SIZE_MIB MiB"
same "$(rbd info img --format json | json 'd["features"]')" "['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten']"
rbd du img | grep -q img; rbd status img | grep -q 'Watchers: none'
say "features one by one"
for f in layering striping exclusive-lock object-map fast-diff deep-flatten journaling; do
  case $f in object-map) g=exclusive-lock,object-map;; fast-diff) g=exclusive-lock,object-map,fast-diff;; journaling) g=exclusive-lock,journaling;; striping) g="layering --stripe-unit 65536 --stripe-count 4";; *) g=$f;; esac
  # shellcheck disable=SC2086
  rbd create f-$f --size 8M --image-feature $g; rbd bench --io-type write --io-size 64K --io-total 2M f-$f >/dev/null
  rbd export f-$f - 2>/dev/null | sha256sum > "$T/f1"; rbd info f-$f >/dev/null; rbd rm f-$f
done
say "resize, rename, metadata"
rbd create r --size 16M; rbd resize r --size 32M; rbd info r | grep -q 'size 32 MiB'; expect_fail 22 'shrinking' rbd resize r --size 8M
rbd resize r --size 8M --allow-shrink; rbd rename r r2; rbd ls | grep -qx r2; expect_fail 2 'No such file' rbd info r
rbd image-meta set r2 k v; same "$(rbd image-meta get r2 k)" v; rbd image-meta ls r2 | grep -q k; rbd image-meta rm r2 k; rbd rm r2
say "snapshots, clones"
rbd snap create img@s1; rbd snap ls img | grep -q s1
rbd bench --io-type write --io-pattern rand --io-size 64K --io-total 4M img >/dev/null
rbd export img@s1 "$T/s1"; same "$(sha "$T/img")" "$(sha "$T/s1")" "the snapshot changed"
rbd export img "$T/now"; rbd diff img --from-snap s1 | grep -q data
rbd snap protect img@s1; expect_fail 16 'protected' rbd snap rm img@s1
rbd clone img@s1 child; rbd children img@s1 | grep -q child; rbd export child "$T/child"; same "$(sha "$T/img")" "$(sha "$T/child")" "the clone differs"
rbd bench --io-type write --io-pattern rand --io-size 4K --io-total 1M child >/dev/null; rbd export child "$T/child2"
rbd info child | grep -q "parent: $P/img@s1"; rbd flatten child; rbd export child "$T/child3"; same "$(sha "$T/child2")" "$(sha "$T/child3")" "flatten changed the clone"
rbd snap unprotect img@s1; rbd snap rollback img@s1; rbd export img "$T/back"; same "$(sha "$T/img")" "$(sha "$T/back")" "rollback"
rbd snap rename img@s1 img@s2; rbd snap rm img@s2; rbd rm child
say "export-diff, import-diff"
rbd snap create img@d1; rbd bench --io-type write --io-pattern rand --io-size 64K --io-total 2M img >/dev/null; rbd snap create img@d2
rbd export-diff img@d1 "$T/full.diff"; rbd export-diff --from-snap d1 img@d2 "$T/inc.diff"
rbd create copy --size ${SIZE_MIB}M; rbd import-diff "$T/full.diff" copy; rbd import-diff "$T/inc.diff" copy
rbd export img@d2 "$T/x1"; rbd export copy "$T/x2"; same "$(sha "$T/x1")" "$(sha "$T/x2")" "import-diff"
rbd snap purge copy; rbd snap purge img; rbd cp img img2; rbd rm img2; rbd rm copy
say "trash, locks, watch"
rbd trash mv img; rbd trash ls | grep -q img; id=$(rbd trash ls | awk '{print $1}'); rbd trash restore "$id"; rbd ls | grep -qx img
rbd lock add img me; rbd lock ls img | grep -q me; who=$(rbd lock ls img --format json | json 'd[0]["locker"] if isinstance(d,list) else list(d.values())[0]["locker"]'); rbd lock rm img me "$who"
(timeout 6 rbd watch img < <(sleep 5) > "$T/watch" 2>&1 &); for i in $(seq 50); do rbd status img | grep -q 'watcher=' && break; sleep 0.1; done; rbd status img | grep -q 'watcher='
rbd image-meta set img wake up; sleep 1; grep -q 'received notification' "$T/watch" || die "the watcher heard nothing"
sleep 5; rbd object-map check img >/dev/null; rbd rm img; same "$(rbd ls)" ""
ceph osd pool rm $P $P --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
