// Reads the facts of this kernel and this process that capture depends on; changes nothing and judges each fact by itself.
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { type CapabilityName, effectiveCapabilities, mayLoad } from './capabilities.js';
import { isErrno } from './tls-file.js';

/** One fact, judged. A failing one says in hint what to do. */
export interface PreflightCheck {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  readonly hint?: string;
  /** What a failure means for the verdict. */
  readonly means?: 'permission' | 'unsupported';
}

/** Where facts come from; tests give their own. */
export interface FactSource {
  readonly release: string;
  readonly arch: string;
  /** Text of a file of /proc or /sys; undefined when it does not exist or may not be read. */
  readonly read: (path: string) => string | undefined;
}

export const thisMachine: FactSource = {
  release: release(),
  arch: process.arch,
  read: (path) => {
    try {
      return readFileSync(path, 'latin1');
    } catch (error) {
      if (isErrno(error)) return undefined;
      throw error;
    }
  },
};

const NEEDED_RELEASE = [5, 8] as const;
/** First kernel with uprobe_multi links. */
const MULTI_RELEASE = [6, 6] as const;
const UPROBE_PMU = '/sys/bus/event_source/devices/uprobe/type';
const BTF = '/sys/kernel/btf/vmlinux';

/** All facts that can be read without loading anything. */
export function machineChecks(source: FactSource = thisMachine): PreflightCheck[] {
  const capabilities = effectiveCapabilities(source.read('/proc/self/status') ?? '');
  return [
    kernelCheck(source),
    architectureCheck(source),
    presenceCheck(source, 'btf', BTF, 'Use a kernel built with CONFIG_DEBUG_INFO_BTF=y; every current distribution has one.'),
    presenceCheck(source, 'uprobes', UPROBE_PMU, 'Use a kernel built with CONFIG_UPROBE_EVENTS=y, and mount /sys.'),
    lockdownCheck(source),
    loadRights(capabilities),
    probeRights(source, capabilities),
    ptraceRights(capabilities),
    memlockRights(source, capabilities),
  ];
}

/** major.minor of a release; [0, 0] when it has none. */
export function releaseNumbers(text: string): [number, number] {
  const match = /^([0-9]+)\.([0-9]+)/.exec(text);
  return match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
}

function olderThan(release: string, needed: readonly [number, number]): boolean {
  const [major, minor] = releaseNumbers(release);
  return major < needed[0] || (major === needed[0] && minor < needed[1]);
}

function kernelCheck({ release }: FactSource): PreflightCheck {
  if (!olderThan(release, NEEDED_RELEASE)) return { name: 'kernel', status: 'ok', detail: `Linux ${release}` };
  return {
    name: 'kernel',
    status: 'fail',
    detail: `Linux ${release} has no BPF ring buffer: only recordings can be replayed on this machine`,
    hint: 'Upgrade to Linux 5.8 or later to capture.',
    means: 'unsupported',
  };
}

function architectureCheck({ arch }: FactSource): PreflightCheck {
  if (arch === 'x64' || arch === 'arm64') return { name: 'architecture', status: 'ok', detail: arch };
  return {
    name: 'architecture',
    status: 'fail',
    detail: `${arch} is not supported`,
    hint: 'Use an x86-64 or arm64 machine.',
    means: 'unsupported',
  };
}

function presenceCheck(source: FactSource, name: string, path: string, hint: string): PreflightCheck {
  // BTF is megabytes long: the first look is enough, and it is only done by `check`.
  if (source.read(path) !== undefined) return { name, status: 'ok', detail: path };
  return { name, status: 'fail', detail: `${path} is missing`, hint, means: 'unsupported' };
}

function lockdownCheck(source: FactSource): PreflightCheck {
  const mode = /\[([a-z]+)\]/.exec(source.read('/sys/kernel/security/lockdown') ?? '')?.[1] ?? 'none';
  if (mode !== 'confidentiality') return { name: 'lockdown', status: 'ok', detail: mode };
  return {
    name: 'lockdown',
    status: 'fail',
    detail: 'confidentiality: the kernel lets no program read its memory',
    hint: 'Boot with lockdown=integrity or without lockdown.',
    means: 'unsupported',
  };
}

function loadRights(have: ReadonlySet<CapabilityName>): PreflightCheck {
  if (mayLoad(have)) return { name: 'load_rights', status: 'ok', detail: [...have].join(' ') };
  return {
    name: 'load_rights',
    status: 'fail',
    detail: `BPF programs need CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN; this process has ${[...have].join(' ') || 'none of them'}`,
    hint: 'Run as root.',
    means: 'permission',
  };
}

function probeRights(source: FactSource, have: ReadonlySet<CapabilityName>): PreflightCheck {
  const paranoid = source.read('/proc/sys/kernel/perf_event_paranoid')?.trim() ?? 'unknown';
  const detail = `perf_event_paranoid ${paranoid}`;
  if (have.has('CAP_SYS_ADMIN')) return { name: 'probe_rights', status: 'ok', detail };
  if (have.has('CAP_PERFMON') && have.has('CAP_BPF') && !olderThan(source.release, MULTI_RELEASE)) {
    return { name: 'probe_rights', status: 'ok', detail: 'uprobe_multi links need no CAP_SYS_ADMIN' };
  }
  return {
    name: 'probe_rights',
    status: have.has('CAP_PERFMON') ? 'warn' : 'fail',
    detail: `${detail}, without CAP_SYS_ADMIN: kernels before 6.6 refuse uprobes for every process then`,
    hint: 'Run as root, or add CAP_SYS_ADMIN.',
    means: 'permission',
  };
}

function ptraceRights(have: ReadonlySet<CapabilityName>): PreflightCheck {
  if (have.has('CAP_SYS_PTRACE')) return { name: 'process_rights', status: 'ok', detail: 'CAP_SYS_PTRACE' };
  return {
    name: 'process_rights',
    status: 'warn',
    detail: 'without CAP_SYS_PTRACE the programs and libraries of other users stay unknown',
    hint: 'Run as root, or add CAP_SYS_PTRACE.',
  };
}

function memlockRights(source: FactSource, have: ReadonlySet<CapabilityName>): PreflightCheck {
  const counts = olderThan(source.release, [5, 11]);
  if (!counts || have.has('CAP_SYS_RESOURCE'))
    return { name: 'memory_rights', status: 'ok', detail: counts ? 'CAP_SYS_RESOURCE' : 'not needed on this kernel' };
  return {
    name: 'memory_rights',
    status: 'fail',
    detail: 'kernels before 5.11 count BPF memory against the memlock limit, and CAP_SYS_RESOURCE is missing',
    hint: 'Run as root, or add CAP_SYS_RESOURCE.',
    means: 'permission',
  };
}
