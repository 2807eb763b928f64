// Every setting: its name in the configuration file, its default, its bounds and what it means. The reference page is made from this table.
import { isIP } from 'node:net';

export type SettingValue = number | boolean | string | readonly string[] | readonly number[];

export interface Setting {
  readonly type: 'integer' | 'boolean' | 'string' | 'strings' | 'integers';
  readonly fallback: SettingValue;
  readonly doc: string;
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
  /** A further rule for a number or a string, as the words that follow "must be". */
  readonly rule?: { readonly test: (value: never) => boolean; readonly text: string };
}

const KIBI = 1024;
const MEBI = 1024 * KIBI;
/** sun_path holds 108 bytes; the daemon makes its socket under a name that is up to 12 bytes longer before it moves it here. */
const MAX_SOCKET_PATH = 95;
const socketPath = {
  test: (value: string) => value === 'auto' || value === '' || (value.startsWith('/') && Buffer.byteLength(value) <= MAX_SOCKET_PATH),
  text: `an absolute path of at most ${MAX_SOCKET_PATH} bytes, auto, or empty`,
};
const absolutePath = { test: (value: string) => value === '' || value.startsWith('/'), text: 'an absolute path, or empty' };
const loopback = {
  test: (value: string) => value === '' || loopbackAddress(value) !== undefined,
  text: 'a loopback address and a port, such as 127.0.0.1:9464 or [::1]:9464, or empty',
};
const powerOfTwo = { test: (value: number) => (value & (value - 1)) === 0, text: 'a power of two' };

export const settings = {
  'capture.ring_bytes': {
    type: 'integer',
    fallback: 8 * MEBI,
    min: 64 * KIBI,
    max: 1024 * MEBI,
    rule: powerOfTwo,
    doc: 'Size of the kernel ring buffer; counts towards the resident memory.',
  },
  'capture.batch_bytes': {
    type: 'integer',
    fallback: 256 * KIBI,
    min: 64 * KIBI,
    max: 768 * KIBI,
    doc: 'A batch is handed to its shard when it has grown to this size, or when the ring is empty.',
  },
  'capture.flush_ms': { type: 'integer', fallback: 20, min: 1, max: 1000, doc: 'Longest time a record waits for its batch to fill while records keep coming.' },
  'capture.max_in_flight_bytes': {
    type: 'integer',
    fallback: 32 * MEBI,
    min: 2 * MEBI,
    max: 1024 * MEBI,
    doc: 'Bytes handed to a shard and not yet done before the reader stops taking from the ring.',
  },
  'capture.pids': { type: 'integers', fallback: [], min: 1, max: 4194304, doc: 'Capture only these processes and their descendants. Empty: every process.' },
  'capture.comms': { type: 'strings', fallback: [], doc: 'Capture only threads with these names (at most 15 bytes each). Empty: every process.' },
  'capture.plaintext_ports': {
    type: 'integers',
    fallback: [11434, 1234, 8000, 8080],
    min: 1,
    max: 65535,
    doc: 'TCP ports on which model servers speak unencrypted HTTP (Ollama, LM Studio, vLLM, llama.cpp). What is no HTTP there is skipped.',
  },
  'capture.verdicts': {
    type: 'boolean',
    fallback: true,
    doc: 'Stop copying a connection once its exchanges have shown that it carries no AI traffic. It is looked at again with each POST.',
  },
  'capture.rate_limit_bytes': {
    type: 'integer',
    fallback: 0,
    min: 0,
    max: 8 * 1024 * MEBI,
    doc: 'Payload bytes of one process that are copied in a second; of its calls past that only the first 1024 bytes are. 0: no limit.',
  },
  'capture.exes': { type: 'strings', fallback: [], doc: 'Capture only processes that execute these files, and their descendants. Empty: every process.' },
  'capture.uids': {
    type: 'integers',
    fallback: [],
    min: 0,
    max: 4294967294,
    doc: 'Capture only processes of these users, and their descendants. Empty: every process.',
  },
  'capture.cgroups': {
    type: 'strings',
    fallback: [],
    doc: 'Capture only processes in these cgroups of the unified hierarchy (such as /system.slice/ollama.service) or below, and their descendants. Empty: every process.',
  },
  'capture.agents': { type: 'strings', fallback: [], doc: 'Names of executables or scripts that are agents beside the known ones (docs/reference/agents.md).' },
  'capture.roles': {
    type: 'string',
    fallback: 'client',
    oneOf: ['client', 'both'],
    doc: 'From which ends exchanges with models are told: client, so that one between two programs of this machine is told once; or both, which adds what model servers and gateways here are asked. ext.oisp_host.role says which end an event is from.',
  },
  'capture.files': {
    type: 'string',
    fallback: 'agents',
    oneOf: ['agents', 'all', 'none'],
    doc: 'Whose file activity is recorded: that of known agents, and of what is named by the other settings, with their descendants; that of every captured process; or none.',
  },
  'capture.file_reads': {
    type: 'string',
    fallback: 'user',
    oneOf: ['none', 'user', 'all'],
    doc: 'Which reads of files are told: none; user, which leaves out code that is loaded and what lies below the lib, libexec and share folders of /, /usr and /usr/local, below /nix, /proc and /sys, and what the C library reads of /etc when a program starts; or all.',
  },
  'capture.file_opens': {
    type: 'string',
    fallback: 'changes',
    oneOf: ['none', 'changes', 'all'],
    doc: 'Which openings of files are told by an event of their own, beside what is read and written: none; changes, those that make or cut the file or are for writing; or all.',
  },
  'decode.shards': { type: 'integer', fallback: 1, min: 1, max: 64, doc: 'Worker threads that decode.' },
  'decode.deadline_ms': {
    type: 'integer',
    fallback: 10_000,
    min: 500,
    max: 600_000,
    doc: 'A decoder module that does not return from a call for so long is taken to hang: its thread is replaced, and what the shard knew of open connections is lost.',
  },
  'decode.folder': {
    type: 'string',
    fallback: '',
    rule: absolutePath,
    doc: 'Folder of decoder modules beside those of the product, or in their place by name: read at the start, and swapped in when a file changes. It must belong to the user of the daemon, and nobody else may write to it. Empty: none.',
  },
  'output.path': { type: 'string', fallback: '-', doc: 'File that events are appended to, or - for standard output.' },
  'output.format': {
    type: 'string',
    fallback: 'auto',
    oneOf: ['auto', 'jsonl', 'pretty'],
    doc: 'jsonl, pretty, or auto: pretty on a terminal, jsonl elsewhere.',
  },
  'control.path': {
    type: 'string',
    fallback: 'auto',
    rule: socketPath,
    doc: 'Socket (mode 0600) on which the daemon tells its status. auto: /run/oisp-host/control.sock for root, else oisp-host/control.sock in $XDG_RUNTIME_DIR; when it is taken or cannot be made, the daemon goes on without. Empty: none.',
  },
  'metrics.listen': {
    type: 'string',
    fallback: '',
    rule: loopback,
    doc: 'Loopback address and port on which /metrics is served without a password, such as 127.0.0.1:9464. Empty: on the control socket only.',
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

/** @returns the parts of `ADDRESS:PORT`, undefined when that is no loopback address. Names are no addresses: what they mean can change. */
export function loopbackAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:(127(?:\.\d{1,3}){3})|\[(::1)\]):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host === undefined || isIP(host) === 0 || port > 65535 ? undefined : { host, port };
}
