// The decoder ABI is complete enough to write a module in another language: one written by hand in WebAssembly text keeps the rules and decodes real traffic.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import binaryen from 'binaryen';
import { Chain } from '../../host/src/decode/chain.js';
import { DecoderModule } from '../../host/src/decode/decoder-module.js';
import { type DecoderFile, loadDecoder } from '../../host/src/decode/load.js';
import { verifyDecoder } from '../../host/src/decode/verify.js';
import { readLane } from '../lib/ai-records.js';
import { tlsData, unpackAll } from '../lib/records.js';
import { ROOT, scratch } from '../lib/run.js';

describe('a decoder in WebAssembly text', () => {
  const path = join(scratch('wat'), 'target.wasm');
  let target: DecoderFile;

  before(() => {
    const module = binaryen.parseText(readFileSync(join(ROOT, 'test', 'lib', 'target-decoder.wat'), 'utf8'));
    module.setFeatures(binaryen.Features.BulkMemory);
    writeFileSync(path, module.emitBinary());
    module.dispose();
    target = loadDecoder(path);
  });

  it('keeps the rules', () => {
    const verdict = verifyDecoder(path);
    assert.ok(verdict.passed, JSON.stringify(verdict.checks));
    assert.deepEqual([verdict.name, verdict.version], ['target', '1.0.0']);
  });

  it('tells what the http module found, with the time and the process of each request', () => {
    const chain = new Chain([loadDecoder(join(ROOT, 'dist', 'decoders', 'http.wasm')), target]);
    const lanes: Buffer[] = [];
    const take = (bytes: Uint8Array, { name }: { name: string }) => {
      if (name === 'target') lanes.push(Buffer.from(bytes));
    };
    chain.process(tlsData({ side: 'write', offset: 0, ts: 77, bytes: Buffer.from('GET /one HTTP/1.1\r\n\r\nGET /two?q=\u00fc HTTP/1.1\r\n\r\n') }), take);
    const events = lanes.flatMap((lane) => readLane(lane));
    assert.deepEqual(
      events.map(({ type, ts, stream, data }) => [type, ts, stream, data]),
      [
        ['http.target', 77, 0, { target: '/one' }],
        ['http.target', 77, 1, { target: '/two?q=\u00fc' }],
      ],
    );
    assert.equal(Buffer.from(events[0]?.origin ?? []).readUInt32LE(16), 4242, 'the process of the record');
    assert.equal(chain.stats()['target']?.counters['requests'], 2);
  });

  it('stops where its lane is full, and goes on from there', () => {
    const http = new DecoderModule(loadDecoder(join(ROOT, 'dist', 'decoders', 'http.wasm')).compiled, {
      inBytes: 1 << 20,
      outBytes: 1 << 20,
      maxConnections: 16,
      memoryBytes: 64 << 20,
    });
    const heads: Buffer[] = [];
    const requests = Array.from({ length: 60 }, (_, i) => `GET /${i} HTTP/1.1\r\n\r\n`).join('');
    http.process(tlsData({ side: 'write', offset: 0, bytes: Buffer.from(requests) }), (lane, bytes) => {
      if (lane === 0) heads.push(Buffer.from(bytes));
    });
    const narrow = new DecoderModule(target.compiled, { inBytes: 1 << 20, outBytes: 1000, maxConnections: 16, memoryBytes: 16 << 20 });
    const seen: unknown[] = [];
    let lanes = 0;
    narrow.process(Buffer.concat(heads), (_lane, bytes) => {
      lanes++;
      seen.push(...unpackAll(Buffer.from(bytes)).map((record) => (record[7] as { target: string }).target));
    });
    assert.deepEqual(
      seen,
      Array.from({ length: 60 }, (_, i) => `/${i}`),
    );
    assert.ok(lanes > 10);
  });
});
