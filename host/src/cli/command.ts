// Starts the program that `run -- COMMAND` observes and tells how it ended; it knows nothing of capture.
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { HostError, reasonOf } from '../errors.js';
import type { HostContext } from '../events/source.js';

/** What a shell reports for a command that does not exist, and for one that cannot be executed. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
const SIGNAL_BASE = 128;

export class ObservedCommand {
  private child: ChildProcess | undefined;

  constructor(
    private readonly argv: readonly string[],
    private readonly host: HostContext,
  ) {}

  /** Runs the command with this terminal. @returns its exit code as a shell would give it: 128 + signal when a signal ended it. */
  run(): Promise<number> {
    const [file, ...args] = this.argv;
    if (file === undefined) throw new HostError('USAGE', 'no command to run');
    return new Promise((resolve) => {
      const child = spawn(file, args, { stdio: 'inherit', ...invokingUser(this.host) });
      this.child = child;
      child.once('error', (error: NodeJS.ErrnoException) => {
        process.stderr.write(`oisp-host: cannot run ${file}: ${reasonOf(error)}\n`);
        resolve(error.code === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE);
      });
      child.once('exit', (code, signal) => resolve(code ?? SIGNAL_BASE + (signal ? constants.signals[signal] : 0)));
    });
  }

  /** Passes a signal on; one that ended already is no error. */
  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }
}

/** Under sudo the command runs as the user who called sudo: an agent must find its own home, and must not get root. */
function invokingUser(host: HostContext): { uid?: number; gid?: number; env?: NodeJS.ProcessEnv } {
  const uid = Number(process.env['SUDO_UID']);
  const gid = Number(process.env['SUDO_GID']);
  if (process.getuid?.() !== 0 || !Number.isInteger(uid) || !Number.isInteger(gid) || uid === 0) return {};
  const user = host.users[uid];
  return { uid, gid, env: { ...process.env, ...(user !== undefined && { USER: user, LOGNAME: user }) } };
}
