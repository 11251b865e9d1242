# snapshots, parents, children, groups of an image, migration
USER = ver(1, 1, u32(0))
GROUP = ver(1, 1, u32(1) + s64(3) + s('g1') + s('gs1'))
TRASH = ver(1, 1, u32(2) + s('orig') + u32(0))
def mirror_ns(state=0, complete=0, peers=('p1', 'p2'), primary='', psnap=HEAD, last=0, seqs=()):
    return ver(1, 1, u32(3) + u8(state) + u8(complete) + lst([s(p) for p in peers]) + s(primary) + u64(psnap) + u64(last) + lst([u64(a) + u64(b) for a, b in seqs]))
def snaps(o, ids):
    rbd(o, 'get_snapcontext'); rbd(o, 'op_features_get'); rbd(o, 'get_features', u64(HEAD))
    for i in ids:
        for m in ('snapshot_get', 'get_snapshot_name', 'get_snapshot_timestamp', 'get_protection_status', 'get_flags', 'get_size', 'parent_overlap_get', 'get_parent', 'children_list', 'get_features'): rbd(o, m, u64(i))
def add(o, name, i, ns=USER): return rbd(o, 'snapshot_add', s(name), u64(i), ns)
mk('N'); add('nosuch', 'a', 1); dump('nosuch')
add('N', 'a', 4); add('N', 'a', 5); add('N', 'b', 3); add('N', 'b', 4); add('N', 'b', HEAD); add('N', 'b', 2**64 - 3); add('N', 'u', 5, ver(1, 1, u32(77))); add('N', 'u', 5, ver(2, 2, u32(0))); add('N', 'u', 5, b'\1'); rbd('N', 'snapshot_add', s('plain'), u64(6))
rbd('N', 'set_flags', u64(1), u64(1)); rbd('N', 'set_size', u64(5 << 20)); add('N', 'b', 7); add('N', 'a', 8, GROUP); add('N', 'a', 9, TRASH); add('N', 'm', 10, mirror_ns()); add('N', 'm2', 11, mirror_ns(2, 0, (), 'prim', 5, 9, ((1, 2), (3, 4)))); add('N', 'short', 12, ver(1, 1, u32(1)))
snaps('N', (4, 6, 7, 8, 9, 10, 11, 12, 99, HEAD)); dump('N')
for i, st in ((4, 2), (4, 1), (4, 3), (4, 2), (99, 2), (HEAD, 2)): rbd('N', 'set_protection_status', u64(i), u8(st)); rbd('N', 'get_protection_status', u64(i))
rbd('none', 'set_protection_status', u64(4), u8(2)); rbd('none', 'get_protection_status', u64(4)); mk('nl', feats=0); add('nl', 'a', 1); rbd('nl', 'set_protection_status', u64(1), u8(2))
def ren(i, name): rbd('N', 'snapshot_rename', u64(i), s(name))
ren(4, 'b'); ren(4, 'a'); ren(4, 'aa'); ren(8, 'gg'); ren(9, 'tt'); ren(10, 'mm'); ren(99, 'x'); ren(4, 'm'); ren(6, 'm'); ren(6, '')
for i in (4, 7, 9, 8, 99): rbd('N', 'snapshot_trash_add', u64(i))
rbd('N', 'op_features_get'); rbd('N', 'set_flags', u64(2), u64(3), u64(7)); dump('N')
for i, p in ((10, 'p1'), (10, 'p1'), (10, 'zz'), (7, 'p1'), (99, 'p1')): rbd('N', 'mirror_image_snapshot_unlink_peer', u64(i), s(p))
for i, cpl, n in ((10, 1, 5), (11, 1, 77), (11, 0, 78), (7, 1, 1), (99, 1, 1)): rbd('N', 'mirror_image_snapshot_set_copy_progress', u64(i), u8(cpl), u64(n))
dump('N')
# limits
rbd('N', 'snapshot_set_limit', u64(3)); rbd('N', 'snapshot_get_limit'); rbd('N', 'snapshot_set_limit', u64(8)); rbd('N', 'snapshot_get_limit'); add('N', 'lim', 20); add('N', 'lim2', 21); rbd('N', 'snapshot_set_limit', u64(NONE)); rbd('N', 'snapshot_get_limit'); rbd('N', 'snapshot_set_limit', u64(NONE)); add('N', 'lim2', 21)
rbd('none', 'snapshot_set_limit', u64(5)); rbd('none', 'snapshot_set_limit', u64(NONE)); dump('none')
mk('lim'); rbd('lim', 'snapshot_set_limit', u64(0)); add('lim', 'a', 1); add('lim', 'b', 2); add('lim', 'a', 2); rbd('lim', 'snapshot_set_limit', u64(0)); rbd('lim', 'snapshot_set_limit', u64(1)); add('lim', 'b', 2)
for i in (4, 99, 6, 7, 9, 8, 10, 11, 20, 21, HEAD): rbd('N', 'snapshot_remove', u64(i)); rbd('N', 'op_features_get')
rbd('N', 'set_protection_status', u64(4), u8(0)); rbd('N', 'snapshot_remove', u64(4)); dump('N')
# many snapshots (more than a page)
mk('many')
for i in range(1, 71): add('many', 's%d' % i, i)
rbd('many', 'get_snapcontext'); add('many', 's70', 90); add('many', 's1', 90); rbd('many', 'snapshot_set_limit', u64(69)); rbd('many', 'snapshot_set_limit', u64(70)); add('many', 'over', 91)
# parents
def spec(pool=2, ns='', img='pid', snap=3): return ver(1, 1, s64(pool) + s(ns) + s(img) + u64(snap))
def parents(o, snap=HEAD):
    rbd(o, 'parent_get'); rbd(o, 'get_parent', u64(snap)); rbd(o, 'parent_overlap_get', u64(snap))
for name, f in (('P', 0x3d), ('Q', 0x1)):
    mk(name, feats=f, size=100 << 20)
    rbd(name, 'parent_detach'); rbd(name, 'parent_attach', spec(pool=-1), u64(5)); rbd(name, 'parent_attach', spec(img=''), u64(5)); rbd(name, 'parent_attach', spec(snap=HEAD), u64(5)); rbd(name, 'parent_attach', spec(), u64(0)); rbd(name, 'parent_attach', spec())
    parents(name); rbd(name, 'parent_attach', spec(), u64(1 << 40)); parents(name); dump(name)
    rbd(name, 'op_features_set', u64(2), u64(2))
    rbd(name, 'parent_attach', spec(), u64(5)); rbd(name, 'parent_attach', spec(img='other'), u64(5)); rbd(name, 'parent_attach', spec(), u64(100 << 20), u8(1)); rbd(name, 'parent_attach', spec(img='other'), u64(90 << 20), u8(1)); parents(name)
    add(name, 's1', 1); rbd(name, 'set_size', u64(50 << 20)); parents(name); add(name, 's2', 2); add(name, 't1', 3, TRASH); snaps(name, (1, 2, 3, 4)); dump(name)
    rbd(name, 'set_size', u64(0)); parents(name); rbd(name, 'parent_detach'); parents(name); snaps(name, (1, 2)); dump(name); rbd(name, 'parent_detach'); add(name, 's4', 4); parents(name, 4)
    rbd(name, 'parent_attach', spec(img='other'), u64(7)); parents(name); rbd(name, 'parent_attach', spec(img='third'), u64(8)); rbd(name, 'parent_attach', spec(img='other'), u64(7), u8(1)); rbd(name, 'parent_detach'); rbd(name, 'set_size', u64(1 << 20)); rbd(name, 'parent_attach', spec(img='other'), u64(7)); parents(name); rbd(name, 'remove_parent'); dump(name)
    for i in (1, 2, 4, 3): rbd(name, 'snapshot_remove', u64(i)); parents(name); rbd(name, 'op_features_get')
    dump(name)
mk('ns', feats=1); rbd('ns', 'parent_attach', spec(ns='sp'), u64(9)); parents('ns'); rbd('ns', 'remove_parent'); rbd('ns', 'parent_detach'); parents('ns')
def setp(o, pool, img, snap, n): rbd(o, 'set_parent', s64(pool), s(img), u64(snap), u64(n))
setp('ns', -1, 'x', 1, 1); setp('ns', 3, 'x', 1, 0); setp('ns', 3, 'x', 1, 11); setp('ns', 3, 'x', 1, 11); parents('ns'); rbd('ns', 'remove_parent'); rbd('ns', 'remove_parent'); dump('ns')
for m in ('parent_get', 'remove_parent', 'parent_detach'): rbd('none', m); rbd('bare', m)
parents('none'); parents('bare'); parents('nl'); parents('nl', 1); parents('nl', 9); rbd('none', 'parent_attach', spec(), u64(5)); rbd('bare', 'parent_attach', spec(), u64(5)); rbd('nl', 'parent_attach', spec(), u64(5)); rbd('nl', 'parent_detach'); setp('none', 1, 'a', 1, 1)
# children, new and old
def child(img='c1', pool=4, ns=''): return ver(2, 1, s64(pool) + s(img) + s(ns))
mk('K'); add('K', 'a', 1); add('K', 'b', 2); add('K', 't', 3, TRASH)
rbd('K', 'child_detach', u64(1), child()); rbd('K', 'child_attach', u64(9), child()); rbd('K', 'child_attach', u64(3), child()); rbd('K', 'child_attach', u64(1), child()); rbd('K', 'child_attach', u64(1), child()); rbd('K', 'child_attach', u64(1), child('c0', 5, 'nn')); rbd('K', 'child_attach', u64(1), ver(1, 1, s64(2) + s('old'))); rbd('K', 'child_attach', u64(2), child('c2'))
rbd('K', 'children_list', u64(1)); rbd('K', 'children_list', u64(2)); rbd('K', 'children_list', u64(3)); rbd('K', 'children_list', u64(9)); snaps('K', (1, 2)); dump('K')
rbd('K', 'snapshot_remove', u64(1)); rbd('K', 'snapshot_trash_add', u64(1)); rbd('K', 'child_detach', u64(1), child('zz')); rbd('K', 'child_detach', u64(9), child()); rbd('K', 'child_detach', u64(1), child()); rbd('K', 'child_detach', u64(1), child('c0', 5, 'nn')); rbd('K', 'child_detach', u64(1), child('old', 2)); rbd('K', 'children_list', u64(1)); rbd('K', 'op_features_get'); rbd('K', 'child_detach', u64(2), child('c2')); rbd('K', 'op_features_get'); rbd('K', 'get_features', u64(HEAD)); dump('K')
def old(pool=2, img='p', snap=3): return u64(pool) + s(img) + u64(snap)
rbd('oc', 'get_children', old()); rbd('oc', 'remove_child', old(), s('x')); dump('oc'); rbd('oc', 'add_child', old(), s('x')); rbd('oc', 'add_child', old(), s('x')); rbd('oc', 'add_child', old(), s('a')); rbd('oc', 'add_child', old(snap=4), s('a')); rbd('oc', 'get_children', old()); rbd('oc', 'get_children', old(snap=4)); rbd('oc', 'get_children', old(snap=5)); rbd('oc', 'remove_child', old(), s('zz')); rbd('oc', 'remove_child', old(), s('x')); rbd('oc', 'remove_child', old(), s('a')); rbd('oc', 'get_children', old()); rbd('oc', 'remove_child', old(), s('a')); rbd('oc', 'add_child', old()); dump('oc', False)
# group reference
def gspec(pool=3, g='g1'): return ver(1, 1, s64(pool) + s(g))
mk('G'); rbd('G', 'image_group_remove', gspec()); rbd('G', 'image_group_add', gspec()); rbd('G', 'image_group_add', gspec()); rbd('G', 'image_group_add', gspec(4)); rbd('G', 'image_group_get'); rbd('G', 'op_features_get'); dump('G'); rbd('G', 'image_group_remove', gspec(9)); rbd('G', 'image_group_remove', gspec()); rbd('G', 'image_group_get'); dump('G'); rbd('none', 'image_group_add', gspec()); rbd('none', 'image_group_remove', gspec()); rbd('none', 'image_group_get'); dump('none')
# migration
def mig(t=1, state=0, v=3, desc='', mode=0, src=''):
    b = u8(t) + s64(5) + s('nsp') + s('iname') + s('iid') + lst([u64(1) + u64(2), u64(3) + u64(4)]) + u64(99) + u8(1) + u8(0) + u8(state) + s(desc)
    if v >= 2: b += u8(mode)
    if v >= 3: b += s(src)
    return ver(v, 1, b)
mk('M'); rbd('M', 'migration_get'); rbd('M', 'migration_remove'); rbd('M', 'migration_set_state', u8(1), s('x')); rbd('M', 'migration_set', mig()); rbd('M', 'migration_set', mig()); rbd('M', 'migration_get'); rbd('M', 'get_features', u64(HEAD)); dump('M'); rbd('M', 'migration_set_state', u8(3), s('going')); rbd('M', 'migration_get'); rbd('M', 'migration_remove'); rbd('M', 'migration_remove'); rbd('M', 'migration_get'); dump('M')
mk('M2', feats=0x23d); rbd('M2', 'migration_get'); rbd('M2', 'migration_set', mig(1)); rbd('M2', 'migration_set', mig(2, v=2)); rbd('M2', 'migration_get'); rbd('M2', 'migration_remove'); rbd('M2', 'migration_set', mig(2, v=1)); rbd('M2', 'migration_get'); rbd('M2', 'migration_set_state', u8(9), s('')); rbd('M2', 'migration_get'); dump('M2')
V1 = b'<<< Rados Block Device Image >>>\n\0'; V1M = b'<<< Migrating RBD Image      >>>\n\0'
for name, data in (('m3', V1), ('m4', V1M), ('m5', b'zz'), ('m6', b'x' * 50), ('m7', V1 + b'tail')):
    write(name, data)
    rbd(name, 'migration_get'); rbd(name, 'migration_set', mig(2)); rbd(name, 'migration_set', mig(1)); dump(name); rbd(name, 'migration_get'); rbd(name, 'migration_set_state', u8(2), s('q')); rbd(name, 'migration_set', mig(1)); rbd(name, 'migration_remove'); rbd(name, 'migration_remove'); dump(name)
rbd('none', 'migration_set', mig()); rbd('none', 'migration_get'); rbd('none', 'migration_remove'); dump('none')
# state that damaged objects have
setomap('dam', 'features', b'\1'); setomap('dam', 'size', b''); setomap('dam', 'order', b'\x16'); setomap('dam', 'object_prefix', s('a')[:-1]); setomap('dam', 'snap_seq', b'\2'); setomap('dam', 'snapshot_0000000000000007', b'zz'); setomap('dam', 'parent', b'x'); setomap('dam', 'rbd_group_ref', b'x'); setomap('dam', 'flags', b''); setomap('dam', 'create_timestamp', b'a'); setomap('dam', 'op_features', b''); setomap('dam', 'snap_limit', b''); setomap('dam', 'data_pool_id', b''); setomap('dam', 'stripe_unit', b''); setomap('dam', 'migration', b'')
reads('dam'); reads('dam', 7)
for m, a in (('set_size', u64(1)), ('set_features', u64(4) + u64(4)), ('set_flags', u64(1) * 2), ('op_features_set', u64(1) * 2), ('snapshot_add', s('q') + u64(9)), ('snapshot_remove', u64(7)), ('snapshot_rename', u64(7) + s('n')), ('snapshot_trash_add', u64(7)), ('set_protection_status', u64(7) + u8(2)), ('child_attach', u64(7) + child()), ('image_group_add', gspec()), ('image_group_remove', gspec()), ('parent_attach', spec() + u64(5)), ('parent_detach', b''), ('migration_set', mig())): rbd('dam', m, a)
setomap('dam2', 'features', u64(1)); rbd('dam2', 'get_stripe_unit_count'); setomap('dam2', 'features', u64(3)); rbd('dam2', 'get_stripe_unit_count'); setomap('dam2', 'parent', b'x'); setomap('dam2', 'snap_seq', u64(0)); setomap('dam2', 'size', u64(9)); parents('dam2'); add('dam2', 'q', 1); rbd('dam2', 'set_size', u64(1)); rbd('dam2', 'parent_detach'); rbd('dam2', 'parent_attach', spec(), u64(5)); dump('dam2')
# older encodings on disk
def snapv(v, body, compat=1): return ver(v, compat, body)
base = u64(1) + s('old') + u64(4096) + u64(0x3d)
LEG = ver(1, 1, s64(2) + s('pp') + u64(3) + u64(2048))
for v in range(1, 10):
    b = base
    if v >= 2: b += LEG if v < 8 else b''
    if v >= 3: b += u8(0)
    if v >= 4: b += u64(1)
    if v >= 5: b += USER
    if v >= 6: b += u32(0) + u32(0)
    if v >= 7: b += u32(0)
    o = 'sv%d' % v
    if v == 8: b = base + LEG + u8(0) + u64(1) + USER + u32(0) * 2 + u32(0) + u8(1) + u64(1024)    # as before nautilus
    if v == 9: b = u64(1) + s('old') + u64(4096) + u8(0) + u64(1) + USER + u32(0) * 2 + u32(0) + u8(1) + u64(2048)
    mk(o, feats=0x1); setomap(o, 'snapshot_0000000000000001', snapv(min(v, 8), b, 8 if v == 9 else 1)); snaps(o, (1,)); parents(o); parents(o, 1); rbd(o, 'set_flags', u64(1), u64(1), u64(1)); parents(o); dump(o); rbd(o, 'snapshot_remove', u64(1)); dump(o)
mk('pv1', feats=1); setomap('pv1', 'parent', ver(1, 1, s64(2) + s('pp') + u64(3) + u64(2048))); parents('pv1'); add('pv1', 'a', 1); dump('pv1'); rbd('pv1', 'set_size', u64(5)); dump('pv1'); rbd('pv1', 'parent_detach'); dump('pv1')
