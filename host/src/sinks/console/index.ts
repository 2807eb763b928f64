// Shows events to a person, one line each, with colours on a terminal; it leaves out what does not fit a line.
import { open } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { styleText } from 'node:util';
import { HostError, reasonOf } from '../../errors.js';
import type { OispEvent } from '../../events/event.js';
import type { OutgoingEvent } from '../../events/outgoing.js';
import type { Sink } from '../../events/sink.js';
import { EventType } from '../../gen/events.js';

const CONTENT_WIDTH = 72;
type Style = Parameters<typeof styleText>[0];

const STYLES: Readonly<Record<string, Style>> = {
  [EventType.ai_request]: 'cyan',
  [EventType.ai_response]: 'green',
  [EventType.tool_call]: 'yellow',
};

interface Told {
  model?: { id?: string };
  messages?: { role?: string; content?: unknown }[];
  choices?: { message?: { content?: unknown } }[];
  error?: { message?: string; type?: string };
  usage?: { prompt_tokens?: number; completion_tokens?: number };
  tool?: { name?: string };
  [key: string]: unknown;
}

export class ConsoleSink implements Sink {
  readonly id = 'console';
  private readonly counts = { written: 0, bytes: 0, dropped: 0, retries: 0 };
  private broken = false;

  private stream: Writable = process.stdout;
  private readonly colour: boolean;

  /** @param output file to append to (mode 0600), or `-` for standard output, which is coloured when it is a terminal. */
  constructor(private readonly output: string) {
    this.colour = output === '-' && (process.stdout.hasColors?.() ?? false);
  }

  /** @throws HostError OUTPUT. */
  async open(): Promise<void> {
    if (this.output === '-') return;
    try {
      this.stream = (await open(this.output, 'a', 0o600)).createWriteStream();
    } catch (error) {
      throw new HostError('OUTPUT', `cannot write events to ${this.output}: ${reasonOf(error)}`, undefined, { cause: error });
    }
  }

  async write(events: readonly OutgoingEvent[]): Promise<void> {
    if (!events.length) return;
    const text = events.map((event) => `${this.line(event.parse())}\n`).join('');
    if (this.broken) {
      this.counts.dropped += events.length;
      return;
    }
    await new Promise<void>((resolve) => {
      this.stream.write(text, (error) => {
        this.broken = error != null;
        if (error) this.counts.dropped += events.length;
        else {
          this.counts.written += events.length;
          this.counts.bytes += Buffer.byteLength(text);
        }
        resolve();
      });
    });
  }

  stopping(): void {
    // Nothing is retried here, so nothing could hang.
  }

  async close(): Promise<void> {
    if (this.stream !== process.stdout) await new Promise<void>((resolve) => this.stream.end(() => resolve()));
  }

  stats(): ReturnType<Sink['stats']> {
    return { ...this.counts };
  }

  private line(event: OispEvent): string {
    const time = event.ts.slice(11, 23);
    const who = `${event.process?.name ?? '?'}[${event.process?.pid ?? '?'}]`;
    const partial = event.confidence.completeness === 'partial' ? this.paint('red', ' partial') : '';
    return `${this.paint('dim', time)} ${this.paint(STYLES[event.event_type] ?? 'dim', event.event_type.padEnd(15))} ${who} ${describe(event)}${partial}`;
  }

  private paint(style: Style, text: string): string {
    return this.colour ? styleText(style, text, { validateStream: false }) : text;
  }
}

function describe(event: OispEvent): string {
  const data = event.data as Told;
  switch (event.event_type) {
    case EventType.ai_request:
      return `${data.model?.id ?? '?'} ${data.messages?.length ?? 0} messages ${oneLine(data.messages?.at(-1)?.content)}`;
    case EventType.ai_response: {
      const usage = data.usage ? ` ${data.usage.prompt_tokens ?? '?'}+${data.usage.completion_tokens ?? '?'} tokens` : '';
      const outcome = data['success'] === false ? `failed: ${oneLine(data.error?.message ?? data.error?.type)}` : oneLine(data.choices?.[0]?.message?.content);
      return `${data.model?.id ?? '?'} ${data['finish_reason'] ?? ''}${usage} ${outcome}`;
    }
    case EventType.tool_call:
      return `${data.tool?.name ?? '?'} ${oneLine(JSON.stringify(data['arguments']))}`;
    case EventType.process_exec:
      return oneLine(event.process?.cmdline ?? data['exe']);
    case EventType.process_exit:
      return `exit ${data['exit_code']}${data['signal_name'] ? ` ${data['signal_name']}` : ''}`;
    default:
      return '';
  }
}

/** Control characters are shown as spaces: captured text must not drive the terminal. */
function oneLine(value: unknown): string {
  if (typeof value !== 'string') return '';
  const flat = value
    .slice(0, CONTENT_WIDTH * 4)
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim();
  return flat.length > CONTENT_WIDTH ? `${flat.slice(0, CONTENT_WIDTH - 1)}…` : flat;
}
