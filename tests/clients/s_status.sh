#!/usr/bin/env bash
# Workflow S and the article's administration: status, tree, pools, users.
. "$(dirname "$0")/lib.sh"
N=$(ceph osd ls | wc -l) # other scripts may have added OSDs
say "status"
ceph -s | tee "$T/s" | grep -q 'cluster:' || die "no cluster section"
grep -q 'services:' "$T/s" && grep -q 'data:' "$T/s" || die "sections missing"
grep -qE "osd: $N osds: $N up \\(since .*\\), $N in \\(since" "$T/s" || die "osd line"
grep -qE 'mon: 1 daemons, quorum a \(age' "$T/s" || die "mon line"
same "$(ceph -s -f json | json 'd["osdmap"]["num_up_osds"], d["osdmap"]["num_in_osds"]' | tr -d '(),')" "$N $N"
ceph health | grep -qE 'HEALTH_(OK|WARN)'
say "tree"
ceph osd tree | head -1 | grep -qE '^ID +CLASS +WEIGHT +TYPE NAME +STATUS +REWEIGHT +PRI-AFF$' || die "osd tree header"
ceph osd tree | grep -qE '^-1 +[0-9.]+ +root default' || die "root default"
same "$(ceph osd tree -f json | json 'len([n for n in d["nodes"] if n["type"]=="osd" and n["status"]=="up"])')" "$N"
say "pools"
ceph osd pool create sp 16 2>&1 | grep -q "pool 'sp' created"
ceph osd pool create sp 16 2>&1 | grep -q "pool 'sp' already exists"
ceph osd pool application enable sp rados
ceph osd pool ls | grep -qx sp
same "$(ceph osd pool get sp size)" "size: 3"
same "$(ceph osd pool get sp pg_num -f json | json 'd["pg_num"]')" 16
ceph osd pool set sp min_size 1 2>&1 | grep -q 'set pool . min_size to 1\|set pool [0-9]* min_size to 1'
expect_fail 2 'unrecognized pool|ENOENT' ceph osd pool get nosuch size
ceph df | grep -q 'RAW STORAGE'; ceph df -f json | json 'd["stats"]["total_bytes"] > 0' | grep -qx True
ceph pg stat | grep -qE '[0-9]+ pgs: '
ceph osd map sp obj | grep -qE "^osdmap e[0-9]+ pool 'sp' \([0-9]+\) object 'obj' -> pg [0-9]+\.[0-9a-f]+ \([0-9]+\.[0-9a-f]+\) -> up \(\[[0-9],[0-9],[0-9]\], p[0-9]\) acting"
say "users"
ceph auth get-or-create client.t1 mon 'allow r' osd 'allow rwx pool=sp' | tee "$T/k1" | grep -q '^\[client.t1\]'
ceph auth get-or-create client.t1 mon 'allow r' osd 'allow rwx pool=sp' | cmp - "$T/k1" || die "get-or-create changed the key"
expect_fail 22 'key for client.t1 exists but cap' ceph auth get-or-create client.t1 mon 'allow *'
same "$(ceph auth get-key client.t1)" "$(awk '/key/{print $3}' "$T/k1")"
ceph auth ls 2>/dev/null | grep -q '^client.t1$'
ceph auth caps client.t1 mon 'allow r' osd 'allow r' 2>&1 | grep -q 'updated caps for client.t1'
ceph auth get client.t1 2>/dev/null | grep -q 'caps osd = "allow r"'
say "keys are rotated: at once, or with a second key that replaces the first when it is used"
ceph auth get-or-create client.t2 mon 'allow r' -o "$T/t2"; old=$(ceph auth get-key client.t2)
ceph auth rotate client.t2 > "$T/t2.new"; ceph --id t2 --keyring "$T/t2.new" health >/dev/null; expect_fail 13 'ermission' ceph --id t2 --keyring "$T/t2" health
[ "$old" != "$(ceph auth get-key client.t2)" ] || die "the key is the old one"; grep -q 'caps mon = "allow r"' "$T/t2.new"
pending=$(ceph auth get-or-create-pending client.t2 -f json | json 'd[0]["pending_key"]'); printf '[client.t2]\n\tkey = %s\n' "$pending" > "$T/t2.next"
same "$(ceph auth get-or-create-pending client.t2 -f json | json 'd[0]["pending_key"]')" "$pending" "pending key"
ceph --id t2 --keyring "$T/t2.new" health >/dev/null; ceph --id t2 --keyring "$T/t2.next" health >/dev/null
for n in $(seq 50); do [ "$(ceph auth get-key client.t2)" = "$pending" ] && break; [ "$n" -lt 50 ] || die "the used key did not replace the old one"; done
expect_fail 13 'ermission' ceph --id t2 --keyring "$T/t2.new" health; ceph --id t2 --keyring "$T/t2.next" health >/dev/null
ceph auth get-or-create-pending client.t2 >/dev/null; ceph auth clear-pending client.t2; ceph auth commit-pending client.t2 2>&1 | grep -q 'no pending key'
same "$(ceph auth get-key client.t2)" "$pending"; expect_fail 22 'not rotated here' ceph auth rotate mon.; expect_fail 2 'does not exist' ceph auth rotate client.nobody
ceph auth rm client.t2 >/dev/null 2>&1
ceph auth rm client.t1 2>&1 | grep -q updated
expect_fail 2 'ENOENT|failed to find client.t1' ceph auth get-key client.t1
say "osd states"
ceph osd out 0 2>&1 | grep -q 'marked out osd.0'
ceph osd out 0 2>&1 | grep -q 'osd.0 is already out'
ceph osd in 0 2>&1 | grep -q 'marked in osd.0'
ceph osd blocklist add 10.9.8.7:0/1 60 2>&1 | grep -q 'blocklisting 10.9.8.7:0/1 until'
ceph osd blocklist ls 2>&1 | grep -q '10.9.8.7:0/1'
ceph osd blocklist rm 10.9.8.7:0/1 2>&1 | grep -q 'un-blocklisting 10.9.8.7:0/1'
ceph mds stat >/dev/null
expect_fail 22 'invalid command|no valid command' ceph nonsense here
ceph osd pool rm sp sp --yes-i-really-really-mean-it 2>&1 | grep -q "pool 'sp' removed"
ceph tell osd.0 version -f json | json '"version" in d' | grep -qx True
ceph health detail >/dev/null
say "ok"
