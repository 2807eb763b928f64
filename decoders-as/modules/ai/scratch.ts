// One shared buffer for decoded text that is needed for a moment only; each use ends the one before.
import { jsonFlags, jsonLength, jsonText } from '../../lib/json';
import { bufAppendText, bufAt, bufLength, bufSetLength } from './buf';
import { TEXT_LIMIT } from './answer';

let buf: usize = 0;

/** Address of the decoded text of a string node. */
export function decodedText(node: usize): usize {
  bufSetLength(buf, 0);
  buf = bufAppendText(buf, jsonText(node), jsonLength(node), jsonFlags(node), TEXT_LIMIT);
  return bufAt(buf);
}

/** Bytes of the text decoded last. */
export function decodedLength(): u32 {
  return bufLength(buf);
}
