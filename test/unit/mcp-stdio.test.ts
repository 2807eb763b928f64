// MCP through pipes in the ai module alone: however lines are cut, what is lost, which response is for which request, and the bounds.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Kind } from '../../host/src/gen/records.js';
import { RECORD_AT } from '../../host/src/sources/plaintext/kernel-records.js';
import { AiBench, type AiEvent, aiModule } from '../lib/ai-records.js';
import { type ConnName, tlsData } from '../lib/records.js';

const AGENT = 500;
const SERVER = 501;

/** The pipe of one direction, told of one process. */
class Pipe {
  #offset = 0;

  constructor(
    private readonly conn: ConnName,
    private readonly side: 'read' | 'write' = 'write',
  ) {}

  /** Records of a message, a line, in pieces of `size`. */
  say(message: object | string, size = Number.MAX_SAFE_INTEGER, ts = 1_000_000): Buffer[] {
    const bytes = Buffer.from(typeof message === 'string' ? message : `${JSON.stringify(message)}\n`);
    const out: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      const record = tlsData({ conn: this.conn, side: this.side, offset: this.#offset, bytes: bytes.subarray(at, at + size), ts });
      record[1] = Kind.pipe_data;
      record.writeUInt16LE(Kind.pipe_data, RECORD_AT);
      out.push(record);
      this.#offset += Math.min(size, bytes.length - at);
    }
    return out;
  }

  lose(bytes: number): void {
    this.#offset += bytes;
  }
}

const toServer = (n = 1): Pipe => new Pipe({ tgid: AGENT, ssl: 10 * n, generation: n });
const fromServer = (n = 1): Pipe => new Pipe({ tgid: SERVER + n, ssl: 10 * n + 1, generation: n });
const call = (id: number | string, city: string) => ({ method: 'tools/call', params: { name: 'get_weather', arguments: { city } }, jsonrpc: '2.0', id });
const answer = (id: number | string, text: string, more: object = {}) => ({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }], ...more } });
const tell = (events: readonly AiEvent[]) => events.map(({ type, data }) => [type, data.arguments?.city ?? data.result, data.call_id]);

describe('MCP through pipes', () => {
  it('tells a call and its result, of the process that asked, whatever the cut', () => {
    let first: unknown;
    for (const size of [Number.MAX_SAFE_INTEGER, 1, 2, 7, 50]) {
      const [asks, says] = [toServer(), fromServer()];
      const events = new AiBench()
        .feed(...asks.say({ jsonrpc: '2.0', id: 0, method: 'initialize', params: {} }, size))
        .feed(...says.say('tool server ready\n', size), ...says.say({ jsonrpc: '2.0', id: 0, result: { serverInfo: {} } }, size))
        .feed(...asks.say({ jsonrpc: '2.0', method: 'notifications/initialized' }, size))
        .feed(...asks.say(call('x', 'Zürich'), size, 2_000_000))
        .feed(...says.say(answer('x', 'sunny', { isError: false }), size, 5_000_000)).events;
      assert.deepEqual(
        events.map(({ type, data }) => [type, data.tool, data.arguments, data.result, data.success, data.duration_ms]),
        [
          ['agent.tool_call', { name: 'get_weather', type: 'other', provider: 'mcp' }, { city: 'Zürich' }, undefined, undefined, undefined],
          ['agent.tool_result', { name: 'get_weather', type: 'other', provider: 'mcp' }, undefined, 'sunny', true, 3],
        ],
      );
      const [one, two] = events as [AiEvent, AiEvent];
      assert.equal(one.data.call_id, two.data.call_id);
      assert.deepEqual(one.origin.subarray(16, 20), two.origin.subarray(16, 20), 'both are told of one process');
      const plain = events.map(({ origin: _, ...rest }) => rest);
      first ??= plain;
      assert.deepEqual(plain, first, `pieces of ${size}`);
    }
  });

  it('tells errors of the protocol and of the tool', () => {
    const [asks, says] = [toServer(), fromServer()];
    const events = new AiBench()
      .feed(...asks.say(call(1, 'A')), ...asks.say(call(2, 'B')))
      .feed(
        ...says.say({ jsonrpc: '2.0', id: 2, error: { code: -32602, message: 'no such city' } }),
        ...says.say(answer(1, 'failed', { isError: true })),
      ).events;
    assert.deepEqual(
      events.slice(2).map(({ data }) => [data.success, data.error, data.result]),
      [
        [false, { type: 'json_rpc_error', message: 'no such city', code: '-32602' }, ''],
        [false, { type: 'tool_error' }, 'failed'],
      ],
    );
  });

  it('keeps servers with the same ids apart once their pipes are known to be pairs, and guesses nothing before', () => {
    const bench = new AiBench();
    const [asks1, says1, asks2, says2] = [toServer(1), fromServer(1), toServer(2), fromServer(2)];
    bench.feed(...asks1.say(call(5, 'unclear 1')), ...asks2.say(call(5, 'unclear 2')), ...says1.say(answer(5, 'of whom?')));
    assert.deepEqual(
      bench.events.map(({ type }) => type),
      ['agent.tool_call', 'agent.tool_call'],
    );
    assert.equal(bench.module.stats()['rpc_ambiguous'], 1);
    bench.feed(...asks1.say({ jsonrpc: '2.0', id: 6, method: 'ping' }), ...says1.say({ jsonrpc: '2.0', id: 6, result: {} }));
    bench.feed(...asks2.say({ jsonrpc: '2.0', id: 7, method: 'ping' }), ...says2.say({ jsonrpc: '2.0', id: 7, result: {} }));
    bench.feed(...asks1.say(call(8, 'one')), ...asks2.say(call(8, 'two')), ...says2.say(answer(8, 'from two')), ...says1.say(answer(8, 'from one')));
    const [one, two, fromTwo, fromOne] = tell(bench.events.slice(2)) as [string, string, string][];
    assert.deepEqual(
      [fromTwo, fromOne],
      [
        ['agent.tool_result', 'from two', two?.[2]],
        ['agent.tool_result', 'from one', one?.[2]],
      ],
    );
  });

  it('passes over a line that lost bytes, and goes on with the next', () => {
    const bench = new AiBench();
    const asks = toServer();
    bench.feed(...asks.say('{"jsonrpc":"2.0","id":1,"method":"tools/call","par'));
    asks.lose(20);
    bench.feed(...asks.say('"arguments":{}}}\n'), ...asks.say(call(2, 'next')));
    assert.deepEqual(
      tell(bench.events).map(([type, city]) => [type, city]),
      [['agent.tool_call', 'next']],
    );
  });

  it('stays within its bounds: long lines, many pipes, many open requests', () => {
    const bench = new AiBench(aiModule({ inBytes: 64 << 20 }));
    const asks = toServer();
    bench.feed(...asks.say(call(1, 'x'.repeat(5 << 20)), 65_536), ...asks.say(call(2, 'short')));
    assert.deepEqual(
      tell(bench.events).map(([, city]) => city),
      ['short'],
    );
    assert.equal(bench.module.stats()['capped'], 1);
    const before = bench.module.memoryBytes;
    for (let n = 2; n < 6000; n++) bench.feed(...toServer(n).say(`${JSON.stringify(call(n, 'y'))}\n{"half":`));
    assert.ok(bench.module.memoryBytes - before < 16 << 20, `${bench.module.memoryBytes - before} bytes`);
    assert.ok((bench.module.stats()['bytes_held'] as number) < 4 << 20);
  });

  it('waits for room in the lane without telling anything twice', () => {
    const asks = toServer();
    const records = Array.from({ length: 400 }, (_, i) => asks.say(call(i, `${i} ${'z'.repeat(9000)}`), 4000)).flat();
    const wide = new AiBench(aiModule()).feed(...records).events;
    const narrow = new AiBench(aiModule({ outBytes: 1 << 20 })).feed(...records).events;
    assert.equal(wide.length, 400);
    assert.deepEqual(narrow, wide);
  });
});
