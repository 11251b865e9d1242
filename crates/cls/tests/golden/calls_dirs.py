# directory, trash, namespaces
def names(o, m='dir_list'):
    for st, n in (('', 1024), ('', 1), ('', 0), ('a', 5), ('zzz', 5), ('b', NONE)): rbd(o, m, s(st), u64(n))
names('D'); rbd('D', 'dir_get_id', s('a')); rbd('D', 'dir_get_name', s('i1')); rbd('D', 'dir_remove_image', s('a'), s('i1')); rbd('D', 'dir_rename_image', s('a'), s('b'), s('i1')); rbd('D', 'dir_state_assert', u8(0)); rbd('D', 'dir_state_set', u8(1)); rbd('D', 'dir_state_set', u8(9)); dump('D')
rbd('D', 'dir_add_image', s(''), s('i1')); rbd('D', 'dir_add_image', s('a'), s('')); rbd('D', 'dir_add_image', s('a'), s('i-1')); dump('D')
rbd('D', 'dir_add_image', s('a'), s('i1')); rbd('D', 'dir_add_image', s('a'), s('i2')); rbd('D', 'dir_add_image', s('b'), s('i1')); rbd('D', 'dir_add_image', s('b'), s('i2')); rbd('D', 'dir_add_image', s('name with space/@'), s('i3')); rbd('D', 'dir_add_image', s('\u00e9'), s('i4')); names('D')
for k in ('a', 'b', 'q', '', 'i1'): rbd('D', 'dir_get_id', s(k)); rbd('D', 'dir_get_name', s(k))
dump('D'); rbd('D', 'dir_rename_image', s('a'), s('b'), s('i1')); rbd('D', 'dir_rename_image', s('a'), s('c'), s('i2')); rbd('D', 'dir_rename_image', s('a'), s('c'), s('i9')); rbd('D', 'dir_rename_image', s('a'), s('a'), s('i1')); rbd('D', 'dir_rename_image', s('a'), s(''), s('i1')); rbd('D', 'dir_rename_image', s('a'), s('c'), s('i1')); rbd('D', 'dir_rename_image', s('q'), s('r'), s('i1')); dump('D')
rbd('D', 'dir_remove_image', s('c'), s('i2')); rbd('D', 'dir_remove_image', s('a'), s('i1')); rbd('D', 'dir_remove_image', s('c'), s('i9')); rbd('D', 'dir_state_set', u8(1)); rbd('D', 'dir_remove_image', s('c'), s('i1')); rbd('D', 'dir_remove_image', s('c'), s('i1')); names('D'); dump('D')
for i in range(70): rbd('D2', 'dir_add_image', s('n%02d' % i), s('id%d' % i))
names('D2'); rbd('D2', 'dir_list', s(''), u64(65)); rbd('D2', 'dir_list', s('n30'), u64(64))
# states
rbd('DS', 'dir_state_set', u8(0)); dump('DS'); rbd('DS', 'dir_state_assert', u8(0)); rbd('DS', 'dir_state_assert', u8(1)); rbd('DS', 'dir_state_set', u8(1)); dump('DS'); rbd('DS', 'dir_state_assert', u8(1)); rbd('DS', 'dir_state_assert', u8(0)); rbd('DS', 'dir_add_image', s('a'), s('i1')); rbd('DS', 'dir_state_set', u8(1)); rbd('DS', 'dir_state_set', u8(0)); dump('DS'); rbd('DS', 'dir_add_image', s('a'), s('i1')); rbd('DS', 'dir_state_set', u8(1)); rbd('DS', 'dir_state_set', u8(2)); rbd('DS', 'dir_state_assert', u8(0)); dump('DS')
rbd('DS2', 'dir_state_set', u8(0)); setomap('DS2', 'id_x', s('x')); rbd('DS2', 'dir_state_set', u8(1)); create('DS3'); rbd('DS3', 'dir_state_assert', u8(0)); rbd('DS3', 'dir_state_set', u8(1)); dump('DS3')
setomap('Dd', 'name_x', b'z'); setomap('Dd', 'id_i', b''); setomap('Dd', 'state', b''); names('Dd'); rbd('Dd', 'dir_get_id', s('x')); rbd('Dd', 'dir_get_name', s('i')); rbd('Dd', 'dir_add_image', s('x'), s('i1')); rbd('Dd', 'dir_add_image', s('y'), s('i')); rbd('Dd', 'dir_remove_image', s('x'), s('i')); rbd('Dd', 'dir_state_assert', u8(0)); rbd('Dd', 'dir_state_set', u8(0))
# trash
def tspec(name='n', state=0, v=2, src=0): return ver(v, 1, u8(src) + s(name) + u32(5) + u32(6) + u32(7) + u32(8) + (u8(state) if v > 1 else b''))
names('T', 'trash_list'); rbd('T', 'trash_get', s('i')); rbd('T', 'trash_remove', s('i')); rbd('T', 'trash_state_set', s('i'), u8(1), u8(0)); dump('T')
rbd('T', 'trash_add', s(''), tspec()); rbd('T', 'trash_add', s('a-b'), tspec()); rbd('T', 'trash_add', s('i1'), tspec()); rbd('T', 'trash_add', s('i1'), tspec()); rbd('T', 'trash_add', s('i2'), tspec('old', v=1)); rbd('T', 'trash_add', s('i3'), tspec('z', 3, src=9)); rbd('T', 'trash_add', s('i4')); names('T', 'trash_list'); rbd('T', 'trash_list', s('i1'), u64(9))
for k in ('i1', 'i2', 'i3', 'i9'): rbd('T', 'trash_get', s(k))
for a, b in ((1, 0), (1, 0), (2, 0), (2, 1), (9, 2)): rbd('T', 'trash_state_set', s('i1'), u8(a), u8(b)); rbd('T', 'trash_get', s('i1'))
dump('T'); rbd('T', 'trash_remove', s('i1')); rbd('T', 'trash_remove', s('i1')); dump('T')
for i in range(70): rbd('T2', 'trash_add', s('t%02d' % i), tspec('x%d' % i))
names('T2', 'trash_list'); rbd('T2', 'trash_list', s('t30'), u64(64))
setomap('Td', 'id_x', b'zz'); rbd('Td', 'trash_get', s('x')); rbd('Td', 'trash_remove', s('x')); setomap('Td', 'id_x', b'zz'); rbd('Td', 'trash_add', s('x'), tspec()); rbd('Td', 'trash_state_set', s('x'), u8(1), u8(0))
# namespaces
names('NS', 'namespace_list'); rbd('NS', 'namespace_remove', s('x')); dump('NS'); rbd('NS', 'namespace_add', s('x')); rbd('NS', 'namespace_add', s('x')); rbd('NS', 'namespace_add', s('')); rbd('NS', 'namespace_add', s('aa')); names('NS', 'namespace_list'); dump('NS'); rbd('NS', 'namespace_remove', s('x')); rbd('NS', 'namespace_remove', s('x')); names('NS', 'namespace_list'); dump('NS')
