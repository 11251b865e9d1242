# header, id object, metadata, data objects
def mk(o, size=1 << 30, order=22, feats=0x3d, prefix='rbd_data.abc', pool=-1): return rbd(o, 'create', u64(size), u8(order), u64(feats), s(prefix), s64(pool))
READS = ['get_object_prefix', 'get_data_pool', 'op_features_get', 'get_stripe_unit_count', 'get_create_timestamp', 'get_access_timestamp', 'get_modify_timestamp', 'get_all_features', 'get_id', 'parent_get', 'get_snapcontext', 'snapshot_get_limit', 'image_group_get', 'migration_get']
def reads(o, snap=HEAD):
    for m in READS: rbd(o, m)
    for m in ('get_size', 'get_features', 'get_flags', 'parent_overlap_get', 'get_parent', 'get_protection_status', 'get_snapshot_name', 'snapshot_get', 'get_snapshot_timestamp', 'children_list'): rbd(o, m, u64(snap))
    rbd(o, 'get_features', u64(snap), u8(1))
reads('hnone')
mk('hd', feats=1 << 20); mk('hd', prefix=''); mk('hd', feats=0x13d); mk('hd', feats=0x3d, pool=3); mk('hd', feats=0xbd); mk('hd', feats=0x23d, prefix='m'); dump('hd')
rbd('hd', 'create', u64(1), u8(2), u64(1), s('p')); dump('hd'); rbd('hd', 'create', u64(1), u8(2), u64(1), s('p'))
mk('dp', feats=0xbd, pool=7); dump('dp'); reads('dp')
mk('H'); mk('H'); dump('H'); reads('H'); reads('H', 5)
rbd('H', 'get_features', u64(4))
for v in (2 << 30, 1 << 20, 0, 1 << 30): rbd('H', 'set_size', u64(v)); rbd('H', 'get_size', u64(HEAD))
rbd('Hx', 'set_size', u64(1)); dump('Hx')
# features
def feats(f, m, o='H'): rbd(o, 'set_features', u64(f), u64(m)); rbd(o, 'get_features', u64(HEAD))
for bit in range(0, 14):
    feats(1 << bit, 1 << bit); feats(0, 1 << bit)
feats(0x3d, 0x3c); feats(1 << 40, 1 << 40); feats(0, 1 << 40); feats(NONE, 0); feats(0x18, 0x18); feats(0, 0x4)
rbd('Hx', 'set_features', u64(4), u64(4)); dump('Hx')
# flags, op features
for f, m in ((1, 1), (2, 3), (0, 3), (NONE, NONE), (0, NONE)): rbd('H', 'set_flags', u64(f), u64(m)); rbd('H', 'get_flags', u64(HEAD))
rbd('H', 'set_flags', u64(1), u64(1), u64(HEAD)); rbd('H', 'set_flags', u64(1), u64(1), u64(3)); rbd('H', 'set_flags', u64(1), u64(1), u64(3)[:7]); rbd('H', 'get_flags', u64(HEAD))
rbd('H', 'set_flags', u64(0), u64(3))
for v, m in ((1, 1), (3, 3), (0, 1), (16, 16), (16, 15), (0, 16), (0, 15), (15, 15), (0, 15)): rbd('H', 'op_features_set', u64(v), u64(m)); rbd('H', 'op_features_get'); rbd('H', 'get_features', u64(HEAD))
rbd('Hy', 'op_features_set', u64(1), u64(1)); rbd('Hy', 'set_flags', u64(1), u64(1)); dump('Hy')
# stripes
mk('S', feats=0x3, order=22); rbd('S', 'get_stripe_unit_count')
for u, n in ((0, 1), (1, 0), (3, 1), (1 << 23, 1), (1 << 16, 5), (1 << 22, 1)): rbd('S', 'set_stripe_unit_count', u64(u), u64(n)); rbd('S', 'get_stripe_unit_count')
rbd('H', 'set_stripe_unit_count', u64(1 << 16), u64(2)); rbd('none', 'set_stripe_unit_count', u64(1 << 16), u64(2)); dump('S')
# times
rbd('H', 'set_access_timestamp'); rbd('H', 'set_modify_timestamp'); rbd('none', 'set_access_timestamp'); rbd('none', 'set_modify_timestamp'); create('bare'); rbd('bare', 'set_modify_timestamp'); reads('bare'); dump('bare')
# metadata
def ml(o, start, n): rbd(o, 'metadata_list', s(start), u64(n))
ml('none', '', 10); ml('H', '', 10)
rbd('H', 'metadata_set', lst([s('k%03d' % i) + s('v%d' % i) for i in range(70)]))
rbd('H', 'metadata_set', lst([s('') + s('empty'), s('zz') + s('')])); rbd('H', 'metadata_set', lst([])); rbd('H', 'metadata_set', u32(2) + s('a'))
for st, n in (('', 0), ('', 1), ('', 64), ('', 65), ('', 1000), ('k060', 5), ('k', 3), ('zz', 5), ('', NONE), ('a', 2)): ml('H', st, n)
for k in ('k001', '', 'no', 'zz'): rbd('H', 'metadata_get', s(k))
for k in ('k001', '', 'no'): rbd('H', 'metadata_remove', s(k))
rbd('none', 'metadata_remove', s('x')); rbd('none', 'metadata_get', s('x')); rbd('none', 'metadata_set', lst([])); dump('none'); ml('H', '', 3); dump('H')
# id objects
rbd('id', 'set_id', s('abc')); create('id'); rbd('id', 'get_id'); rbd('id', 'set_id', s('a-b')); rbd('id', 'set_id', s('')); rbd('id', 'set_id', s('ABC09z')); rbd('id', 'get_id'); rbd('id', 'set_id', s('abc')); dump('id')
write('idbad', b'\x09\0\0\0ab'); rbd('idbad', 'get_id')
# copyup
rbd('cu', 'copyup', b'hello'); rbd('cu', 'copyup', b'other'); dump('cu'); rbd('cu0', 'copyup'); dump('cu0'); create('cu1'); rbd('cu1', 'copyup', b'zz'); dump('cu1')
def sp(o, ext, data): rbd(o, 'sparse_copyup', lst([u64(a) + u64(b) for a, b in ext]), s(data))
sp('sc', [(0, 3), (10, 2)], 'abcde'); dump('sc'); sp('sc', [(0, 1)], 'x'); dump('sc'); sp('sc0', [], ''); dump('sc0'); sp('sc1', [(4, 6)], 'abc'); dump('sc1'); sp('sc2', [(4, 2)], 'abcd'); dump('sc2'); sp('sc4', [(4, 0)], ''); dump('sc4')
for st in (0, 1, 2):
    for o in ('none', 'cu'):
        for q in (0, 1, 5): rbd(o, 'assert_snapc_seq', u64(q), u8(st))
def spz(o, g, rm): rbd(o, 'sparsify', u64(g), u8(rm)); dump(o)
spz('none', 4096, 1); create('z0'); spz('z0', 4096, 0); spz('z0', 4096, 1)
write('z1', b'\0' * 8192); spz('z1', 4096, 0); write('z1', b'\0' * 8192); spz('z1', 4096, 1)
write('z2', b'a' * 4096 + b'\0' * 8192 + b'b' * 100 + b'\0' * 9000); spz('z2', 4096, 1); spz('z2', 4096, 1)
write('z3', b'\0' * 5000 + b'x'); spz('z3', 1024, 0); write('z4', b'a' * 10 + b'\0' * 10); spz('z4', 8, 0); write('z5', b'abc'); spz('z5', 4096, 1)
write('z6', b'\0' * 100 + b'x' * 3); spz('z6', 0x10000, 1)
