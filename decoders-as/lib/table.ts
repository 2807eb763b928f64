// A table of entries by 64-bit key with a list from newest to oldest use: its size is fixed when it is made, and it never owns its entries.
//
// An entry is an unmanaged class that extends Entry; entries are passed as addresses (usize, 0: none) and cast with changetype. When `count` has
// reached `limit`, take `oldest()` out before inserting.
import { mix64 } from './bytes';

@unmanaged
export class Entry {
  key: u64 = 0;
  /** Used more recently; 0: the newest. */
  newer: usize = 0;
  /** Used less recently; 0: the oldest. */
  older: usize = 0;
}

@unmanaged
export class Table {
  count: u32 = 0;
  limit: u32 = 0;
  newest: usize = 0;
  oldest: usize = 0;
  private slots: usize = 0;
  private mask: u32 = 0;

  constructor(limit: u32) {
    this.limit = limit;
    let size: u32 = 8;
    while (size < 2 * limit) size *= 2;
    this.slots = heap.alloc(<usize>size * 4);
    memory.fill(this.slots, 0, <usize>size * 4);
    this.mask = size - 1;
  }

  private slot(index: u32): usize {
    return this.slots + <usize>((index & this.mask) << 2);
  }

  /** The entry of that key, or 0. */
  find(key: u64): usize {
    let index = <u32>mix64(key);
    while (true) {
      const entry = load<u32>(this.slot(index));
      if (entry == 0) return 0;
      if (changetype<Entry>(<usize>entry).key == key) return entry;
      index++;
    }
  }

  /** Puts an entry, whose key is not in the table, in as the newest. False: the table is full. */
  insert(at: usize): bool {
    if (this.count >= this.limit) return false;
    let index = <u32>mix64(changetype<Entry>(at).key);
    while (load<u32>(this.slot(index)) != 0) index++;
    store<u32>(this.slot(index), <u32>at);
    this.count++;
    this.link(at);
    return true;
  }

  /** Takes an entry out; it is the caller's to free. */
  remove(at: usize): void {
    let hole = <u32>mix64(changetype<Entry>(at).key);
    while (load<u32>(this.slot(hole)) != <u32>at) hole++;
    hole &= this.mask;
    // Entries behind the hole that would no longer be found move into it.
    let index = hole;
    while (true) {
      index = (index + 1) & this.mask;
      const entry = load<u32>(this.slot(index));
      if (entry == 0) break;
      const home = <u32>mix64(changetype<Entry>(<usize>entry).key) & this.mask;
      if (((index - home) & this.mask) < ((index - hole) & this.mask)) continue;
      store<u32>(this.slot(hole), entry);
      hole = index;
    }
    store<u32>(this.slot(hole), 0);
    this.count--;
    this.unlink(at);
  }

  /** Makes an entry the newest. */
  touch(at: usize): void {
    if (this.newest == at) return;
    this.unlink(at);
    this.link(at);
  }

  private link(at: usize): void {
    const entry = changetype<Entry>(at);
    entry.newer = 0;
    entry.older = this.newest;
    if (this.newest != 0) changetype<Entry>(this.newest).newer = at;
    else this.oldest = at;
    this.newest = at;
  }

  private unlink(at: usize): void {
    const entry = changetype<Entry>(at);
    if (entry.newer != 0) changetype<Entry>(entry.newer).older = entry.older;
    else this.newest = entry.older;
    if (entry.older != 0) changetype<Entry>(entry.older).newer = entry.newer;
    else this.oldest = entry.newer;
  }
}
