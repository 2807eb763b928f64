// What the native integration tests share: the fixture program, symbol offsets, and a sensor whose batches become plain records. It asserts nothing.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { unpackMultiple } from 'msgpackr';
import { libraries, probes } from '../../host/src/gen/probes.js';
import { Ledger, layoutOfKind, layouts } from '../../host/src/gen/records.js';
import { libraryPaths } from '../../host/src/sources/ebpf/ld-cache.js';
import { loadNative, type NativeBatch, type NativeOptions, type NativeSensor, type NativeStats } from '../../host/src/sources/ebpf/native.js';
import { mustProbe, ROOT, scratch } from '../lib/run.js';

/** The number that records of probed files carry here. */
export const TARGET = 7;
export const OBJECT = join(ROOT, 'dist', 'bpf', 'oisp.bpf.o');
export const native = loadNative(join(ROOT, 'dist', 'native', 'oisp_native.node'));

/** One kernel record: its fields by name (u64 as Number: test values stay small), texts and payload. */
export interface SeenRecord {
  readonly kind: number;
  readonly shard: number;
  readonly fields: Readonly<Record<string, number>>;
  readonly comm: string;
  readonly bytes: Buffer;
  readonly payload: Buffer;
}

/** Compiles a fixture into a file of its own, so that no other test's probes are on it. @param libraries options of the compiler, as pkg-config gives them. */
export function compileFixture(name = 'native-tls', libraries: readonly string[] = []): string {
  const out = join(scratch('native'), name);
  const source = join(ROOT, 'test', 'integration', 'fixtures', `${name}.c`);
  execFileSync(process.env['CC'] ?? 'cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-pthread', '-rdynamic', source, ...libraries, '-o', out], { stdio: 'pipe' });
  return out;
}

/** File offsets of the defined functions of a 64-bit little-endian ELF file, by name. */
export function symbolOffsets(path: string): Map<string, number> {
  const file = readFileSync(path);
  const at = (offset: number) => Number(file.readBigUInt64LE(offset));
  const segments = Array.from({ length: file.readUInt16LE(0x38) }, (_, i) => at(0x20) + i * file.readUInt16LE(0x36))
    .filter((header) => file.readUInt32LE(header) === 1)
    .map((header) => ({ offset: at(header + 8), address: at(header + 16), size: at(header + 32) }));
  const found = new Map<string, number>();
  const sections = Array.from({ length: file.readUInt16LE(0x3c) }, (_, i) => at(0x28) + i * file.readUInt16LE(0x3a));
  for (const section of sections) {
    const type = file.readUInt32LE(section + 4);
    if (type !== 2 && type !== 11) continue;
    const strings = at(sections[file.readUInt32LE(section + 40)]! + 24);
    for (let symbol = at(section + 24), end = symbol + at(section + 32); symbol < end; symbol += 24) {
      const address = at(symbol + 8);
      const segment = segments.find((s) => address >= s.address && address < s.address + s.size);
      if ((file[symbol + 4]! & 15) !== 2 || address === 0 || !segment) continue;
      const name = strings + file.readUInt32LE(symbol);
      found.set(file.toString('latin1', name, file.indexOf(0, name)), address - segment.address + segment.offset);
    }
  }
  return found;
}

/** The installed libraries of some families, each file once. */
export async function installedLibraries(families: readonly string[]): Promise<string[]> {
  const sonames = libraries.filter((library) => families.includes(library.name)).flatMap((library) => library.sonames);
  return [...new Set((await libraryPaths(sonames)).map((path) => realpathSync(path)))];
}

function fieldsOf(bytes: Buffer, layout: string, prefix = 0): Record<string, number> {
  const fields: Record<string, number> = {};
  for (const { name, offset, size } of layouts[layout]!.fields) {
    if (size === 8) fields[name] = Number(bytes.readBigUInt64LE(prefix + offset));
    else if (size <= 4) fields[name] = bytes.readUIntLE(prefix + offset, size);
  }
  return fields;
}

function decode(batch: NativeBatch): SeenRecord[] {
  const values = unpackMultiple(Buffer.from(batch.buffer as ArrayBuffer, 0, batch.length)) as [number, Uint8Array][];
  if (values.length !== batch.records) throw new Error(`a batch says ${batch.records} records and holds ${values.length}`);
  return values.map(([kind, bin]) => {
    const bytes = Buffer.from(bin);
    const name = layoutOfKind[kind];
    if (!name) throw new Error(`unknown kind ${kind}`);
    const header = fieldsOf(bytes, 'rec_header');
    if (header['size'] !== bytes.length || header['kind'] !== kind)
      throw new Error(`header says kind ${header['kind']}, ${header['size']} bytes; got ${kind}, ${bytes.length}`);
    const { header: _, ...own } = fieldsOf(bytes, name);
    const comm = bytes.toString('latin1', 40, 56).replace(/\0.*$/s, '');
    return { kind, shard: batch.shard, fields: { ...header, ...own }, comm, bytes, payload: bytes.subarray(layouts[name]!.size) };
  });
}

/** A loaded sensor; batches are credited at once unless hold is set. */
export class Capture {
  readonly sensor: NativeSensor;
  /** As they came, each in a buffer of its own. */
  readonly batches: NativeBatch[] = [];
  hold = false;
  private readonly memory: Uint8Array<SharedArrayBuffer>;

  constructor(options: Partial<NativeOptions> = {}) {
    mustProbe();
    this.memory = options.memory ?? new Uint8Array(new SharedArrayBuffer(4 << 20));
    this.sensor = new native.Sensor({
      objectPath: OBJECT,
      ringBytes: 8 << 20,
      shards: 2,
      batchBytes: 256 << 10,
      flushMs: 5,
      maxInFlightBytes: 4 << 20,
      captureAll: true,
      ...options,
      memory: this.memory,
    });
    this.sensor.load();
  }

  /** Attaches every probe whose symbol the file has, entries first. */
  attach(path: string): number {
    const offsets = symbolOffsets(path);
    let attached = 0;
    for (const probe of probes) {
      const offset = offsets.get(probe.symbol);
      if (offset === undefined) continue;
      if (probe.entry) this.sensor.attachUprobe(probe.entry, path, offset, false, TARGET);
      if (probe.exit) this.sensor.attachUprobe(probe.exit, path, offset, true, TARGET);
      attached++;
    }
    return attached;
  }

  start(): void {
    this.sensor.start((batch) => {
      const { slot, length } = batch;
      const buffer = slot === undefined ? (batch.buffer as ArrayBuffer) : new Uint8Array(this.memory.subarray(slot, slot + length)).buffer;
      this.batches.push({ ...batch, buffer });
      if (!this.hold) this.sensor.credit(batch.shard, length, slot);
    });
  }

  stats(): NativeStats {
    return this.sensor.stats();
  }

  /** Bytes and records of a ledger bucket. */
  ledger(bucket: keyof typeof Ledger): { records: number; bytes: number } {
    return this.stats().kernel[Ledger[bucket]]!;
  }

  /** Stops, closes, and gives everything that came. */
  async stop(): Promise<SeenRecord[]> {
    await new Promise<void>((resolve) => this.sensor.stop(resolve));
    this.sensor.close();
    return this.batches.flatMap(decode);
  }
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** The fixture, started and waiting for go(). */
export class Fixture {
  readonly child: ChildProcess;
  private readonly ended: Promise<number | null>;
  private readonly done: Promise<string>;

  constructor(path: string, ...args: (string | number)[]) {
    this.child = spawn(path, args.map(String), { stdio: ['pipe', 'pipe', 'inherit'] });
    running.add(this.child);
    this.ended = new Promise((resolve) => this.child.on('exit', resolve));
    this.done = new Promise((resolve, reject) => {
      this.child.stdout!.once('data', (text: Buffer) => resolve(text.toString()));
      this.child.on('exit', (code, signal) => reject(new Error(`the fixture ended with ${code ?? signal} before it was done`)));
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Runs the scenario to its end; the process stays. @returns what it printed. */
  async go(): Promise<string> {
    this.child.stdin!.write('x');
    return this.done;
  }

  async end(): Promise<void> {
    this.child.stdin!.end();
    await this.ended;
    running.delete(this.child);
  }
}

/** The pattern that the fixture moves: write streams have seed 1, read streams 50. */
export function pattern(seed: number, length: number, from = 0): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) {
    const at = from + i;
    bytes[i] = at * 31 + (at >> 8) * 7 + (at >> 16) * 3 + seed;
  }
  return bytes;
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
