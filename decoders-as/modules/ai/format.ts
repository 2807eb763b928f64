// What a wire format has to bring: one subclass in one file, registered in formats.ts. It reads tapes and writes event parts, and never keeps a node.
import { bufAt, bufLength } from './buf';
import { Exchange } from './exchange';
import { find, isTrue } from './nodes';
import { endsWith, key as keyFor } from './text';

const STREAM: u64 = keyFor('stream');

/** Does the path of a request end like this? `tail` is in lower case; letters of either case match. */
export function pathEnds(x: Exchange, tail: string): bool {
  return bufLength(x.path) > 0 && endsWith(bufAt(x.path), bufLength(x.path), tail);
}

export namespace FormatId {
  export const NONE: u32 = 0;
  export const OPENAI_CHAT: u32 = 1;
  export const ANTHROPIC_MESSAGES: u32 = 2;
  export const OPENAI_RESPONSES: u32 = 3;
  export const GEMINI: u32 = 4;
  export const OLLAMA: u32 = 5;
  export const COHERE_CHAT: u32 = 6;
  export const BEDROCK_CONVERSE: u32 = 7;
  export const OPENAI_TASK: u32 = 8;
  export const MCP: u32 = 9;
}

/** The stream event at hand, where events have names beside their data (AWS event streams). */
export namespace StreamEvent {
  /** Key of the name; 0: it has none. */
  export let name: u64 = 0;
}

export abstract class Format {
  /** Name under ext.oisp_host.format. */
  abstract name(): string;

  /** Provider id of a host that no row of the registry names. */
  abstract fallbackProvider(): string;

  /** The schema's request_type. */
  requestType(_x: Exchange): string {
    return 'chat';
  }

  /** Did the request ask for a stream? */
  asksForStream(x: Exchange, root: usize): bool {
    return isTrue(find(root, STREAM)) || pathEnds(x, ':streamgeneratecontent') || pathEnds(x, ':streamrawpredict') || pathEnds(x, '-stream');
  }

  /** Adds what makes two requests one conversation to the hash of text.ts: the system prompt and the first user message. */
  abstract hashConversation(root: usize): void;

  /** Writes the pairs of ai.request that come from the body: messages up to parameters. `root` may be of any kind. */
  abstract writeRequest(root: usize): void;

  /**
   * Finds a result that the program gave back since the model's last message, and puts it into Result.
   * @param index of the results in the order of the request, from 0.
   * @returns whether there is one.
   */
  abstract seekResult(root: usize, index: u32): bool;

  /** Adds the text of a result's content to the open text. */
  abstract addResult(content: usize): void;

  /** Fills x.answer from a whole response body. */
  abstract readJson(x: Exchange, root: usize): void;

  /**
   * Fills x.answer from one event of a stream.
   * @returns the string node whose text was all that mattered (x.target and x.targetLimit say where it went), or 0.
   */
  abstract readEvent(x: Exchange, root: usize): usize;

  /** The finish reason as the schema spells it. @param calls the answer has tool calls. */
  abstract finishReason(raw: u64, calls: bool): string;

  /** The stream went on to its own end sign. */
  abstract isDone(x: Exchange): bool;
}
