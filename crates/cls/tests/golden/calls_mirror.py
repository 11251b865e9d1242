O = 'rm'
def mode(v): rbd(O, 'mirror_mode_set', u32(v)); rbd(O, 'mirror_mode_get')
def peer(u='u1', site='siteA', client='client.x', v=2, d=0, mu='', pool=-1):
    return ver(v, 1, s(u) + s(site) + s(client) + s64(pool) + (u8(d) + s(mu) + u32(9) + u32(8) if v > 1 else b''))
def peers(): rbd(O, 'mirror_peer_list')
rbd(O, 'mirror_uuid_get'); rbd(O, 'mirror_mode_get'); peers(); mode(0); mode(1); mode(3); mode(9); rbd(O, 'mirror_peer_add', peer()); rbd(O, 'mirror_peer_remove', s('u1')); rbd(O, 'mirror_peer_ping', s('a'), s('b'), u8(1)); dump(O)
rbd(O, 'mirror_uuid_set', s('')); rbd(O, 'mirror_uuid_set', s('pooluuid')); rbd(O, 'mirror_uuid_get'); rbd(O, 'mirror_peer_add', peer()); mode(1); mode(2); rbd(O, 'mirror_uuid_set', s('other')); dump(O)
for p in (peer('', 'a'), peer('u', ''), peer(client=''), peer(client='', d=1), peer(client='', d=2), peer(d=3), peer('pooluuid'), peer(d=1), peer(), peer(), peer('u2'), peer('u2', 'siteB', mu='m1'), peer('u3', 'siteC', mu='m1'), peer('u4', 'siteD', v=1), peer('u5', 'siteE', pool=4, d=2, mu='m5')): rbd(O, 'mirror_peer_add', p)
peers(); dump(O); mode(0)
for u in ('u1', 'zz'):
    rbd(O, 'mirror_peer_set_client', s(u), s('client.new')); rbd(O, 'mirror_peer_set_cluster', s(u), s('newsite')); rbd(O, 'mirror_peer_set_direction', s(u), u8(2)); rbd(O, 'mirror_peer_set_cluster', s(u), s('siteB'))
rbd(O, 'mirror_peer_set_direction', s('u1'), u8(9)); rbd(O, 'mirror_peer_set_client', s('u1'), s('')); peers()
for a in (('', 'm', 1), ('x', '', 1), ('x', 'm', 0), ('siteB', 'm1', 1), ('renamed', 'm1', 1), ('siteE', 'm1', 1), ('siteD', 'm9', 1), ('brandnew', 'm10', 1), ('brandnew', 'mOther', 1), ('renamed', 'm8', 1)): rbd(O, 'mirror_peer_ping', s(a[0]), s(a[1]), u8(a[2])); 
_, out = rbd(O, 'mirror_peer_list')
for u in ('u1', 'u2', 'u4', 'u5', 'u1'): rbd(O, 'mirror_peer_remove', s(u))
O = 'rm2'; rbd(O, 'mirror_uuid_set', s('pu')); mode(2); rbd(O, 'mirror_peer_add', peer()); mode(0); rbd(O, 'mirror_peer_remove', s('u1')); mode(0); dump(O); mode(0)
# images
def img(g='gid1', st=1, mode=0, v=2): return ver(v, 1, s(g) + u8(st) + (u8(mode) if v > 1 else b''))
def ilist(o):
    for st, n in (('', 1024), ('', 1), ('', 0), ('i1', 4), ('zz', 4)): rbd(o, 'mirror_image_list', s(st), u64(n)); rbd(o, 'mirror_image_status_list', s(st), u64(n)); rbd(o, 'mirror_image_instance_list', s(st), u64(n))
I = 'rmi'
ilist(I); rbd(I, 'mirror_image_get', s('i1')); rbd(I, 'mirror_image_remove', s('i1')); rbd(I, 'mirror_image_get_image_id', s('gid1')); rbd(I, 'mirror_image_set', s('i1'), img(st=0)); dump(I)
for i, m in (('i1', img()), ('i1', img('gid2')), ('i2', img()), ('i2', img('gid2', 0)), ('i2', img('gid2', 2, 1)), ('i3', img('gid3', 3, 1)), ('i4', img('gid4', v=1)), ('i1', img(st=1, mode=1)), ('i5', img('gid5', 9, 9)), ('', img('', 1)), ('i6', img('', 1))): rbd(I, 'mirror_image_set', s(i), m)
ilist(I); dump(I)
for i in ('i1', 'i4', 'i9', ''): rbd(I, 'mirror_image_get', s(i))
for g in ('gid1', 'gid9', ''): rbd(I, 'mirror_image_get_image_id', s(g))
# statuses
def stat(state=4, desc='d', uuid='', up=1, v=None):
    v = v or (2 if uuid else 1)
    return ver(v, v, (s(uuid) if v >= 2 else b'') + u8(state) + s(desc) + u32(3) + u32(4) + u8(up))
def summ(o):
    rbd(o, 'mirror_image_status_get_summary')
    for ps in ([], [peer(d=0)], [peer(d=1, mu='m1')], [peer(d=2, mu='m1')], [peer(d=0), peer('u2', d=1, mu='m2')], [peer(v=1)]): rbd(o, 'mirror_image_status_get_summary', lst(ps))
def stats(o):
    for g in ('gid1', 'gid2', 'gid3', 'gid9'): rbd(o, 'mirror_image_status_get', s(g)); rbd(o, 'mirror_image_instance_get', s(g))
    summ(o); ilist(o)
stats('rmnone'); stats(I)
for g, st in (('gid1', stat()), ('gid1', stat(1, 'remote', 'm1')), ('gid1', stat(6, 'remote2', 'm2', 0)), ('gid2', stat(2)), ('gid3', stat(3, 'only remote', 'm1')), ('gid9', stat(5)), ('gid9', stat(5, uuid='m1')), ('gid1', stat(77, 'odd', v=2, uuid=''))): rbd(I, 'mirror_image_status_set', s(g), st)
stats(I); dump(I); watch(I); stats(I); rbd(I, 'mirror_image_status_remove_down'); stats(I)
for g, st in (('gid1', stat(4)), ('gid1', stat(1, uuid='m1')), ('gid1', stat(3, uuid='m2'))): rbd(I, 'mirror_image_status_set', s(g), st); summ(I)
rbd(I, 'mirror_image_status_set', s('gid1'), stat(4, uuid='m1')); summ(I); unwatch(I); stats(I); rbd(I, 'mirror_image_status_remove', s('gid3')); rbd(I, 'mirror_image_status_remove', s('nothere')); rbd('rmnone', 'mirror_image_status_remove', s('nothere')); dump(I)
rbd(I, 'mirror_image_remove', s('i1')); rbd(I, 'mirror_image_set', s('i1'), img(st=0)); rbd(I, 'mirror_image_remove', s('i1')); rbd(I, 'mirror_image_remove', s('i1')); dump(I); rbd(I, 'mirror_image_status_remove_down'); rbd('rmnone', 'mirror_image_status_remove_down'); stats(I); dump(I)
for i in range(70): rbd('rmi2', 'mirror_image_set', s('im%02d' % i), img('g%02d' % i, 1))
ilist('rmi2'); rbd('rmi2', 'mirror_image_list', s(''), u64(65)); summ('rmi2')
# instances, image map
def insts(): rbd('rml', 'mirror_instances_list')
insts(); rbd('rml', 'mirror_instances_remove', s('x')); rbd('rml', 'mirror_instances_add', s('x')); rbd('rml', 'mirror_instances_add', s('x')); rbd('rml', 'mirror_instances_add', s('')); rbd('rml', 'mirror_instances_add', s('ab')); insts(); rbd('rml', 'mirror_instances_remove', s('x')); rbd('rml', 'mirror_instances_remove', s('x')); insts(); dump('rml')
def imap(i='inst', d='data'): return ver(1, 1, s(i) + u32(5) + u32(6) + s(d))
def maps():
    for st, n in (('', 1024), ('', 1), ('', 0), ('g1', 5)): rbd('rmm', 'mirror_image_map_list', s(st), u64(n))
maps(); rbd('rmm', 'mirror_image_map_remove', s('g1')); dump('rmm'); rbd('rmm', 'mirror_image_map_update', s('g1'), imap()); rbd('rmm', 'mirror_image_map_update', s('g1'), imap('two')); rbd('rmm', 'mirror_image_map_update', s('g2'), imap('x', '')); rbd('rmm', 'mirror_image_map_update', s('g3')); maps(); dump('rmm'); rbd('rmm', 'mirror_image_map_remove', s('g1')); rbd('rmm', 'mirror_image_map_remove', s('zz')); maps(); dump('rmm')
# damage
for k in ('mirror_mode', 'mirror_peer_a', 'image_i', 'global_g', 'status_global_g', 'image_map_g'): setomap('rmd', k, b'z')
O = 'rmd'; mode(0); mode(1); peers(); rbd(O, 'mirror_peer_add', peer()); rbd(O, 'mirror_peer_set_client', s('a'), s('b')); rbd(O, 'mirror_peer_set_cluster', s('a'), s('b')); rbd(O, 'mirror_uuid_set', s('b')); ilist(O); rbd(O, 'mirror_image_get', s('i')); rbd(O, 'mirror_image_remove', s('i')); rbd(O, 'mirror_image_set', s('i'), img()); rbd(O, 'mirror_image_get_image_id', s('g')); rbd(O, 'mirror_image_set', s('n'), img('g')); rbd(O, 'mirror_image_status_get', s('g')); rbd(O, 'mirror_image_status_remove_down'); rbd(O, 'mirror_image_instance_get', s('g')); summ(O); rbd(O, 'mirror_image_map_list', s(''), u64(4))
