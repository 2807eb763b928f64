// What a module asks of the host that it cannot do itself: undoing content codings (ABI 1.1). One thing is asked at a time, and the module stops as if a
// lane were full until it is answered.
//
//   module                                host
//   lendAsk(codings, at, length, limit)
//   Status.FULL                     ->    oisp_need() is the address of what is asked
//                                   <-    oisp_lend(n): room for the answer
//                                   <-    oisp_lent(n, how): it is there
//   lendState() == Lend.GIVEN       <-    oisp_resume()
//   lendEnd()

export namespace Lend {
  export const NONE: u32 = 0;
  export const ASKED: u32 = 1;
  export const GIVEN: u32 = 2;
}

/** How an answer is: of oisp_lent. */
export namespace Lent {
  export const WHOLE: i32 = 0;
  /** There was more than the limit. */
  export const LIMIT: i32 = 1;
  /** The coded bytes end before their end. */
  export const SHORT: i32 = 2;
  /** They are not what the coding says; what came before the fault is there. */
  export const BAD: i32 = 3;
}

/** u32 codings, address, length, limit. */
const need: usize = memory.data(16);
let state: u32 = Lend.NONE;
let whose: usize = 0;

/** The answer. */
export let lentAt: usize = 0;
export let lentLength: usize = 0;
export let lentHow: i32 = 0;

/**
 * Asks for bytes to be decoded. @param owner tells who asked @param codings four bits each, the one to undo first lowest (enum Coding)
 * @param limit most bytes that are wanted back
 */
export function lendAsk(owner: usize, codings: u32, at: usize, length: usize, limit: usize): void {
  if (lentAt) heap.free(lentAt);
  lentAt = 0;
  whose = owner;
  state = Lend.ASKED;
  store<u32>(need, codings);
  store<u32>(need, <u32>at, 4);
  store<u32>(need, <u32>length, 8);
  store<u32>(need, <u32>limit, 12);
}

/** Where what this owner asked for is. */
export function lendState(owner: usize): u32 {
  return whose == owner ? state : Lend.NONE;
}

/** The answer was used; or what was asked is not wanted any more. */
export function lendEnd(owner: usize): void {
  if (whose != owner) return;
  if (lentAt) heap.free(lentAt);
  lentAt = 0;
  lentLength = 0;
  whose = 0;
  state = Lend.NONE;
}

export function oisp_need(): usize {
  return state == Lend.ASKED ? need : 0;
}

export function oisp_lend(length: i32): usize {
  if (state != Lend.ASKED || length < 0 || <u32>length > load<u32>(need, 12)) return 0;
  if (lentAt) heap.free(lentAt);
  lentAt = heap.alloc(<usize>length + 16);
  lentLength = <usize>length;
  return lentAt;
}

export function oisp_lent(length: i32, how: i32): i32 {
  if (state != Lend.ASKED || length < 0 || <usize>length > lentLength) return -1;
  lentLength = <usize>length;
  lentHow = how;
  state = Lend.GIVEN;
  return 0;
}
