// `oisp-host decode`: the plaintext of one connection, from files, through the real decoder chain; needs no privileges and keeps nothing.
import { paths, version } from '../config/paths.js';
import { loadDecoder, loadDecoders } from '../decode/load.js';
import { HostError } from '../errors.js';
import type { ShardEvent } from '../events/event.js';
import { openEvents, sealEvents } from '../events/outgoing.js';
import type { HostContext } from '../events/source.js';
import { EventType } from '../gen/events.js';
import { makeSink } from '../sinks/index.js';
import { type Gap, MAX_CHUNK, plaintextBatches } from '../sources/plaintext/index.js';
import { Shard } from '../topology/shard.js';
import { Correlator } from '../transforms/correlate/index.js';
import { recordLines } from './record-json.js';
import { note } from './terminal.js';

export interface DecodeFlags {
  request?: string;
  response?: string;
  chunk?: number;
  gap?: Gap[];
  authority?: string;
  decoder?: string[];
  stage?: string;
  showSecrets?: boolean;
}

/** Events decoded from a file say nothing of this machine: the same bytes give the same lines everywhere. */
const NO_HOST: HostContext = { hostname: 'unknown', deviceId: 'unknown', osVersion: 'unknown', arch: 'other', kernelVersion: 'unknown', users: {} };

/** @returns the exit code. */
export async function decode(flags: DecodeFlags): Promise<number> {
  if (flags.request === undefined && flags.response === undefined)
    throw new HostError('USAGE', 'nothing to decode', 'Name a file with --request, --response or both.');
  const more = (flags.decoder ?? []).map((path) => loadDecoder(path));
  const decoders = [...loadDecoders(paths.decoders).filter(({ name }) => !more.some((other) => other.name === name)), ...more];
  const { stage } = flags;
  if (stage !== undefined && !decoders.some(({ name }) => name === stage)) {
    throw new HostError('USAGE', `there is no decoder module ${stage}`, `There are: ${decoders.map(({ name }) => name).join(', ')}.`);
  }
  const sink = makeSink('jsonl', { output: '-', onTrouble: note });
  const correlator = new Correlator();
  let lines: string[] = [];
  const shard = new Shard({
    decoders,
    host: NO_HOST,
    version,
    shard: 0,
    log: note,
    tap: (module, _lane, bytes) => {
      if (module === stage) lines.push(...recordLines(bytes, { secrets: flags.showSecrets ?? false }));
    },
  });
  // A response that was not given is not a response that never came.
  const asked = ({ event }: ShardEvent) => flags.response !== undefined || event.event_type !== EventType.ai_response;
  const give = async (events: readonly ShardEvent[]): Promise<void> => {
    if (stage === undefined) {
      const outgoing = openEvents(sealEvents(events.filter(asked), (bytes) => new Uint8Array(bytes)));
      for (const event of outgoing) correlator.add(event);
      await sink.write(outgoing);
    } else await writeLines(lines);
    lines = [];
  };
  const { request, response, authority, chunk = MAX_CHUNK, gap: gaps = [] } = flags;
  const options = {
    chunk,
    gaps,
    ...(request !== undefined && { request }),
    ...(response !== undefined && { response }),
    ...(authority !== undefined && { authority }),
  };
  for await (const batch of plaintextBatches(options)) await give(shard.process(batch, 0n).events);
  await give(shard.flush().events);
  return sink.stats().dropped > 0 ? 1 : 0;
}

async function writeLines(lines: readonly string[]): Promise<void> {
  if (!lines.length) return;
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(`${lines.join('\n')}\n`, (error) => (error ? reject(error) : resolve()));
  });
}
