// Counts payload that no decoder takes: JSON-RPC through pipes is captured, and until a module reads it the ledger says how much there was. It looks into none.
import { setError, Status } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { TlsData } from '../../abi/records';

export namespace Undecoded {
  export let bytes: u64 = 0;
  export let records: u64 = 0;
}

export function countUndecoded(at: usize, end: usize): i32 {
  Reader.open(at, end);
  const record = Reader.bin();
  if (Reader.failed || Reader.length < TlsData.SIZE) {
    setError('a payload record without its fixed part');
    return Status.BAD;
  }
  Undecoded.bytes += TlsData.len(record);
  Undecoded.records++;
  return Status.DONE;
}
