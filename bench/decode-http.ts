// Bench: what HTTP costs before there is any AI in it: heads of HTTP/1 beside llhttp, frames and header blocks of HTTP/2, and the memory of idle connections.
import { createRequire } from 'node:module';
import { paths } from '../host/src/config/paths.js';
import { Chain } from '../host/src/decode/chain.js';
import { DecoderModule } from '../host/src/decode/decoder-module.js';
import { type DecoderFile, loadDecoders } from '../host/src/decode/load.js';
import { data, Flag, frame, PREFACE, settings, Type } from '../test/lib/h2-frames.js';
import { type Calls, Llhttp, Kind as LlhttpKind } from '../test/lib/llhttp.js';
import { type BenchResult, bestOfEach, type Step, timed } from './lib/measure.js';
import { Connection } from './lib/records.js';

type Row = BenchResult['rows'][number];

/** As browsers and clients send them: a page's worth of fields. */
const FIELDS: readonly (readonly [string, string])[] = [
  ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36'],
  ['accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'],
  ['accept-language', 'en-GB,en;q=0.9,de;q=0.8'],
  ['accept-encoding', 'gzip, deflate, br, zstd'],
  ['cache-control', 'no-cache'],
  ['cookie', 'theme=dark; id=9f1c2d7e4b8a; visits=42'],
];
const ANSWER_FIELDS: readonly (readonly [string, string])[] = [
  ['server', 'nginx'],
  ['date', 'Wed, 18 Nov 2026 09:26:53 GMT'],
  ['etag', '"5f3c-60a1b2c3d4e5f"'],
  ['cache-control', 'max-age=600'],
  ['vary', 'accept-encoding'],
];

function decodes(chain: Chain, connection: Connection): Step {
  return timed(() => {
    connection.next();
    for (const batch of [...connection.request, ...connection.rest]) chain.process(batch, () => undefined, Connection.kinds);
  });
}

/** Heads of pipelined requests and of their responses, both sides. */
function http1Row(): Row {
  const count = 32;
  const rounds = 60;
  const lines = (start: string, fields: readonly (readonly [string, string])[]) =>
    `${[start, ...fields.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`;
  const asked = Buffer.from(lines('GET /catalogue/index.html?page=7 HTTP/1.1', [['host', 'shop.example'], ...FIELDS]).repeat(count));
  const answered = Buffer.from(lines('HTTP/1.1 304 Not Modified', ANSWER_FIELDS).repeat(count));
  const connection = Connection.inTurns(Array.from({ length: rounds }, () => [asked, answered]));
  const chain = new Chain(loadDecoders(paths.decoders));
  let characters = 0;
  const text = (bytes: Buffer) => {
    characters += bytes.toString('latin1').length;
  };
  const llhttp = (calls?: Calls): Step => {
    const requests = new Llhttp(LlhttpKind.REQUEST, asked.length, calls);
    const responses = new Llhttp(LlhttpKind.RESPONSE, answered.length, calls);
    return timed(() => {
      for (let i = 0; i < rounds; i++) if (requests.execute(asked) || responses.execute(answered)) throw new Error('llhttp refuses what the bench sends');
    });
  };
  // With its target, names and values as strings, which is what a program needs of it; and with callbacks that look at nothing.
  const [ours = 0, theirs = 0, bare = 0] = bestOfEach([decodes(chain, connection), llhttp({ url: text, field: text, value: text }), llhttp()]);
  if (characters === 0) throw new Error('llhttp gave no text: nothing was measured');
  const heads = 2 * count * rounds;
  const perSecond = (ns: number) => (heads / ns) * 1e9;
  return {
    name: 'http1_heads',
    heads_per_s: perSecond(ours),
    llhttp_heads_per_s: perSecond(theirs),
    ratio_to_llhttp: theirs / ours,
    llhttp_unread_heads_per_s: perSecond(bare),
  };
}

interface Compressor {
  write(fields: { name: string; value: string }[]): void;
  read(): Buffer | null;
}

function compressor(): (fields: readonly (readonly [string, string])[]) => Buffer {
  const hpack = createRequire(import.meta.url)('hpack.js') as { compressor: { create(options: object): Compressor } };
  const made = hpack.compressor.create({ table: { maxSize: 4096 } });
  return (fields) => {
    made.write(fields.map(([name, value]) => ({ name, value })));
    const parts: Buffer[] = [];
    for (let part = made.read(); part; part = made.read()) parts.push(part);
    return Buffer.concat(parts);
  };
}

/** Header blocks of requests and responses, their table and Huffman codes as an encoder writes them. */
function blocksRow(): Row {
  const streams = 2000;
  const ask = compressor();
  const answer = compressor();
  const whole = Flag.END_HEADERS | Flag.END_STREAM;
  const turns: [Buffer, Buffer][] = [[Buffer.concat([PREFACE, settings()]), settings()]];
  for (let i = 0; i < streams; i++) {
    const id = 2 * i + 1;
    const pseudo = [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':authority', 'shop.example'],
      [':path', `/catalogue/${i}`],
    ] as const;
    turns.push([frame(Type.HEADERS, whole, id, ask([...pseudo, ...FIELDS])), frame(Type.HEADERS, whole, id, answer([[':status', '304'], ...ANSWER_FIELDS]))]);
  }
  const connection = Connection.inTurns(turns);
  const [ns = 0] = bestOfEach([decodes(new Chain(loadDecoders(paths.decoders)), connection)]);
  return { name: 'h2_header_blocks', blocks_per_s: ((2 * streams) / ns) * 1e9 };
}

/** A download in frames of 16 KiB, four streams in turn. */
function dataRow(): Row {
  const frames = 1000;
  const head = Buffer.concat([PREFACE, settings()]);
  const ids = [1, 3, 5, 7];
  const field = compressor();
  const asked = ids.map((id) =>
    frame(
      Type.HEADERS,
      Flag.END_HEADERS | Flag.END_STREAM,
      id,
      field([
        [':method', 'GET'],
        [':path', '/large'],
        [':scheme', 'https'],
      ]),
    ),
  );
  const answer = compressor();
  const answered = ids.map((id) =>
    frame(
      Type.HEADERS,
      Flag.END_HEADERS,
      id,
      answer([
        [':status', '200'],
        ['content-type', 'application/octet-stream'],
      ]),
    ),
  );
  const payload = Buffer.alloc(16_384, 'The quick brown fox. ');
  const bodies = Array.from({ length: frames }, (_, i) => data(ids[i % 4] as number, payload, i >= frames - 4 ? Flag.END_STREAM : 0));
  const connection = new Connection(Buffer.concat([head, ...asked]), [settings(), ...answered, ...bodies]);
  const [ns = 0] = bestOfEach([decodes(new Chain(loadDecoders(paths.decoders)), connection)]);
  return { name: 'h2_data', mb_per_s: ((frames * payload.length) / ns) * 1000 };
}

/** What the http module keeps of connections that had an exchange and wait for the next one. */
function idleRow(): Row {
  const connections = 60_000;
  const file = loadDecoders(paths.decoders).find(({ name }) => name === 'http') as DecoderFile;
  const module = new DecoderModule(file.compiled, { inBytes: 1 << 20, outBytes: 1 << 20, maxConnections: 65_536, memoryBytes: 512 << 20 });
  const connection = new Connection(Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n'), [Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')], {
    close: false,
  });
  let step = 0;
  // The memory grows in steps, each as large as all before it: what one step adds holds the connections until the next.
  let [last, since, size] = [module.memoryBytes, 0, 0];
  for (let i = 0; i < connections; i++) {
    connection.next();
    for (const batch of [...connection.request, ...connection.rest]) module.process(batch, () => undefined);
    if (module.memoryBytes === last) continue;
    if (since > 0) size = step / (i - since);
    [step, last, since] = [module.memoryBytes - last, module.memoryBytes, i];
  }
  if (module.stats()['connections_open'] !== connections || size === 0) throw new Error('not every connection is open: nothing was measured');
  return { name: 'http1_idle_connection', bytes: size };
}

export function httpRows(): Row[] {
  return [http1Row(), blocksRow(), dataRow(), idleRow()];
}
