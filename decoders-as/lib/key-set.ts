// A set of 64-bit keys that are hashes already: open addressing, grown as it fills, up to a limit; it keeps no order.

const LEAST: u32 = 1024;

@unmanaged
export class KeySet {
  count: u32 = 0;
  private limit: u32 = 0;
  /** u64 each; 0: free. */
  private slots: usize = 0;
  private mask: u32 = 0;

  constructor(limit: u32) {
    this.limit = limit;
  }

  private slot(index: u32): usize {
    return this.slots + ((<usize>(index & this.mask)) << 3);
  }

  has(key: u64): bool {
    return this.count > 0 && load<u64>(this.slot(this.find(named(key)))) != 0;
  }

  /** False: it is full. */
  add(key: u64): bool {
    if (this.slots == 0 || this.count * 2 > this.mask) this.grow();
    const at = this.slot(this.find(named(key)));
    if (load<u64>(at) != 0) return true;
    if (this.count >= this.limit) return false;
    store<u64>(at, named(key));
    this.count++;
    return true;
  }

  remove(key: u64): void {
    if (this.count == 0) return;
    let hole = this.find(named(key)) & this.mask;
    if (load<u64>(this.slot(hole)) == 0) return;
    this.count--;
    // Keys behind the hole that would no longer be found move into it.
    for (let index = (hole + 1) & this.mask; load<u64>(this.slot(index)) != 0; index = (index + 1) & this.mask) {
      const moved = load<u64>(this.slot(index));
      const home = <u32>moved & this.mask;
      if (((index - home) & this.mask) < ((index - hole) & this.mask)) continue;
      store<u64>(this.slot(hole), moved);
      hole = index;
    }
    store<u64>(this.slot(hole), 0);
  }

  /** Places, for at(). */
  get places(): u32 {
    return this.slots ? this.mask + 1 : 0;
  }

  /** The key in a place, 0: none. */
  at(place: u32): u64 {
    return load<u64>(this.slot(place));
  }

  /** Empties it and gives its memory back. */
  clear(): void {
    if (this.slots) heap.free(this.slots);
    this.slots = 0;
    this.mask = 0;
    this.count = 0;
  }

  /** The slot of a key, or the free one where it would be. */
  private find(key: u64): u32 {
    let index = <u32>key;
    for (let held = load<u64>(this.slot(index)); held != 0 && held != key; held = load<u64>(this.slot(index))) index++;
    return index;
  }

  private grow(): void {
    const before = this.slots;
    const slots = before ? this.mask + 1 : 0;
    const size = before ? slots * 4 : LEAST;
    this.slots = heap.alloc((<usize>size) << 3);
    memory.fill(this.slots, 0, (<usize>size) << 3);
    this.mask = size - 1;
    for (let i: u32 = 0; i < slots; i++) {
      const key = load<u64>(before + ((<usize>i) << 3));
      if (key) store<u64>(this.slot(this.find(key)), key);
    }
    if (before) heap.free(before);
  }
}

/** No key is 0. */
function named(key: u64): u64 {
  return key == 0 ? 1 : key;
}
