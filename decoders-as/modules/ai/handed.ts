// What the ai module hands over besides claims: the tags of its states, and records of plain numbers.
import { Handed } from '../../abi/handover';
import { recordsOut } from '../../abi/module';

export namespace Tag {
  /** Key of a tool result that was told. */
  export const RESULT: u32 = Handed.OWN;
  /** Key of a connection, exchanges in a row that were of no model, whether any was. */
  export const WATCHED: u32 = Handed.OWN + 1;
  /** Key of a pipe, offset of its next byte, whether its line is torn, messages told, key of the pipe of its requests. */
  export const PIPE: u32 = Handed.OWN + 2;
  /** Key of a pipe, more of the line that is not over. */
  export const LINE: u32 = Handed.OWN + 3;
  /** Key, id, pipe, ts, call, origin, name: a request without its response. */
  export const PENDING: u32 = Handed.OWN + 4;
}

/** False: no room in the lane; nothing is written. */
export function giveNumbers(tag: u32, a: u64, b: u64 = 0, c: u64 = 0): bool {
  const mark = recordsOut.begin();
  recordsOut.array(4);
  recordsOut.uint(tag);
  recordsOut.uint(a);
  recordsOut.uint(b);
  recordsOut.uint(c);
  return recordsOut.commit(mark);
}
