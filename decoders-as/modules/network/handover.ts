// Hands what is kept of ClientHellos over to the instance that takes this one's place.
import { defineHandover, Handed } from '../../abi/handover';
import { recordsOut, Status } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { Hello, Hellos } from './hellos';

const HELLO: u32 = Handed.OWN;

/** Status.FULL: to be called again. */
function give(whole: bool, _again: bool): i32 {
  if (!whole) return Status.BAD;
  for (let at = Hellos.oldest(); at; at = Hellos.oldest()) {
    const hello = changetype<Hello>(at);
    const mark = recordsOut.begin();
    recordsOut.array(7);
    recordsOut.uint(HELLO);
    recordsOut.uint(hello.key);
    recordsOut.uint(hello.nameLength);
    recordsOut.uint(hello.alpnLength);
    recordsOut.uint(hello.versionsLength);
    recordsOut.uint(hello.legacyVersion);
    recordsOut.bin(hello.texts, hello.nameLength + hello.alpnLength + hello.versionsLength);
    if (!recordsOut.commit(mark)) return Status.FULL;
    Hellos.drop(at);
  }
  return Status.DONE;
}

function take(tag: u32, at: usize, end: usize): i32 {
  if (tag != HELLO) return Status.DONE;
  Reader.open(at, end);
  const key = Reader.uint();
  const name = <u32>Reader.uint();
  const alpn = <u32>Reader.uint();
  const versions = <u32>Reader.uint();
  const legacy = <u32>Reader.uint();
  const texts = Reader.bin();
  if (Reader.failed || <u64>name + alpn + versions != <u64>Reader.length) return Status.BAD;
  const hello = Hellos.add(key, name, alpn, versions);
  hello.legacyVersion = legacy;
  memory.copy(hello.texts, texts, Reader.length);
  return Status.DONE;
}

export function initHandover(): void {
  defineHandover(1, 0, give, take, Hellos.count);
}
