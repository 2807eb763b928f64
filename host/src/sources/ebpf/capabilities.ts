// Reads which capabilities this process has; changes none.
import { readFileSync } from 'node:fs';
import { isErrno } from './tls-file.js';

/** Numbers of linux/capability.h. */
export const Capability = { CAP_SYS_PTRACE: 19, CAP_SYS_ADMIN: 21, CAP_SYS_RESOURCE: 24, CAP_PERFMON: 38, CAP_BPF: 39 } as const;
export type CapabilityName = keyof typeof Capability;

/** Names of the effective capabilities, of those the sensor uses. @param status text of /proc/self/status. */
export function effectiveCapabilities(status = ownStatus()): Set<CapabilityName> {
  const hex = /^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0';
  const bits = BigInt(`0x${hex}`);
  const names = Object.keys(Capability) as CapabilityName[];
  return new Set(names.filter((name) => ((bits >> BigInt(Capability[name])) & 1n) === 1n));
}

/** Whether programs may be loaded at all: older kernels know only CAP_SYS_ADMIN. */
export function mayLoad(have: ReadonlySet<CapabilityName>): boolean {
  return have.has('CAP_SYS_ADMIN') || (have.has('CAP_BPF') && have.has('CAP_PERFMON'));
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
