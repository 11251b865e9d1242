#!/usr/bin/env bash
# Who may not: wrong keys, missing caps, the article's users on each other's pools, v1-only monitors.
. "$(dirname "$0")/lib.sh"
for p in volumes images vms; do ceph osd pool create $p 8 >/dev/null 2>&1; rbd pool init $p; done
mkuser() { ceph auth get-or-create client.$1 mon 'allow r' osd "$2" -o "$T/$1.keyring"; }
mkuser cinder 'allow class-read object_prefix rbd_children, allow rwx pool=volumes, allow rwx pool=vms, allow rx pool=images'
mkuser glance 'allow class-read object_prefix rbd_children, allow rwx pool=images'
G="--id glance --keyring $T/glance.keyring"; K="--id cinder --keyring $T/cinder.keyring"
say "the article's users do their work"
head -c 4000000 /dev/urandom > "$T/i"; rbd $G import "$T/i" images/i; rbd $G snap create images/i@s; rbd $G snap protect images/i@s
rbd $K clone images/i@s vms/c; rbd $K export vms/c "$T/o"; same "$(sha "$T/i")" "$(sha "$T/o")"
rbd $K create --size 4M volumes/v
say "and nothing else"
expect_fail 1 'Operation not permitted|error listing' rbd $G ls vms
expect_fail 1 'Operation not permitted' rados $G -p vms ls
expect_fail 1 'Operation not permitted' rados $G -p vms put x /etc/hostname
expect_fail 1 'Operation not permitted' rados $K -p images put x /etc/hostname
expect_fail 13 'EACCES|access denied' ceph $G osd pool create mine 8
expect_fail 13 'EACCES|access denied' ceph $G auth ls
expect_fail 13 'EACCES|access denied' ceph $G config-key dump
say "a wrong key, an unknown user"
printf '[client.glance]\n\tkey = %s\n' "$(ceph-authtool --gen-print-key)" > "$T/wrong"
expect_fail 13 'ermission' ceph --id glance --keyring "$T/wrong" -s
printf '[client.nobody]\n\tkey = %s\n' "$(ceph-authtool --gen-print-key)" > "$T/nobody"
expect_fail 13 'ermission' ceph --id nobody --keyring "$T/nobody" -s
say "a monitor given by its v1 address only"
v1=$(ceph mon dump -f json 2>/dev/null | json '[a["addr"] for m in d["mons"] for a in m["public_addrs"]["addrvec"] if a["type"]=="v1"][0]')
ceph -m "v1:$v1" -s | grep -q 'cluster:'; ceph -m "$v1" -s | grep -q 'cluster:'
rbd -m "[v1:$v1]" ls images | grep -qx i
rbd rm vms/c; rbd $G snap unprotect images/i@s; rbd snap purge images/i; rbd rm images/i; rbd rm volumes/v
for p in volumes images vms; do ceph osd pool rm $p $p --yes-i-really-really-mean-it >/dev/null 2>&1; done
for u in cinder glance; do ceph auth rm client.$u >/dev/null 2>&1; done
say "ok"
