// The command line of oisp-host: reads arguments, calls the command, turns its outcome into an exit code.
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { version } from '../config/paths.js';
import { ExitCode } from '../errors.js';
import type { Gap } from '../sources/plaintext/index.js';
import { check } from './check.js';
import { type CoverageFlags, coverage } from './coverage.js';
import { type DecodeFlags, decode } from './decode.js';
import { type ListFlags, listDecoders, pinDecoder, rollbackDecoder, swapDecoder, verifyDecoder } from './decoders.js';
import { type NewFlags, newDecoder } from './new-decoder.js';
import { type ReplayFlags, replay } from './replay.js';
import { type RunFlags, run } from './run.js';
import { type AskFlags, status } from './status.js';
import { tellError } from './terminal.js';

const EXIT_CODES = `
Exit codes:
  0  success
  1  failure
  2  wrong usage or configuration
  3  a privilege is missing
  4  not supported by this kernel`;

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`);
    return value;
  };
}

/** Collects the values of an option that takes several. */
function each<T>(parse: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}

function gap(text: string): Gap {
  const match = /^(request|response):(\d{1,15}):(\d{1,15})$/.exec(text);
  if (!match) throw new InvalidArgumentError('It must be request:OFFSET:LENGTH or response:OFFSET:LENGTH, in bytes.');
  return { direction: match[1] as Gap['direction'], offset: Number(match[2]), length: Number(match[3]) };
}

function describeRun(command: Command, done: (code: number) => void): void {
  command
    .description('Capture live and write events until stopped. With a COMMAND: run it, capture only it and its descendants, and end with its exit code.')
    .argument('[command...]', 'program to run under observation, after --')
    .option('-c, --config <file>', 'configuration file (TOML)')
    .option('-o, --output <file>', 'append events to this file; - is standard output (default: -)')
    .addOption(new Option('-f, --format <format>', 'how events are written (default: pretty on a terminal, else jsonl)').choices(['jsonl', 'pretty']))
    .option('-p, --pid <pid...>', 'capture only these processes and their descendants', each(integer(1, 4194304)))
    .option('--comm <name...>', 'capture only threads with these names', each(String))
    .option('--exe <file...>', 'capture only processes that execute these files, and their descendants', each(String))
    .option('--uid <id...>', 'capture only processes of these users, and their descendants', each(integer(0, 4294967294)))
    .option('--cgroup <path...>', 'capture only processes in these cgroups or below, and their descendants', each(String))
    .option('--control <path>', 'control socket for status and coverage (default: /run/oisp-host/control.sock for root); "" for none')
    .option('-r, --record <file>', 'also keep the captured plaintext, secrets included, for a later replay')
    .option('--json', 'at the end, print all statistics and the loss ledger as one JSON object on standard error')
    .option('-q, --quiet', 'say nothing but warnings on standard error')
    .addHelpText(
      'after',
      `
Examples:
  oisp-host run --output events.jsonl
  oisp-host run -- claude -p "what is in this folder?"
  oisp-host run --output - --format jsonl --pid 4711 | jq .data.model.id
${EXIT_CODES}`,
    )
    .action(async (argv: string[], flags: RunFlags) => done(await run(argv, flags)));
}

function describeDecode(command: Command, done: (code: number) => void): void {
  command
    .description('Decode the plaintext bytes of one connection from files and print its events as JSON Lines. Needs no privileges.')
    .option('--request <file>', 'bytes the client sent')
    .option('--response <file>', 'bytes the client received')
    .option('--chunk <n>', 'bytes per record, 1 to 16384: the events must not depend on it', integer(1, 16384))
    .option('--gap <where>', 'leave bytes out as if they had been lost: request:OFFSET:LENGTH or response:OFFSET:LENGTH; may be repeated', each(gap))
    .option('--authority <host>', 'host the connection was made to, when the bytes do not say it')
    .option('--decoder <file...>', 'take this module into the chain, in the place of the one of its name or beside the others', each(String))
    .option('--stage <module>', 'print the records this decoder module made instead of the events')
    .option('--show-secrets', 'with --stage: show credentials in headers as they were sent')
    .addHelpText(
      'after',
      `\nExamples:\n  oisp-host decode --request request.bin --response response.bin\n  oisp-host decode --request request.bin --stage http\n${EXIT_CODES}`,
    )
    .action(async (flags: DecodeFlags) => done(await decode(flags)));
}

/** The options of every command that asks a running daemon. */
function describeAsking(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file of the daemon, for its control.path')
    .option('--control <path>', 'control socket of the daemon (default: /run/oisp-host/control.sock for root)');
}

/** Names from the program down to this command. */
function ancestry(command: Command): string[] {
  return [...(command.parent ? ancestry(command.parent) : []), command.name()];
}

function build(done: (code: number) => void): Command {
  const program = new Command('oisp-host')
    .description('Sees every AI interaction on this machine without touching the applications.')
    .version(version, '-V, --version')
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
    .showSuggestionAfterError();
  const sub = (parent: Command, name: string) => {
    const command = parent.command(name).exitOverride().showSuggestionAfterError();
    const called = [...ancestry(parent), name].join(' ');
    return command.configureOutput({
      outputError: (text, write) => write(`oisp-host: ${text}  See ${called} --help.\n`),
    });
  };
  describeRun(sub(program, 'run'), done);
  sub(program, 'check')
    .description('Say what will work on this machine, what will not, and what to do about it.')
    .option('--json', 'print the findings as one JSON object')
    .addHelpText('after', EXIT_CODES)
    .action(async (flags: { json?: boolean }) => done(await check(flags)));
  describeAsking(sub(program, 'status'))
    .description('Show what the running daemon sees: the loss ledger, shards, probed files and what could not be probed, decoders.')
    .option('--json', 'print the status as one JSON object')
    .addHelpText('after', `\nExamples:\n  oisp-host status\n  oisp-host status --json | jq .ledger.lost\n${EXIT_CODES}`)
    .action(async (flags: AskFlags) => done(await status(flags)));
  describeAsking(sub(program, 'coverage'))
    .description('Show which processes with TLS or AI connections are seen, how, and why the others are not.')
    .option('-a, --all', 'show idle processes too: those that use a probed library and said nothing since')
    .option('--json', 'print the report as one JSON object')
    .addHelpText('after', `\nExamples:\n  oisp-host coverage\n  oisp-host coverage --json | jq '.rows[] | select(.state == "not_readable")'\n${EXIT_CODES}`)
    .action(async (flags: CoverageFlags) => done(await coverage(flags)));
  describeDecode(sub(program, 'decode'), done);
  sub(program, 'replay')
    .description('Decode a recording made with run --record. The same bytes give the same events.')
    .argument('<file>', 'recording')
    .option('-o, --output <file>', 'append events to this file; - is standard output (default: -)')
    .addOption(new Option('-f, --format <format>', 'how events are written (default: pretty on a terminal, else jsonl)').choices(['jsonl', 'pretty']))
    .option('--json', 'at the end, print all statistics as one JSON object on standard error')
    .option('-q, --quiet', 'say nothing but warnings on standard error')
    .addHelpText('after', EXIT_CODES)
    .action(async (file: string, flags: ReplayFlags) => done(await replay(file, flags)));
  describeDecoders(sub, sub(program, 'decoders').description('Look at the decoder modules, and change those of a running daemon.'), done);
  return program;
}

function describeDecoders(sub: (parent: Command, name: string) => Command, decoders: Command, done: (code: number) => void): void {
  describeAsking(sub(decoders, 'list'))
    .description('List the decoder modules of the running daemon, or those that one would load: version, hash, and the records each consumes and produces.')
    .option('--installed', 'those on disk, whatever runs')
    .option('--json', 'print the list as one JSON array')
    .action(async (flags: ListFlags) => done(await listDecoders(flags)));
  sub(decoders, 'verify')
    .description('Try a decoder module: the rules of the ABI, and how it bears bytes that mean no good. Needs no privileges and no daemon.')
    .argument('<file>', 'WebAssembly module')
    .option('--timeout <seconds>', 'when a module is taken to hang (default: 60)', integer(1, 3600))
    .option('--json', 'print the verdict as one JSON object')
    .addHelpText('after', `\nExample:\n  oisp-host decoders verify my-decoder.wasm\n${EXIT_CODES}`)
    .action(async (file: string, flags: { json?: boolean; timeout?: number }) => done(await verifyDecoder(file, flags)));
  sub(decoders, 'new')
    .description('Make the folder of a decoder of your own: an AssemblyScript module that works, with vectors and a test.')
    .argument('<name>', 'name of the module: a to z, 0 to 9 and -')
    .option('--folder <folder>', 'where to make it (default: a folder of that name here)')
    .option('--json', 'print what was made as one JSON object')
    .addHelpText('after', `\nExample:\n  oisp-host decoders new tool-gateway\n${EXIT_CODES}`)
    .action((name: string, flags: NewFlags) => done(newDecoder(name, flags)));
  describeAsking(sub(decoders, 'swap'))
    .description(
      'Put a module into the place of the one of that name, or beside the others, while the daemon runs. It is verified and tried beside the one in use first; what is open is handed over, and the first fault of its first ten seconds takes it out again.',
    )
    .argument('<name>', 'name of the module')
    .argument('<file>', 'WebAssembly module')
    .option('--json', 'print what was done as one JSON object')
    .addHelpText('after', `\nExample:\n  oisp-host decoders swap ai ./ai.wasm\n${EXIT_CODES}`)
    .action(async (name: string, file: string, flags: AskFlags) => done(await swapDecoder(name, file, flags)));
  describeAsking(sub(decoders, 'rollback'))
    .description('Put the module back that was in use before.')
    .argument('<name>', 'name of the module')
    .option('--json', 'print what was done as one JSON object')
    .addHelpText('after', EXIT_CODES)
    .action(async (name: string, flags: AskFlags) => done(await rollbackDecoder(name, flags)));
  for (const [verb, pinned, what] of [
    ['pin', true, 'Keep a module: it is neither swapped nor rolled back until it is unpinned.'],
    ['unpin', false, 'Let a pinned module be swapped and rolled back again.'],
  ] as const) {
    describeAsking(sub(decoders, verb))
      .description(what)
      .argument('<name>', 'name of the module')
      .option('--json', 'print what was done as one JSON object')
      .addHelpText('after', EXIT_CODES)
      .action(async (name: string, flags: AskFlags) => done(await pinDecoder(name, flags, pinned)));
  }
}

async function main(): Promise<number> {
  let code = 0;
  try {
    await build((exit) => {
      code = exit;
    }).parseAsync();
  } catch (error) {
    // Commander has already said what is wrong; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.success : ExitCode.usage;
    return tellError(error);
  }
  return code;
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that went away (| head) is told by the sink's counters; anything else is a defect.
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await main();
