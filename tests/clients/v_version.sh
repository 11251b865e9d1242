#!/usr/bin/env bash
# One client version against the cluster of CEPH_CONF, step by step: for chroots of other releases, too
# (debootstrap --variant=minbase --include=ceph-common,python3-rbd bullseye|trixie; bind the cluster's folder and /dev, run there;
# for those that debootstrap does not know yet, its last argument is a script that it has: forky .../scripts/sid; Ubuntu's noble
# .../scripts/gutsy with --keyring from Debian's package ubuntu-keyring and apt-get install ceph-common python3-rbd afterwards).
# Prints one line a step (ok, skip with the reason, FAIL); exits with the number of failed steps. limit-seconds: 180
: "${CEPH_CONF:?}"; BAD=0; T=$(mktemp -d); cd $T; V=$(ceph -v 2>&1 | awk '{print $3}'); P=cv$RANDOM
step() { local name=$1; shift; if timeout 60 bash -c "$*" > $T/out 2>&1; then echo "$V ok   $name"; elif [ $? = 77 ]; then echo "$V skip $name: $(tail -1 $T/out)"; else BAD=$((BAD+1)); echo "$V FAIL($?) $name: $(tail -3 $T/out | tr '\n' ' ')"; fi; }
export P T
head -c 20000000 /dev/urandom > img; head -c 5000000 /dev/urandom > obj
step "ceph -s" "ceph -s | grep -q 'osd: '"
step "ceph -s json" "ceph -s -f json | grep -q fsid"
step "ceph health/df/osd tree/versions" "ceph health detail; ceph df && ceph osd tree && ceph osd df && ceph versions && ceph osd pool ls detail && ceph pg stat && ceph auth ls"
step "pool create" "ceph osd pool create $P 16 && ceph osd pool application enable $P rbd"
step "rados put/get/stat/ls/append" "rados -p $P put o obj && rados -p $P get o o2 && cmp obj o2 && rados -p $P stat o && rados -p $P ls | grep -q o && rados -p $P append o obj"
step "rados xattr omap" "rados -p $P setxattr o k v && rados -p $P getxattr o k | grep -q v && rados -p $P setomapval o a b && rados -p $P listomapvals o | grep -q a && rados -p $P listomapkeys o"
step "rados cp" "rados -p $P cp o oo && rados -p $P stat oo"
step "rados pool snap" "rados -p $P.s ls; ceph osd pool create $P.s 8 && rados -p $P.s put o obj && rados -p $P.s mksnap s1 && rados -p $P.s put o img && rados -p $P.s -s s1 get o o3 && cmp obj o3 && rados -p $P.s rollback o s1 && rados -p $P.s rmsnap s1"
step "rados bench" "rados -p $P bench 2 write -b 4096 -t 16 --no-cleanup && rados -p $P bench 1 seq -t 16 && rados -p $P bench 1 rand -t 16 && rados -p $P cleanup"
step "rados lock/watch list" "rados -p $P lock get o l --lock-cookie c && rados -p $P lock list o && rados -p $P listwatchers o"
step "rados df" "rados df"
step "rbd create/info/ls" "rbd pool init $P && rbd create $P/a --size 64M && rbd info $P/a && rbd ls -l $P"
step "rbd import/export" "rbd import img $P/b && rbd export $P/b e && cmp img e"
step "rbd snap protect clone" "rbd snap create $P/b@s && rbd snap protect $P/b@s && rbd clone $P/b@s $P/c && rbd export $P/c e2 && cmp img e2"
step "rbd children/flatten/unprotect" "rbd children $P/b@s && rbd flatten $P/c && rbd snap unprotect $P/b@s && rbd snap rm $P/b@s"
step "rbd resize/rename/du/status/lock" "rbd resize $P/a --size 128M && rbd rename $P/a $P/z && rbd du -p $P && rbd status $P/z && rbd lock ls $P/z"
step "rbd bench" "rbd bench --io-type write --io-size 4K --io-total 4M $P/z"
step "rbd export-diff/import-diff" "rbd snap create $P/z@d1 && rbd bench --io-type write --io-size 4K --io-total 1M $P/z && rbd export-diff --from-snap d1 $P/z df && rbd create $P/y --size 128M && rbd snap create $P/y@d1 && rbd import-diff df $P/y"
step "rbd snap rollback/ls/purge" "rbd snap rollback $P/z@d1 && rbd snap ls $P/z && rbd snap purge $P/z"
step "rbd features one by one" "for f in layering exclusive-lock journaling,exclusive-lock object-map,exclusive-lock fast-diff,object-map,exclusive-lock deep-flatten; do rbd create $P/f-\${f//,/-} --size 16M --image-feature \$f || exit 1; done; rbd ls $P | wc -l"
step "rbd trash" "rbd trash mv $P/y && rbd trash ls $P | grep -q y && rbd trash restore -p $P \$(rbd trash ls $P | awk '{print \$1}') && rbd ls $P"
step "rbd image-meta/namespace/group" "rbd image-meta set $P/b k v && rbd image-meta list $P/b && rbd namespace create $P/n && rbd create $P/n/i --size 8M && rbd group create $P/g && rbd group image add $P/g $P/b && rbd group image list $P/g && rbd group image rm $P/g $P/b"
step "rbd rm" "rbd rm $P/c; rbd rm $P/b && rbd rm $P/z"
step "auth get-or-create, user client" "ceph auth get-or-create client.t$P mon 'profile rbd' osd 'profile rbd pool=$P' -o k && rbd --id t$P -k k ls $P && ! rados --id t$P -k k -p $P.s ls"
step "aes256k user, where the client knows it" "ceph-authtool --help 2>&1 | grep -q key-type || { echo this client makes no such keys; exit 77; }; ceph-authtool -C kk -g --key-type=aes256k -n client.k$P --cap mon 'allow *' --cap osd 'allow *' && ceph auth import -i kk && K=\"--id k$P -k kk\" && ceph \$K -s && rados \$K -p $P put ko obj && rados \$K --ms_client_mode secure -p $P get ko ko2 && cmp obj ko2 && ceph auth rm client.k$P"
step "tell/pg query" "ceph tell osd.0 version && ceph tell osd.\\* version && ceph pg dump pgs_brief | awk 'NR==2{print \$1}' && ceph osd blocklist ls || ceph osd blacklist ls"
step "secure mode" "ceph --ms_mon_client_mode secure --ms_client_mode secure -s && rados --ms_client_mode secure --ms_mon_client_mode secure -p $P ls"
step "v1 only" "M=\$(grep 'mon host' $CEPH_CONF | sed 's/.*v1:\\([0-9.:]*\\).*/\\1/'); ceph -m v1:\$M -s && rados -m v1:\$M -p $P put v1o obj && rados -m v1:\$M -p $P get v1o v1g && cmp obj v1g"
step "pool rm" "ceph osd pool rm $P $P --yes-i-really-really-mean-it && ceph osd pool rm $P.s $P.s --yes-i-really-really-mean-it"
cd /; rm -rf "$T"; exit "$BAD"
