// Texts of process records: paths that the kernel walked from leaf to root, and NUL-separated arguments. Allocates nothing after start.
import { eventsOut } from '../../abi/module';
import { COMM_LEN, PATH_AREA } from '../../abi/records';

/** A path put together from its components; four exist at once at most. */
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

  /** Writes the last component. */
  nameOut(): void {
    const length = this.nameLength();
    eventsOut.str(this.at + this.length - length, length);
  }

  /** Bytes at the end of the name behind its last dot; 0: it has no extension. */
  extension(): usize {
    let start = this.length;
    while (start > 0 && load<u8>(this.at + start - 1) != 0x2e) {
      if (load<u8>(this.at + start - 1) == 0x2f) return 0;
      start--;
    }
    // A dot that a name begins with hides it, no more.
    return start > 1 && load<u8>(this.at + start - 2) != 0x2f ? this.length - start : 0;
  }

  /** Is the last component the name of a shell? */
  isShell(): bool {
    return (
      this.nameIs('sh') ||
      this.nameIs('bash') ||
      this.nameIs('dash') ||
      this.nameIs('zsh') ||
      this.nameIs('fish') ||
      this.nameIs('ksh') ||
      this.nameIs('ash') ||
      this.nameIs('tcsh')
    );
  }

  /** Is this, of ASCII characters, the last component? */
  nameIs(ascii: string): bool {
    return this.nameLength() == <usize>ascii.length && this.nameStarts(ascii);
  }

  /** Does the last component begin with this? */
  nameStarts(ascii: string): bool {
    const length = this.nameLength();
    return length >= <usize>ascii.length && same(this.at + this.length - length, ascii.length, ascii);
  }

  private nameLength(): usize {
    let start = this.length;
    while (start > 0 && load<u8>(this.at + start - 1) != 0x2f) start--;
    return this.length - start;
  }
}

/** Room for a path of PATH_AREA bytes, the three dots of a cut one, and a name of PATH_AREA bytes behind it. */
const SLOT: usize = 2 * <usize>PATH_AREA + 16;
const SLOTS: i32 = 4;
const slots: usize = heap.alloc(<usize>SLOTS * SLOT);
const texts: StaticArray<PathText> = [new PathText(), new PathText(), new PathText(), new PathText()];
let next: i32 = 0;

/** @param length bytes of components, leaf first, each ended by a NUL; `cut` when the ones nearest the root are missing. */
export function pathOf(from: usize, length: u32, cut: u32): PathText {
  const text = texts[next];
  text.at = slots + <usize>next * SLOT;
  next = (next + 1) % SLOTS;
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

/**
 * Puts a name behind its folder as the kernel would have walked it, but for symbolic links: `.` and empty components go, `..` takes one away.
 * The folder's text becomes the result's. @param length 0: the folder itself, as far as it is known.
 */
export function resolveName(folder: PathText, name: usize, length: u32): PathText {
  length = min(length, PATH_AREA);
  if (length && load<u8>(name) == 0x2f) folder.length = 0;
  // The root is told as a slash, which every component brings along.
  if (folder.length == 1) folder.length = 0;
  let start: usize = 0;
  while (start < length) {
    let end = start;
    while (end < length && load<u8>(name + end) != 0x2f) end++;
    const size = end - start;
    if (size == 2 && load<u16>(name + start) == 0x2e2e) {
      while (folder.length > 0 && load<u8>(folder.at + --folder.length) != 0x2f) {}
    } else if (size && !(size == 1 && load<u8>(name + start) == 0x2e)) {
      store<u8>(folder.at + folder.length++, 0x2f);
      memory.copy(folder.at + folder.length, name + start, size);
      folder.length += size;
    }
    start = end + 1;
  }
  if (folder.length == 0) put(folder, '/');
  return folder;
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
