// Knows which capabilities the sensor uses, on which kernels, for what and how long; reads which this process has and changes none.
import { readFileSync } from 'node:fs';
import { olderThan } from './kernel-release.js';
import { isErrno } from './tls-file.js';

/** Numbers of linux/capability.h. */
const BIT = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_KILL: 5,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
  CAP_CHECKPOINT_RESTORE: 40,
} as const;
export type CapabilityName = keyof typeof BIT;

/** First kernel with uprobe_multi links, which whoever may load a program may make. */
const LINKS_RELEASE = [6, 6] as const;
/** First kernel that counts BPF memory against the cgroup and not against the memlock limit. */
const CGROUP_MEMORY_RELEASE = [5, 11] as const;

/** One capability that the sensor uses on a kernel. */
export interface CapabilityUse {
  readonly name: CapabilityName;
  /** Ends a sentence that begins with "it". */
  readonly purpose: string;
  /** Until when: programs are loaded once, files are found and probed as long as the sensor runs. */
  readonly until: 'loaded' | 'stopped';
  /** Whether nothing works without it; else something is not seen. */
  readonly vital: boolean;
  /** CAP_SYS_ADMIN does it too. */
  readonly adminDoes: boolean;
}

/** What the sensor uses on a kernel, the most important first. @param release as uname has it. */
export function capabilityUses(release: string): CapabilityUse[] {
  return uses(!olderThan(release, LINKS_RELEASE), olderThan(release, CGROUP_MEMORY_RELEASE));
}

/** @param links probes are uprobe_multi links. @param memlock BPF memory counts against the memlock limit. */
function uses(links: boolean, memlock: boolean): CapabilityUse[] {
  const vital = { until: links ? 'loaded' : 'stopped', vital: true } as const;
  const looking = { until: 'stopped', vital: false } as const;
  const found: CapabilityUse[] = [
    { ...vital, name: 'CAP_BPF', purpose: 'loads BPF programs and makes their maps', adminDoes: true },
    { ...vital, name: 'CAP_PERFMON', purpose: 'lets BPF programs look at functions and tracepoints', adminDoes: true },
  ];
  if (!links)
    found.push({ ...vital, name: 'CAP_SYS_ADMIN', purpose: 'puts probes on functions through perf events, as kernels before 6.6 do', adminDoes: false });
  if (memlock) {
    const purpose = 'raises the memlock limit, against which kernels before 5.11 count BPF memory';
    found.push({ name: 'CAP_SYS_RESOURCE', purpose, until: 'loaded', vital: true, adminDoes: false });
  }
  found.push(
    { ...looking, name: 'CAP_SYS_PTRACE', purpose: 'finds the programs and libraries that processes of other users run', adminDoes: false },
    { ...looking, name: 'CAP_DAC_READ_SEARCH', purpose: 'reads programs and libraries in folders that are closed to others', adminDoes: false },
    { ...looking, name: 'CAP_CHECKPOINT_RESTORE', purpose: 'reads libraries that were replaced while a program still uses them', adminDoes: true },
  );
  return found;
}

/** Names of the effective capabilities, of those in the table above. @param status text of /proc/self/status. */
export function effectiveCapabilities(status = ownStatus()): Set<CapabilityName> {
  const hex = /^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0';
  const bits = BigInt(`0x${hex}`);
  const names = Object.keys(BIT) as CapabilityName[];
  return new Set(names.filter((name) => ((bits >> BigInt(BIT[name])) & 1n) === 1n));
}

/** Whether programs may be loaded at all: older kernels know only CAP_SYS_ADMIN. */
export function mayLoad(have: ReadonlySet<CapabilityName>): boolean {
  return have.has('CAP_SYS_ADMIN') || (have.has('CAP_BPF') && have.has('CAP_PERFMON'));
}

/**
 * What stays once everything is loaded and attached.
 * @param links whether probes are uprobe_multi links. The kernel decides, not its release: a distribution may have taken them over.
 * @param command a command is being observed, maybe of another user, to whom signals are passed on.
 */
export function lastingCapabilities(links: boolean, command: boolean): CapabilityName[] {
  const lasting = uses(links, false).filter((use) => use.until === 'stopped');
  return [...lasting.map((use) => use.name), ...(command ? (['CAP_KILL'] as const) : [])];
}

/** Bit n: capability n. */
export function capabilityMask(names: readonly CapabilityName[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(BIT[name])), 0n);
}

function ownStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'latin1');
  } catch (error) {
    // Without /proc nothing is known to be allowed.
    if (isErrno(error)) return '';
    throw error;
  }
}
