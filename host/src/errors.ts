// Every failure the host can end with: a code, one sentence that says what happened, a hint that says what to do, and the exit code it means.

/** Exit codes of every command. */
export const ExitCode = {
  success: 0,
  failure: 1,
  usage: 2,
  permission: 3,
  unsupported: 4,
} as const;

const EXIT_BY_CODE = {
  /** A command line or a configuration that cannot be used. */
  USAGE: ExitCode.usage,
  CONFIG: ExitCode.usage,
  /** A file the user named cannot be read or is not what it should be. */
  INPUT: ExitCode.usage,
  /** An output cannot be opened or written. */
  OUTPUT: ExitCode.failure,
  /** No daemon answers where one was asked for. */
  NO_DAEMON: ExitCode.failure,
  PERMISSION: ExitCode.permission,
  UNSUPPORTED: ExitCode.unsupported,
  /** The loaded BPF object and this build disagree about a layout. */
  LAYOUT: ExitCode.failure,
  /** The native part could not be loaded, or failed. */
  NATIVE: ExitCode.failure,
  /** A decoder module was refused or is missing. */
  DECODER: ExitCode.failure,
  /** A recording is damaged. */
  RECORDING: ExitCode.failure,
  /** A shard worker died. */
  SHARD: ExitCode.failure,
} as const;

export type HostErrorCode = keyof typeof EXIT_BY_CODE;

/** An error that is told to the user as `message` and `hint`, without a stack. */
export class HostError extends Error {
  constructor(
    readonly code: HostErrorCode,
    message: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'HostError';
  }

  /** The exit code a command ends with on this error. */
  get exitCode(): number {
    return EXIT_BY_CODE[this.code];
  }
}

/** The errno name of a system error, or its message: for the end of a sentence. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message ?? String(error);
}
