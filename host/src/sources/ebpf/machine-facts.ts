// Reads the facts of this kernel and this process that capture depends on; changes nothing and judges each fact by itself.
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { type CapabilityName, type CapabilityUse, capabilityUses, effectiveCapabilities } from './capabilities.js';
import { olderThan } from './kernel-release.js';
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
    ...capabilityUses(source.release).map((use) => capabilityCheck(use, capabilities)),
  ];
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

/** One capability that this kernel asks for. Its name is the capability's, in lower case. */
function capabilityCheck(use: CapabilityUse, have: ReadonlySet<CapabilityName>): PreflightCheck {
  const name = use.name.toLowerCase();
  if (have.has(use.name)) return { name, status: 'ok', detail: use.purpose };
  if (use.adminDoes && have.has('CAP_SYS_ADMIN')) return { name, status: 'ok', detail: `CAP_SYS_ADMIN ${use.purpose}` };
  const missing = { name, detail: `missing: it ${use.purpose}`, hint: `Run as root, or add ${use.name}.` };
  // Releases before July 2025 were content with CAP_PERFMON: only the trial shows which this is.
  if (use.name === 'CAP_SYS_ADMIN' && have.has('CAP_BPF') && have.has('CAP_PERFMON')) return { ...missing, status: 'warn' };
  return use.vital ? { ...missing, status: 'fail', means: 'permission' } : { ...missing, status: 'warn' };
}
