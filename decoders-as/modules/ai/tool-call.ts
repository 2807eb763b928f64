// agent.tool_call: one call of an answer as an event, with what its tool's name says of the risk; it never runs or judges the arguments.
import { hash64 } from '../../lib/bytes';
import { Call, callAt } from './answer';
import { pairObjectArguments } from './arguments';
import { bufAt, bufLength } from './buf';
import { Exchange, isStream, Request } from './exchange';
import { formatOf } from './formats';
import { hasLoss, openReasons, pairCommonMeta, pairExt, pairLimitations, pairMissing, reason } from './meta';
import { bytesText, close, hexText, item, key, literal, openArray, openMap, pairBuf, pairLiteral } from './out';
import { startsWith } from './text';
import { toolType } from './tools';

/** The arguments of the call at hand were no JSON object. Set while data is written, read while meta is. */
let invalidArguments: bool = false;

/** The call's id, or one derived from its exchange and place. */
export function pairCallId(name: string, x: Exchange, call: Call, ordinal: u32): void {
  if (pairBuf(name, call.id)) return;
  key(name);
  hexText('call_', hash64(x.key, ordinal, 2));
}

/** Length of the server's name in mcp__server__tool, or -1. */
function serverLength(at: usize, length: u32): i32 {
  if (!startsWith(at, length, 'mcp__')) return -1;
  for (let i: u32 = 6; i + 2 < length; i++) if (load<u16>(at + i) == 0x5f5f) return <i32>i - 5;
  return -1;
}

/** Writes tool{name, type, provider, server}. Returns the type. */
export function pairTool(call: Call): string {
  const at = bufAt(call.name);
  const length = bufLength(call.name);
  const server = serverLength(at, length);
  const skip: u32 = server < 0 ? 0 : <u32>server + 7;
  const type = toolType(at + skip, length - skip);
  key('tool');
  openMap();
  pairBuf('name', call.name);
  pairLiteral('type', type);
  pairLiteral('provider', server >= 0 || call.mcp || bufLength(call.server) ? 'mcp' : 'native');
  if (server >= 0) {
    key('server');
    bytesText(at + 5, server);
  } else pairBuf('server', call.server);
  close();
  return type;
}

/**
 * The rule, by tool type alone: what runs code or drives a machine is high; what changes files or data, or reaches out, is medium; what reads is low;
 * and so is what the name says nothing about, which is marked as such.
 */
function writeRisk(type: string): void {
  let level = 'low';
  let why = 'read_only_tool';
  if (type == 'shell' || type == 'terminal') {
    level = 'high';
    why = 'runs_commands';
  } else if (type == 'code_execution') {
    level = 'high';
    why = 'runs_code';
  } else if (type == 'computer_use') {
    level = 'high';
    why = 'controls_computer';
  } else if (type == 'file_write' || type == 'file_edit') {
    level = 'medium';
    why = 'changes_files';
  } else if (type == 'database') {
    level = 'medium';
    why = 'reaches_database';
  } else if (type == 'browser' || type == 'http' || type == 'api_call') {
    level = 'medium';
    why = 'reaches_network';
  } else if (type == 'other') why = 'unclassified_tool';
  pairLiteral('risk_level', level);
  key('risk_reasons');
  openArray();
  if (item()) literal(why);
  close();
}

export function writeCallData(x: Exchange, index: u32): void {
  const call = callAt(x.answer, index);
  const type = pairTool(call);
  pairCallId('call_id', x, call, index);
  if (x.state != Request.CANDIDATE) pairLiteral('triggered_by', 'llm_decision');
  invalidArguments = !pairObjectArguments(bufAt(call.args), bufLength(call.args));
  writeRisk(type);
  // A call that a program makes itself belongs to no request to a model.
  if (x.state == Request.CANDIDATE) return;
  key('request_id');
  hexText('req_', x.key);
  if (x.state == Request.LOST) return;
  key('conversation_id');
  hexText('conv_', x.conversation);
}

export function writeCallMeta(x: Exchange, _index: u32): void {
  const format = formatOf(x.format);
  const loss = hasLoss(x.response) && (invalidArguments || x.response.gaps > 0);
  pairCommonMeta(x, format, loss || invalidArguments);
  openReasons();
  reason('llm_tool_call_observed');
  if (isStream(x.response.mode)) reason('streaming_reassembled');
  if (x.inferred) reason('provider_inferred_from_model');
  if (invalidArguments) reason('tool_arguments_invalid_json');
  close();
  if (loss) pairMissing('response_body_bytes', x.response.missing);
  pairLimitations(x.answer.cut);
  pairExt(x, format, true);
}
