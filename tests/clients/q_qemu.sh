#!/usr/bin/env bash
# Workflow Q: qemu-img and fio on rbd: URLs.
. "$(dirname "$0")/lib.sh"
P=rq$$; ceph osd pool create $P 16 >/dev/null 2>&1; rbd pool init $P
C=":conf=${CEPH_CONF//:/\\:}"
say "qemu-img"
dd if=/dev/urandom of="$T/img" bs=1M count=24 status=none; truncate -s 64M "$T/img"
qemu-img convert -f raw -O raw "$T/img" "rbd:$P/a$C"; qemu-img info -f raw "rbd:$P/a$C" | grep -q 'virtual size: 64 MiB'
qemu-img compare -f raw -F raw "$T/img" "rbd:$P/a$C" | grep -q 'identical'
qemu-img create -f raw "rbd:$P/b$C" 32M | grep -q 'size=33554432'; qemu-img resize -f raw "rbd:$P/b$C" 64M | grep -q resized
qemu-img convert -n -f raw -O raw "rbd:$P/a$C" "rbd:$P/b$C"; qemu-img compare -f raw -F raw "rbd:$P/a$C" "rbd:$P/b$C" | grep -q identical
qemu-img snapshot -c s1 "rbd:$P/a$C"; qemu-img snapshot -l "rbd:$P/a$C" | grep -q s1; qemu-img snapshot -a s1 "rbd:$P/a$C"; qemu-img snapshot -d s1 "rbd:$P/a$C"
qemu-io -f raw -c 'write -P 0x5a 1M 64k' -c 'read -P 0x5a 1M 64k' -c 'discard 4M 4M' -c 'read -P 0 4M 4M' -c 'flush' "rbd:$P/b$C" | grep -q 'wrote 65536' 
qemu-img convert -f raw -O qcow2 "rbd:$P/a$C" "$T/o.qcow2"; qemu-img compare "$T/o.qcow2" "rbd:$P/a$C" >/dev/null 2>&1 || qemu-img compare -f qcow2 -F raw "$T/o.qcow2" "rbd:$P/a$C" | grep -q identical
say "fio with crc verify"
rbd create $P/f --size 64M
fio --ioengine=rbd --clientname=admin --pool=$P --rbdname=f --name=v --rw=randwrite --bs=4k --size=16M --iodepth=16 --verify=crc32c --verify_fatal=1 --output-format=terse >/dev/null
for i in a b f; do rbd rm $P/$i; done
ceph osd pool rm $P $P --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
