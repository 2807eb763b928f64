// Turns errors of the native addon into what a user can act on; never hides the original, which stays the cause.
import { release } from 'node:os';
import { HostError, reasonOf } from '../../errors.js';
import { capabilityUses, effectiveCapabilities, mayLoad } from './capabilities.js';
import { loadNative, type NativeAddon } from './native.js';

const PERMISSION = new Set(['EPERM', 'EACCES']);
/** What kernels without BTF, ring buffers or BPF answer, and libbpf's words for it. */
const UNSUPPORTED = new Set(['EACCES', 'EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'ESRCH', 'E2BIG']);

/** Whether an errno name means missing rights. */
export function isPermission(reason: string): boolean {
  return PERMISSION.has(reason);
}

/** Loads the addon. @throws HostError NATIVE. */
export function openAddon(path: string): NativeAddon {
  try {
    return loadNative(path);
  } catch (error) {
    throw new HostError(
      'NATIVE',
      `The native part cannot be loaded: ${firstLine(error)}`,
      'Run `npm start` again to build it, or install the package for this machine.',
      {
        cause: error,
      },
    );
  }
}

/** An error of load(): permission, an unsupported kernel, or a fault of the native part. */
export function loadFailure(error: unknown): HostError {
  if (error instanceof HostError) return error;
  const reason = reasonOf(error);
  const text = firstLine(error);
  const cause = { cause: error };
  // EACCES with the rights at hand is the kernel's verifier speaking.
  if (reason === 'EPERM' || (reason === 'EACCES' && !mayLoad(effectiveCapabilities()))) {
    return new HostError('PERMISSION', `The kernel refused the BPF programs: ${text}`, rightsHint(), cause);
  }
  if (UNSUPPORTED.has(reason)) {
    return new HostError(
      'UNSUPPORTED',
      `This kernel does not accept the BPF programs: ${text}`,
      'Capture needs Linux 5.8 or later with BTF (/sys/kernel/btf/vmlinux).',
      cause,
    );
  }
  if (reason === 'ENOENT') {
    return new HostError('NATIVE', `The BPF object is missing: ${text}`, 'Run `npm start` again to build it.', cause);
  }
  return new HostError('NATIVE', `The BPF programs could not be loaded: ${text}`, undefined, cause);
}

/** An error of attachUprobe(). Without enough rights some kernels say EPERM and others EACCES. */
export function probeFailure(error: unknown): HostError {
  const reason = reasonOf(error);
  const cause = { cause: error };
  if (isPermission(reason)) return probesRefused(reason, cause);
  return new HostError('UNSUPPORTED', `This kernel does not accept the probe: ${firstLine(error)}`, 'Use a kernel built with CONFIG_UPROBE_EVENTS=y.', cause);
}

/** What is said when the kernel lets programs be loaded and not attached to user code. */
export function probesRefused(reason: string, options?: ErrorOptions): HostError {
  return new HostError(
    'PERMISSION',
    `The kernel refused the uprobes (${reason})`,
    'Run as root, or with CAP_SYS_ADMIN beside CAP_BPF and CAP_PERFMON: uprobes need it on this kernel.',
    options,
  );
}

/** An error of reducePrivileges(). */
export function privilegesKept(error: unknown): HostError {
  const hint = 'Start again; if it happens again, report it with the output of `oisp-host check`.';
  return new HostError('NATIVE', `Privileges that are no longer needed could not be dropped: ${firstLine(error)}`, hint, { cause: error });
}

/** Names what this process lacks of what the kernel asks for. */
function rightsHint(): string {
  const have = effectiveCapabilities();
  const missing = capabilityUses(release()).filter((use) => use.vital && !have.has(use.name) && !(use.adminDoes && have.has('CAP_SYS_ADMIN')));
  return missing.length === 0
    ? 'Run as root in the initial user namespace: the capabilities of this process are of no use to the kernel here.'
    : `Run as root, or add ${missing.map((use) => use.name).join(', ')}; \`oisp-host check\` says what each is for.`;
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] as string;
}
