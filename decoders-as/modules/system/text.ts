// Texts of process records: paths that the kernel walked from leaf to root, and NUL-separated arguments. Allocates nothing after start.
import { eventsOut } from '../../abi/module';
import { COMM_LEN, PATH_AREA } from '../../abi/records';

/** A path put together from its components; three exist at once at most. */
@unmanaged
export class PathText {
  static cutCount: u64 = 0;
  at: usize = 0;
  length: usize = 0;

  /** Writes the path, or nil when the kernel could read none of it. */
  out(): void {
    if (this.length) eventsOut.str(this.at, this.length);
    else eventsOut.nil();
  }

  /** Is the last component the name of a shell? */
  isShell(): bool {
    let start = this.length;
    while (start > 0 && load<u8>(this.at + start - 1) != 0x2f) start--;
    const length = this.length - start;
    const from = this.at + start;
    return (
      same(from, length, 'sh') ||
      same(from, length, 'bash') ||
      same(from, length, 'dash') ||
      same(from, length, 'zsh') ||
      same(from, length, 'fish') ||
      same(from, length, 'ksh') ||
      same(from, length, 'ash') ||
      same(from, length, 'tcsh')
    );
  }
}

/** Room for a path of PATH_AREA bytes and the three dots of a cut one. */
const SLOT: usize = <usize>PATH_AREA + 8;
const slots: usize = heap.alloc(3 * SLOT);
const texts: StaticArray<PathText> = [new PathText(), new PathText(), new PathText()];
let next: i32 = 0;

/** @param length bytes of components, leaf first, each ended by a NUL; `cut` when the ones nearest the root are missing. */
export function pathOf(from: usize, length: u32, cut: u32): PathText {
  const text = texts[next];
  text.at = slots + <usize>next * SLOT;
  next = (next + 1) % 3;
  text.length = 0;
  length = min(length, PATH_AREA);
  if (cut) {
    PathText.cutCount++;
    if (length) put(text, '...');
  } else if (length == 0) return text;
  let end = length;
  while (end > 0) {
    // [start, end) is the component nearest the root that is left, its NUL at end - 1.
    let start = end - 1;
    while (start > 0 && load<u8>(from + start - 1) != 0) start--;
    const size = end - 1 - start;
    // The root itself is an empty component or a single slash.
    if (size && !(size == 1 && load<u8>(from + start) == 0x2f)) {
      store<u8>(text.at + text.length++, 0x2f);
      memory.copy(text.at + text.length, from + start, size);
      text.length += size;
    }
    end = start;
  }
  if (text.length == 0) put(text, '/');
  return text;
}

function put(text: PathText, ascii: string): void {
  for (let i = 0; i < ascii.length; i++) store<u8>(text.at + text.length++, <u8>ascii.charCodeAt(i));
}

function same(at: usize, length: usize, ascii: string): bool {
  if (length != <usize>ascii.length) return false;
  for (let i = 0; i < ascii.length; i++) if (load<u8>(at + i) != <u8>ascii.charCodeAt(i)) return false;
  return true;
}

/** Writes NUL-separated arguments as an array of texts; a last one without its NUL (cut by the limit) counts. */
export function argsOut(from: usize, length: u32): void {
  const opened = eventsOut.openArray();
  let count: u32 = 0;
  let start: u32 = 0;
  while (start < length) {
    let end = start;
    while (end < length && load<u8>(from + end) != 0) end++;
    eventsOut.str(from + start, end - start);
    count++;
    start = end + 1;
  }
  eventsOut.close(opened, count);
}

/** Length of a thread name. */
export function commLength(at: usize): usize {
  let length: usize = 0;
  while (length < COMM_LEN && load<u8>(at + length) != 0) length++;
  return length;
}
