#!/usr/bin/env bash
# Clients that die of kill -9: the watch ends by its timeout, the image's lock is broken and its owner blocklisted.
# limit-seconds: 240
. "$(dirname "$0")/lib.sh"
P=wp$$; ceph osd pool create $P 16 >/dev/null 2>&1; rbd pool init $P
wait_for() { local n; for n in $(seq "$1"); do if "${@:2}"; then return 0; fi; sleep 1; done; return 1; }
say "a watcher and a writer with the exclusive lock are killed"
rados -p $P put o /etc/hostname; sleep 300 | rados -p $P watch o >/dev/null 2>&1 & 
watched() { rados -p $P listwatchers o | grep -q watcher=; }; unwatched() { ! watched; }
wait_for 20 watched || die "no watcher showed up"
rbd create $P/i --size 64M
rbd bench --io-type write --io-pattern rand --io-size 4K --io-total 100G $P/i >/dev/null 2>&1 & writer=$!
locked() { rbd lock ls $P/i | grep -q 'auto '; }; wait_for 20 locked || die "the writer took no lock"
owner=$(rbd lock ls $P/i --format json | json '(d if isinstance(d, list) else list(d.values()))[0]["locker"]')
kill -9 "$(pgrep -f "^rados -p $P watch o")" $writer; wait $writer 2>/dev/null || true
watched || die "the watch ended at once: a short network fault would end it too"
say "the lock passes on"
timeout 120 rbd bench --io-type write --io-size 4K --io-total 1M $P/i >/dev/null 2>&1 || die "the next writer did not get the lock"
new=$(rbd lock ls $P/i --format json | json '[l["locker"] for l in (d if isinstance(d, list) else d.values())]'); [[ $new != *"$owner"* ]] || die "$owner still holds the lock"
ceph osd blocklist ls 2>/dev/null | grep -q ':' || die "the dead owner is not on the blocklist"
say "the watch has ended"
wait_for 60 unwatched || die "the dead client's watch stays"
say "a lock by hand is broken by another client"
rbd lock add $P/i mine; who=$(rbd lock ls $P/i --format json | json '[l["locker"] for l in (d if isinstance(d, list) else d.values()) if l["id"] == "mine"][0]')
expect_fail 16 'busy|lock.*already|exist' rbd lock add $P/i theirs
rbd lock rm $P/i mine "$who"; same "$(rbd lock ls $P/i | grep -c mine || true)" 0
expect_fail 2 'No such file' rbd lock rm $P/i mine "$who"
ceph osd blocklist clear >/dev/null 2>&1 || for a in $(ceph osd blocklist ls 2>/dev/null | awk '/:/{print $1}'); do ceph osd blocklist rm "$a" >/dev/null 2>&1; done
rbd rm $P/i; ceph osd pool rm $P $P --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
