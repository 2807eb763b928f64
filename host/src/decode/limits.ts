// The most a module of the chain is given.
import type { DecoderLimits } from './decoder-module.js';

const MEBI = 1024 * 1024;

export const CHAIN_LIMITS: DecoderLimits = {
  /** A source's batch or another module's lane. */
  inBytes: MEBI,
  outBytes: MEBI,
  /** One event with 8 MiB of content, with room. */
  eventOutBytes: 24 * MEBI,
  maxConnections: 16384,
  memoryBytes: 512 * MEBI,
};
