// Adds hashes of content (after redaction, so that no hash can confirm a guessed secret): message content, system prompt, tool arguments and
// results.
import { hash } from 'node:crypto';
import type { OispEvent } from '../../events/event.js';

interface MessageLike {
  role?: string;
  content?: unknown;
  content_hash?: string;
}

const sha256 = (text: string): string => `sha256:${hash('sha256', text, 'hex')}`;

/** Adds the hashes in place. */
export function addDigests(event: OispEvent): OispEvent {
  const { data } = event;
  const messages = data['messages'];
  if (Array.isArray(messages)) {
    for (const message of messages as MessageLike[]) {
      if (typeof message.content === 'string') message.content_hash = sha256(message.content);
    }
    const system = (messages as MessageLike[]).find((message) => message.role === 'system')?.content_hash;
    if (system !== undefined) data['system_prompt_hash'] = system;
  }
  const calls = data['tool_calls'];
  if (Array.isArray(calls)) for (const call of calls as Record<string, unknown>[]) addArgumentsHash(call);
  addArgumentsHash(data);
  const result = data['result'];
  if (typeof result === 'string') data['result_hash'] = sha256(result);
  return event;
}

function addArgumentsHash(holder: Record<string, unknown>): void {
  const value = holder['arguments'];
  if (value !== undefined) holder['arguments_hash'] = sha256(typeof value === 'string' ? value : JSON.stringify(value));
}
