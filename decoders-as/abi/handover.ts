// Handing over what a module keeps to the one that takes its place (ABI 1.2): the old one gives what is between two messages and keeps what is in the
// middle of one, by claims; it decodes nothing but what it claims, and the new one nothing that is claimed.
//
//   old                                     host                           new
//   oisp_give(schema of it, 0)        <-    swap
//   [CLAIM, key], states              ->    lane 0, as it is       ->      oisp_take(len)
//   oisp_process(len)                 <-    each later batch       ->      oisp_process(len)
//   oisp_give(schema, 0)              <-    after it
//   [RELEASE, key], states            ->    lane 0, as it is       ->      oisp_take(len)
//   oisp_held() == 0                        the old one is dropped
//
// A module calls defineHandover() beside defineModule(), exports the four functions, asks `Claims.has(key)` of whatever it would begin anew, and begins
// nothing while `giving`.
import { KeySet } from '../lib/key-set';
import { beginCall, inBuffer, setError, Status, recordsOut } from './module';
import { Reader } from './reader';

/** What a record of the hand-over is; a module's own begin at OWN. */
export namespace Handed {
  export const CLAIM: u32 = 0;
  export const RELEASE: u32 = 1;
  /** Of the host: whoever held something is gone. */
  export const RELEASE_ALL: u32 = 2;
  export const OWN: u32 = 16;
}

const LIMIT: u32 = 1 << 16;

/** Keys that another instance holds. */
export namespace Claims {
  const set = new KeySet(LIMIT);

  export function has(key: u64): bool {
    return set.count > 0 && set.has(key);
  }

  /** False: there are too many. */
  export function add(key: u64): bool {
    return set.add(key);
  }

  export function remove(key: u64): void {
    set.remove(key);
    if (set.count == 0) set.clear();
  }

  export function clear(): void {
    set.clear();
  }

  export function places(): u32 {
    return set.places;
  }

  /** The key in a place, 0: none. */
  export function at(place: u32): u64 {
    return set.at(place);
  }
}

/**
 * Gives what can be given. @param whole the taker understands states; else there are claims only @param again all claims are to be said once more
 * Status.FULL: to be called again.
 */
type GiveHook = (whole: bool, again: bool) => i32;
type TakeHook = (tag: u32, at: usize, end: usize) => i32;
type HeldHook = () => u32;

let schema: u32 = 0;
let giveHook: GiveHook = (_whole: bool, _again: bool): i32 => Status.BAD;
let takeHook: TakeHook = (_tag: u32, _at: usize, _end: usize): i32 => Status.DONE;
let heldHook: HeldHook = (): u32 => 0;
/** This instance's place was taken: it begins nothing any more. */
export let giving: bool = false;

/**
 * @param major of the states; they go only to an instance of the same major. @param minor arity of a state only grows: newer elements are passed over
 */
export function defineHandover(major: u32, minor: u32, onGive: GiveHook, onTake: TakeHook, onHeld: HeldHook): void {
  schema = (major << 16) | minor;
  giveHook = onGive;
  takeHook = onTake;
  heldHook = onHeld;
}

/** [CLAIM or RELEASE, key]. False: no room in the lane; nothing is written. */
export function writeClaim(tag: u32, key: u64): bool {
  const mark = recordsOut.begin();
  recordsOut.array(2);
  recordsOut.uint(tag);
  recordsOut.uint(key);
  return recordsOut.commit(mark);
}

/** Places of Claims that are passed on. */
let passed: u32 = 0;

/** Claims of a third instance, which this one kept out of, are passed on. */
function passClaims(): i32 {
  for (; passed < Claims.places(); passed++) {
    const key = Claims.at(passed);
    if (key && !writeClaim(Handed.CLAIM, key)) return Status.FULL;
  }
  Claims.clear();
  passed = 0;
  return Status.DONE;
}

export function oisp_state_schema(): i32 {
  return <i32>schema;
}

export function oisp_give(taker: i32, again: i32): i32 {
  beginCall();
  giving = true;
  if (passClaims() == Status.FULL) return 1;
  const status = giveHook(<u32>taker >> 16 == schema >> 16, again != 0);
  return status == Status.FULL ? 1 : status == Status.DONE ? 0 : -1;
}

export function oisp_take(length: i32): i32 {
  beginCall();
  const start = inBuffer(length);
  if (start == 0) return -1;
  const end = start + <usize>length;
  for (let at = start; at < end; ) {
    // A claim, as the Writer writes it: there may be one for each connection.
    if (load<u16>(at) == 0x0092) {
      Reader.open(at + 2, end);
      const key = Reader.uint();
      if (!Reader.failed && Claims.add(key)) {
        at = Reader.at;
        continue;
      }
    }
    Reader.open(at, end);
    Reader.skip();
    const next = Reader.at;
    const whole = !Reader.failed;
    Reader.open(at, end);
    Reader.array();
    const tag = <u32>Reader.uint();
    if (!whole || Reader.failed || !takeOne(tag, Reader.at, next)) {
      setError('not a state that can be taken, at byte ', at - start);
      return -1;
    }
    at = next;
  }
  return 0;
}

function takeOne(tag: u32, at: usize, end: usize): bool {
  if (tag >= Handed.OWN) return takeHook(tag, at, end) == Status.DONE;
  if (tag == Handed.RELEASE_ALL) Claims.clear();
  if (tag > Handed.RELEASE) return true;
  const key = Reader.uint();
  if (Reader.failed) return false;
  if (tag == Handed.CLAIM) return Claims.add(key);
  Claims.remove(key);
  return true;
}

export function oisp_held(): i32 {
  return <i32>heldHook();
}
