// One shared buffer for decoded text that is needed for a moment only; each use ends the one before.
import { JsonFlag, jsonFlags, jsonLength, jsonText } from '../../lib/json';
import { bufAppendText, bufAt, bufLength, bufSetLength } from './buf';
import { TEXT_LIMIT } from './answer';

let buf: usize = 0;
let length: u32 = 0;

/** Address of the decoded text of a string node, valid as long as the node is, or until the next call. */
export function decodedText(node: usize): usize {
  if (jsonFlags(node) & JsonFlag.DECODED || !jsonFlags(node)) {
    length = jsonLength(node);
    return jsonText(node);
  }
  bufSetLength(buf, 0);
  buf = bufAppendText(buf, jsonText(node), jsonLength(node), jsonFlags(node), TEXT_LIMIT);
  length = bufLength(buf);
  return bufAt(buf);
}

/** Bytes of the text decoded last. */
export function decodedLength(): u32 {
  return length;
}
