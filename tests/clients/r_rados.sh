#!/usr/bin/env bash
# Workflow R: the rados tool and python-rados.
. "$(dirname "$0")/lib.sh"
RP=rp$$; ceph osd pool create $RP 16 >/dev/null 2>&1; ceph osd pool application enable $RP rados >/dev/null 2>&1
R="rados -p $RP"
say "objects"
head -c 9000000 /dev/urandom > "$T/a"; head -c 100 /dev/urandom > "$T/b"
$R put a "$T/a"; $R get a "$T/a2"; cmp "$T/a" "$T/a2"
$R put b "$T/b"; $R append b "$T/b"; $R get b "$T/b2"; cat "$T/b" "$T/b" | cmp - "$T/b2"
$R stat a | grep -qE 'a mtime .*, size 9000000'
$R truncate a 1000000; same "$($R stat a | sed 's/.*size //')" 1000000
same "$($R ls | sort | tr '\n' ' ')" "a b "
$R -N ns put inns "$T/b"; same "$($R -N ns ls)" inns; same "$($R ls | sort | tr '\n' ' ')" "a b "
same "$($R ls --all | awk '{print $NF}' | sort | tr '\n' ' ')" "a b inns "
$R touch t; $R stat t | grep -q 'size 0'
$R cp a c; $R get c "$T/c"; $R get a "$T/a3"; cmp "$T/c" "$T/a3"
$R rm t; expect_fail 1 'No such file' $R stat t; expect_fail 1 'No such file' $R rm t
say "xattr and omap"
$R setxattr a color red; same "$($R getxattr a color)" red; same "$($R listxattr a)" color; $R rmxattr a color
expect_fail 1 'No data available' $R getxattr a color
for i in 1 2 3; do $R setomapval a "key$i" "value$i"; done
same "$($R listomapkeys a | tr '\n' ' ')" "key1 key2 key3 "
$R getomapval a key2 | grep -q value2; $R listomapvals a | grep -q value3; $R rmomapkey a key1
same "$($R listomapkeys a | tr '\n' ' ')" "key2 key3 "; $R setomapheader a head; $R getomapheader a | grep -q head
$R clearomap a; same "$($R listomapkeys a)" ""
say "locks and watchers"
$R lock get a lk --lock-tag tg --lock-cookie ck >/dev/null; $R lock list a | grep -q '"lk"'; $R lock info a lk | grep -q 'exclusive'
expect_fail 1 'File exists|Device or resource busy' $R lock get a lk --lock-tag tg --lock-cookie ck
who=$($R lock info a lk -f json | json 'd["lockers"][0]["name"]'); $R lock break a lk "$who" --lock-cookie ck --lock-tag tg
($R watch a < <(sleep 4) > "$T/w" 2>&1 &) ; for i in $(seq 50); do $R listwatchers a | grep -q watcher= && break; sleep 0.1; done
$R listwatchers a | grep -qE 'watcher=.* client\.[0-9]+ cookie='
$R notify a hello 2>&1 | grep -q '^reply client' || die 'the watcher did not answer the notify'
say "snapshots of a pool"
$R mksnap s1 >/dev/null; head -c 5000 /dev/urandom > "$T/n"; $R put a "$T/n"
$R -s s1 get a "$T/a4" 2>/dev/null; cmp "$T/a3" "$T/a4"; $R lssnap | grep -q 's1'; $R listsnaps a | grep -q 'head'
$R rollback a s1 >/dev/null; $R get a "$T/a5"; cmp "$T/a3" "$T/a5"; $R rmsnap s1 >/dev/null
say "bench"
$R bench 3 write -b 4096 -t 16 --no-cleanup | grep -q 'Total writes made'
$R bench 2 seq -t 16 | grep -q 'Total reads made'; $R bench 2 rand -t 16 | grep -q 'Total reads made'; $R cleanup >/dev/null
say "python: atomic ops, self-managed snapshots, notify"
ceph osd pool create rq 8 >/dev/null 2>&1
/usr/bin/python3 - <<'P'
import rados, threading
c = rados.Rados(conffile=''); c.connect(); io = c.open_ioctx('rq')
with rados.WriteOpCtx() as op:
    op.new(rados.LIBRADOS_CREATE_EXCLUSIVE); op.write_full(b'first'); io.set_omap(op, ('k1', 'k2'), (b'v1', b'v2')); op.set_xattr('x', b'y')
    io.operate_write_op(op, 'o')
assert io.read('o') == b'first' and io.get_xattr('o', 'x') == b'y'
try:
    with rados.WriteOpCtx() as op:
        op.write_full(b'second'); op.new(rados.LIBRADOS_CREATE_EXCLUSIVE); io.operate_write_op(op, 'o')
    raise SystemExit('an exclusive create of an existing object succeeded')
except rados.ObjectExists: pass
assert io.read('o') == b'first', 'a failed compound op left a trace'
with rados.ReadOpCtx() as op:
    it, _ = io.get_omap_vals(op, '', '', 10); io.operate_read_op(op, 'o'); assert list(it) == [('k1', b'v1'), ('k2', b'v2')]
s1 = io.create_self_managed_snap(); io.set_self_managed_snap_write([s1]) if hasattr(io, 'set_self_managed_snap_write') else None
io.remove_self_managed_snap(s1)
got = []
def cb(*a): got.append(a)
w = io.watch('o', lambda nid, gid, cookie, data: got.append(data)); assert io.notify('o', 'hi', 5000); assert got, 'own notify did not arrive'; w.close()
assert io.execute('o', 'hello', 'say_hello', b'me')[1] == b'Hello, me!'
assert c.get_cluster_stats()['kb'] > 0; io.get_stats(); assert c.get_fsid()
io.aio_write_full('z', b'x' * 70000).wait_for_complete(); assert len(io.read('z', 100000)) == 70000
io.close(); c.shutdown()
P
ceph osd pool rm $RP $RP --yes-i-really-really-mean-it >/dev/null 2>&1; ceph osd pool rm rq rq --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
