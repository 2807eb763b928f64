// `oisp-host coverage`: which processes with TLS or AI connections are seen, how, and why the others are not; changes nothing.
import { userInfo } from 'node:os';
import type { CoverageReport, CoverageRow, CoverageState } from '../coverage/row.js';
import { askDaemon } from './control-client.js';
import { type AskFlags, socketOf } from './status.js';
import { bytesText, paint, plainText, table } from './terminal.js';

export interface CoverageFlags extends AskFlags {
  all?: boolean;
}

type Style = Parameters<typeof paint>[1];

/** In the order they are shown: what needs attention first. */
const STATES: Readonly<Record<CoverageState, { readonly text: string; readonly style: Style }>> = {
  not_readable: { text: 'NOT READABLE', style: 'red' },
  detached: { text: 'DETACHED', style: 'red' },
  not_attached: { text: 'NOT PROBED', style: 'yellow' },
  late: { text: 'LATE', style: 'yellow' },
  waiting: { text: 'waiting', style: 'yellow' },
  readable: { text: 'readable', style: 'green' },
  idle: { text: 'idle', style: 'dim' },
};

const out = process.stdout;

/** @returns 0 when the daemon answered, whatever it sees. */
export async function coverage(flags: CoverageFlags): Promise<number> {
  const report = await askDaemon<CoverageReport>(socketOf(flags), '/v1/coverage');
  if (flags.json) out.write(`${JSON.stringify(report)}\n`);
  else out.write(`${lines(report, flags.all ?? false).join('\n')}\n`);
  return 0;
}

function lines({ rows, states, rows_left, scans_pending, hidden }: CoverageReport, all: boolean): string[] {
  const order = Object.keys(STATES);
  const shown = rows.filter(({ state }) => all || state !== 'idle').sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || a.pid - b.pid);
  const told = [];
  if (shown.length) {
    const [head = '', ...body] = table([['STATE', 'PID', 'PROGRAM', 'USER', 'READ BY', 'FIRST PLAINTEXT', 'AI', 'WHY'], ...shown.map(cells)]).split('\n');
    told.push(paint(out, 'bold', head), ...body.map((line, i) => coloured(line, shown[i] as CoverageRow)), '');
  }
  const counts = order.map((state) => [STATES[state as CoverageState].text, states[state as CoverageState]] as const).filter(([, count]) => count > 0);
  told.push(counts.length ? counts.map(([text, count]) => `${count} ${text}`).join(', ') : 'No process with TLS was seen yet.');
  if (!all && states.idle > 0) told.push(paint(out, 'dim', 'Idle: a probed library is loaded and was not used since. --all shows them.'));
  if (rows_left > 0) told.push(paint(out, 'yellow', `the report is full: ${rows_left} more left out`));
  if (hidden > 0) told.push(paint(out, 'yellow', `${hidden} of the running processes may not be looked into: whether they use TLS is not known`));
  if (scans_pending > 0) told.push(paint(out, 'yellow', `files still being searched for the reason: ${scans_pending}; ask again`));
  return told;
}

/** The state begins the line: only it is coloured, so that the columns keep their width. */
function coloured(line: string, { state }: CoverageRow): string {
  const { text, style } = STATES[state];
  return paint(out, style, text) + line.slice(text.length);
}

function cells(row: CoverageRow): string[] {
  const { state, pid, running, uid, container, reason, ai_events, not_ai, hellos, read_connections, last_hello } = row;
  const program = row.exe ?? row.arg0 ?? row.comm;
  const first = row.files.map(({ first_plaintext }) => first_plaintext).find((seen) => seen !== null);
  const why = [
    reason,
    state === 'not_readable' && last_hello ? `last to ${last_hello.sni ?? last_hello.peer ?? 'somebody'}` : null,
    state === 'readable' && hellos > read_connections ? `${hellos - read_connections} of ${hellos} handshakes gave no plaintext` : null,
  ].filter((text) => text !== null);
  return [
    STATES[state].text,
    running ? String(pid) : `${pid} (ended)`,
    `${program}${container === null ? '' : ` in ${container.slice(0, 12)}`}`,
    userName(uid),
    readBy(row),
    first ? `${first.at.slice(0, 19).replace('T', ' ')}, ${bytesText(first.bytes)}` : '-',
    ai_events > 0 ? `${ai_events} events` : not_ai > 0 ? 'none' : '-',
    why.join('; ') || '-',
  ].map(plainText);
}

function readBy({ files, state }: CoverageRow): string {
  const used = files.filter(({ first_plaintext, attached }) => (state === 'readable' ? first_plaintext !== null : attached));
  const names = used.map(({ path, family, method }) =>
    method === 'socket' ? 'socket' : `${path?.slice(path.lastIndexOf('/') + 1) ?? 'a library'} (${family ?? 'TLS'})`,
  );
  return names.join(', ') || '-';
}

function userName(uid: number | null): string {
  // Other users' names are a lookup that may go over the network; the number says enough.
  if (uid === null) return '-';
  return uid === process.getuid?.() ? userInfo().username : String(uid);
}
