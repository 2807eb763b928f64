// Notes of decoders on connections, for tests of what is made of them.
import type { DescribedNote } from '../../host/src/events/raw-event.js';
import { ConnNote, Kind } from '../../host/src/gen/records.js';

/** A plausible first plaintext of process 100, changed by what is given. */
export function note(changes: Partial<DescribedNote> = {}): DescribedNote {
  return {
    what: ConnNote.first_plaintext,
    ts: 1_000_000n,
    tgid: 100,
    startNs: 500n,
    uid: 1000,
    comm: 'program',
    kind: Kind.tls_data,
    bytes: 0,
    conn: '0000000000000001',
    target: 1,
    ssl: 0n,
    generation: 0n,
    detail: {},
    atMs: 1,
    startedMs: 0,
    exe: '/usr/bin/program',
    arg0: 'program',
    container: null,
    ...changes,
  };
}
