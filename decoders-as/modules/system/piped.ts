// Counts payload that came through pipes, for the ledger of bytes: the ai module reads it, and what is no JSON-RPC counts all the same. It looks into none.
import { setError, Status } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { TlsData } from '../../abi/records';

export namespace Piped {
  export let bytes: u64 = 0;
  export let records: u64 = 0;
}

export function countPiped(at: usize, end: usize): i32 {
  Reader.open(at, end);
  const record = Reader.bin();
  if (Reader.failed || Reader.length < TlsData.SIZE) {
    setError('a payload record without its fixed part');
    return Status.BAD;
  }
  Piped.bytes += TlsData.len(record);
  Piped.records++;
  return Status.DONE;
}
