// One server-sent event of a response on its way into the answer; it never keeps a node and never fails on what it does not know.
import { JsonEnd, JsonKind, jsonMark, jsonParse, jsonRelease } from '../../lib/json';
import { newAnswer } from './answer';
import { counters } from './counters';
import { learn, takeDelta } from './delta';
import { Exchange } from './exchange';
import { FormatId } from './format';
import { formatOf, formatOfResponse } from './formats';
import { find, isKind } from './nodes';
import { isText, key as keyFor } from './text';

const OBFUSCATION: u64 = keyFor('obfuscation');

function fromLostRequest(x: Exchange, root: usize): bool {
  if (x.format != FormatId.NONE) return true;
  x.format = formatOfResponse(root);
  return x.format != FormatId.NONE;
}

/** The sink of lib/sse.ts. @param owner address of the Exchange. */
export function onStreamEvent(owner: usize, data: usize, length: u32, _name: usize, _nameLength: u32): void {
  const x = changetype<Exchange>(owner);
  counters.streamEvents++;
  if (takeDelta(x, data, length)) return;
  x.holeEnd = 0;
  if (!length) return;
  if (!changetype<usize>(x.answer)) x.answer = newAnswer();
  if (isText(data, length, '[done]')) {
    x.answer.done = true;
    return;
  }
  const root = jsonMark();
  const end = jsonParse(data, length, false);
  if (end != JsonEnd.WHOLE || !isKind(root, JsonKind.OBJECT)) {
    counters.badEvents++;
    if (x.format != FormatId.NONE) x.badEvents++;
  } else if (fromLostRequest(x, root)) {
    const hole = formatOf(x.format).readEvent(x, root);
    if (hole) learn(x, data, length, hole, find(root, OBFUSCATION));
  }
  jsonRelease(root);
}
