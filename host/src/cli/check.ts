// `oisp-host check`: says what will work on this machine and what will not, and what to do about it; leaves nothing attached.
import { paths } from '../config/paths.js';
import { ExitCode } from '../errors.js';
import { preflight } from '../sources/ebpf/preflight.js';
import { paint, table } from './terminal.js';

const EXITS = { ok: ExitCode.success, permission: ExitCode.permission, unsupported: ExitCode.unsupported } as const;
const MARKS = { ok: ['green', 'ok'], warn: ['yellow', 'warn'], fail: ['red', 'FAIL'] } as const;

/** @returns 0 when capture will work, 3 when a privilege is missing, 4 when this kernel cannot do it. */
export async function check(flags: { json?: boolean }): Promise<number> {
  const result = await preflight({ objectPath: paths.bpfObject, addonPath: paths.addon });
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return EXITS[result.verdict];
  }
  const out = process.stdout;
  const width = Math.max(...result.checks.map(({ name }) => name.length));
  for (const { name, status, detail, hint } of result.checks) {
    const [style, text] = MARKS[status];
    out.write(`${paint(out, style, text.padEnd(4))}  ${name.padEnd(width)} ${detail}\n${hint === undefined || status === 'ok' ? '' : `      ${hint}\n`}`);
  }
  if (result.files.length) {
    out.write(
      `\n${paint(out, 'bold', 'TLS libraries')}\n${table(result.files.map((file) => [`  ${file.path}`, file.family, functionsText(file.functions)]))}\n`,
    );
  }
  const verdict = { ok: 'capture will work', permission: 'capture needs more privileges', unsupported: 'capture is not possible on this kernel' }[
    result.verdict
  ];
  out.write(`\n${paint(out, result.verdict === 'ok' ? 'green' : 'red', verdict)}\n`);
  return EXITS[result.verdict];
}

function functionsText(functions: readonly { symbol: string; detail?: string }[]): string {
  const usable = functions.filter(({ detail }) => detail === undefined).map(({ symbol }) => symbol);
  return usable.length ? usable.join(' ') : 'nothing to probe';
}
