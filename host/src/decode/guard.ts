// Stops a call that does not return, in the thread that makes it: for modules that are new and not trusted yet. What it costs is a thread for each call.
import { Script } from 'node:vm';

const SLOT = Symbol.for('oisp-host.guarded');
type Slot = { [SLOT]?: () => void };
const script = new Script("globalThis[Symbol.for('oisp-host.guarded')]()");

/** A call took longer than it was given. What it was doing is undone by nobody. */
export class TookTooLong extends Error {
  constructor(readonly limitMs: number) {
    super(`did not return within ${limitMs} ms`);
    this.name = 'TookTooLong';
  }
}

/** Makes a call. @throws TookTooLong, or what the call throws. */
export function guarded(limitMs: number, call: () => void): void {
  const slot = globalThis as Slot;
  // A call within a call.
  const outer = slot[SLOT];
  slot[SLOT] = call;
  try {
    script.runInThisContext({ timeout: limitMs });
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' ? new TookTooLong(limitMs) : error;
  } finally {
    if (outer) slot[SLOT] = outer;
    else delete slot[SLOT];
  }
}
