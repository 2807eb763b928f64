// Finds the script that an interpreter was started with in its arguments, as far as they tell; it looks at no file.
import { PathText } from './text';

/** A script in the arguments: where its name is. */
export namespace Script {
  /** 0: there is none. */
  export let at: usize = 0;
  export let length: usize = 0;
}

/** Families of interpreters, by how their options are written. */
namespace Family {
  export const NONE: i32 = 0;
  export const SHELL: i32 = 1;
  export const PYTHON: i32 = 2;
  export const NODE: i32 = 3;
  /** perl and ruby. */
  export const PERL: i32 = 4;
}

/** By family: letters of options after which no script comes, since the program is in the arguments or on standard input... */
const NO_SCRIPT: StaticArray<string> = ['', 'cs', 'cmhV', 'epivh', 'eEvVh'];
/** ...and of those that take the next argument when they are the last of theirs. */
const TAKES_NEXT: StaticArray<string> = ['', 'oO', 'WX', 'rC', 'Ir'];

/** Long options of Node that take the next argument. */
const NODE_TAKES_NEXT: StaticArray<string> = ['--require', '--import', '--loader', '--experimental-loader', '--conditions', '--env-file', '--inspect-port'];
const NODE_NO_SCRIPT: StaticArray<string> = ['--eval', '--print', '--interactive', '--test', '--version', '--help', '--run'];
const SHELL_TAKES_NEXT: StaticArray<string> = ['--rcfile', '--init-file'];

/**
 * Sets Script.
 * @param exe the program that runs
 * @param at its arguments, each ended by a NUL but perhaps the last
 */
export function findScript(exe: PathText, at: usize, length: usize): void {
  Script.at = 0;
  Script.length = 0;
  const family = familyOf(exe);
  if (family == Family.NONE) return;
  const end = at + length;
  // The first argument is the program's own name.
  let from = next(at, end);
  while (from < end) {
    const size = textEnd(from, end) - from;
    if (size == 0 || load<u8>(from) != 0x2d) {
      found(from, end);
      return;
    }
    // A dash alone is standard input; two end the options.
    if (size == 1) return;
    if (size == 2 && load<u8>(from, 1) == 0x2d) {
      found(next(from, end), end);
      return;
    }
    const takes = option(family, from, size);
    if (takes < 0) return;
    from = next(from, end);
    if (takes > 0) from = next(from, end);
  }
}

function found(from: usize, end: usize): void {
  Script.length = textEnd(from, end) - from;
  if (Script.length) Script.at = from;
}

/** @returns -1: no script follows; 1: the next argument belongs to it; 0: neither. */
function option(family: i32, at: usize, size: usize): i32 {
  if (load<u8>(at, 1) == 0x2d) {
    if (family == Family.NODE) return isOne(at, size, NODE_NO_SCRIPT) ? -1 : isOne(at, size, NODE_TAKES_NEXT) ? 1 : 0;
    return family == Family.SHELL && isOne(at, size, SHELL_TAKES_NEXT) ? 1 : 0;
  }
  const none = NO_SCRIPT[family];
  for (let i: usize = 1; i < size; i++) {
    const letter = <u32>load<u8>(at + i);
    if (has(none, letter)) return -1;
    // What follows the letter in the same argument is its value.
    if (has(TAKES_NEXT[family], letter)) return i + 1 == size ? 1 : 0;
  }
  return 0;
}

function familyOf(exe: PathText): i32 {
  if (exe.isShell()) return Family.SHELL;
  if (exe.nameStarts('python')) return Family.PYTHON;
  if (exe.nameStarts('nodejs') || exe.nameIs('node')) return Family.NODE;
  if (exe.nameStarts('perl') || exe.nameStarts('ruby')) return Family.PERL;
  return Family.NONE;
}

function has(letters: string, letter: u32): bool {
  for (let i = 0; i < letters.length; i++) if (<u32>letters.charCodeAt(i) == letter) return true;
  return false;
}

function isOne(at: usize, size: usize, names: StaticArray<string>): bool {
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (<usize>name.length != size) continue;
    let same: usize = 0;
    while (same < size && <u32>load<u8>(at + same) == <u32>name.charCodeAt(<i32>same)) same++;
    if (same == size) return true;
  }
  return false;
}

function textEnd(from: usize, end: usize): usize {
  while (from < end && load<u8>(from) != 0) from++;
  return from;
}

/** Where the argument after this one begins, or the end. */
function next(from: usize, end: usize): usize {
  return min(textEnd(from, end) + 1, end);
}
