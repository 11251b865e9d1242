# every method: no input, and input that is not what it wants, on an absent and on an empty object
import re as _re
METHODS = _re.findall(r'^\s+(?:r|w|wo)\("([a-z_]+)"', open(os.path.join(here, '../../src/rbd/mod.rs')).read(), _re.M)
JMETHODS = 'create get_order get_splay_width get_pool_id get_minimum_set set_minimum_set get_active_set set_active_set get_client client_register client_update_data client_update_state client_unregister client_commit client_list get_next_tag_tid get_tag tag_create tag_list guard_append append'.split()
READS_ONLY = {('rbd', m) for m in _re.findall(r'^\s+r\("([a-z_]+)"', open(os.path.join(here, '../../src/rbd/mod.rs')).read(), _re.M)} | {('journal', m) for m in JMETHODS if m.startswith('get_') or m.endswith('_list')}
create('ge')
for cls_, ms in (('rbd', METHODS), ('journal', JMETHODS)):
    for m in ms:
        for inp in (b'', b'\1\1\xff\0\0\0', b'\x09\x09\1\0\0\0\0', bytes(40)):
            for o in ('ga', 'ge'):
                if o == 'ga' and (cls_, m) in READS_ONLY: continue     # ENOENT before any method runs
                call(o, cls_, m, inp); dump(o, m != 'add_child')
                if o == 'ge' and last[o] == '- - -': continue
                try: io.stat(o)
                except rados.ObjectNotFound:
                    if o == 'ge': create('ge')
                    continue
                remove(o)
                if o == 'ge': create(o)
