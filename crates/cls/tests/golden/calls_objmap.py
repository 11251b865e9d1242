# object maps: raw bytes with crcs
def om(o, m, *a): r = rbd(o, m, *a); dump(o); return r
for m in ('object_map_load', 'object_map_snap_add'): rbd('om', m)
rbd('om', 'object_map_update', u64(0), u64(1), u8(1), u8(0)); create('om'); rbd('om', 'object_map_load'); rbd('om', 'object_map_snap_add'); rbd('om', 'object_map_update', u64(0), u64(1), u8(1), u8(0))
for n in (0, 1, 4, 5, 10, 4, 300): om('om', 'object_map_resize', u64(n), u8(0))
def upd(a, b, new, old=None, o='om'): om(o, 'object_map_update', u64(a), u64(b), u8(new), u8(0) if old is None else u8(1) + u8(old))
upd(3, 9, 1); upd(3, 9, 1); upd(0, 4, 3, 0); upd(0, 300, 2, 1); upd(5, 5, 1); upd(6, 5, 1); upd(0, 301, 1); upd(299, 300, 1); upd(0, 1, 5); upd(1, 2, 7, 3); upd(2, 3, 4, 9)
om('om', 'object_map_resize', u64(299), u8(0)); om('om', 'object_map_resize', u64(299), u8(1)); om('om', 'object_map_resize', u64(301), u8(1)); om('om', 'object_map_resize', u64(299), u8(0)); om('om', 'object_map_resize', u64(299), u8(1)); om('om', 'object_map_resize', u64(300), u8(6)); om('om', 'object_map_resize', u64(256000001), u8(0)); om('om', 'object_map_resize', u64(NONE), u8(0)); om('om', 'object_map_resize', u64(5))
rbd('om', 'object_map_load'); om('om', 'object_map_snap_add'); om('om', 'object_map_snap_add'); upd(10, 20, 1)
_, loaded = rbd('om', 'object_map_load'); om('om', 'object_map_snap_remove', loaded); om('om', 'object_map_snap_remove', loaded)
om('om2', 'object_map_save', loaded); rbd('om2', 'object_map_load'); om('om2', 'object_map_save', loaded[:-1]); om('om2', 'object_map_save', b''); om('om2', 'object_map_save', loaded + b'tail')
om('om2', 'object_map_resize', u64(60000), u8(1)); rbd('om2', 'object_map_load'); upd(16380, 16390, 0, o='om2'); upd(59999, 60000, 2, o='om2'); upd(32768, 32769, 3, o='om2'); om('om2', 'object_map_snap_add')
# a short vector for the snapshot, and for the head
om('om3', 'object_map_resize', u64(8), u8(3)); om('om4', 'object_map_resize', u64(3), u8(1)); _, short = rbd('om4', 'object_map_load'); om('om3', 'object_map_snap_remove', short)
om('om4', 'object_map_snap_remove', rbd('om3', 'object_map_load')[1]); om('om5', 'object_map_snap_remove', short); om('om4', 'object_map_snap_remove', b'x')
# damage: header, data, footer, cut off
raw = io.read('om3', 4096)
for i in range(0, len(raw)):
    for bit in (1,):
        d = bytearray(raw); d[i] ^= bit
        if i == 3 or (i in (13, 14, 15, 16, 17) ) or (i == 24): continue    # lengths of gigabytes
        write('omd', bytes(d)); rbd('omd', 'object_map_load'); rbd('omd', 'object_map_update', u64(0), u64(2), u8(2), u8(0)); rbd('omd', 'object_map_snap_add'); rbd('omd', 'object_map_resize', u64(9), u8(0)); rbd('omd', 'object_map_save', bytes(d))
# (stock's update of a map without data, 18 bytes, pretends to work: not recorded)
for n in [*range(0, 18), *range(20, len(raw))]:
    write('omd', raw[:n]); rbd('omd', 'object_map_load'); rbd('omd', 'object_map_update', u64(0), u64(2), u8(2), u8(0)); dump('omd')
write('omd', raw + b'more'); rbd('omd', 'object_map_load'); om('omd', 'object_map_update', u64(0), u64(2), u8(2), u8(0)); om('omd', 'object_map_snap_add')
# without crcs, as librbd sends it
nocrc = rbd('om3', 'object_map_load')[1]; write('omn', nocrc); rbd('omn', 'object_map_load'); om('omn', 'object_map_update', u64(0), u64(2), u8(2), u8(0)); rbd('omn', 'object_map_load'); om('omn', 'object_map_snap_add'); om('omn', 'object_map_resize', u64(9), u8(0))
