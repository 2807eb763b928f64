// agent.tool_result: what a program gave back for a call, told with the first request that carries it; it never judges what the result says.
//
// A request repeats the whole history. What is new in it stands after the last message of the model, and a request that is sent again says the
// same again: the ids of results that were told are remembered.
import { Status } from '../../abi/module';
import { EventType } from '../../abi/events';
import { hash64 } from '../../lib/bytes';
import { Entry, Table } from '../../lib/table';
import { counters } from './counters';
import { emit } from './emit';
import { Exchange } from './exchange';
import { giveNumbers, Tag } from './handed';
import { formatOf } from './formats';
import { hasLoss, openReasons, pairCommonMeta, pairExt, pairLimitations, pairMissing, reason } from './meta';
import { closeResult, openResult } from './messages';
import { keyOfNode } from './nodes';
import { close, hexText, key, openMap, pairBool, pairLiteral, pairNode } from './out';
import { Result } from './result';
import { decodedLength, decodedText } from './scratch';
import { toolType } from './tools';

/** Results of one request that are told; what a program gives back at once is one per call of an answer. */
const MOST_RESULTS: u32 = 256;

@unmanaged
class Told extends Entry {
  /** The instance that took this one's place knows of it. */
  given: bool = false;
}

let told: Table = changetype<Table>(0);
/** Entries that are not given. */
let fresh: u32 = 0;

/** @param limit results remembered; the one told longest ago is forgotten first. */
export function initResults(limit: u32): void {
  told = new Table(limit);
}

/** Tells what is new, in order. Status.FULL: call again with the same tape. */
export function tellResults(x: Exchange, root: usize): i32 {
  const format = formatOf(x.format);
  while (format.seekResult(root, x.results)) {
    if (x.results == MOST_RESULTS) {
      counters.resultsLeftOut++;
      break;
    }
    if (!wasTold(x)) {
      const side = x.request;
      if (emit(x, EventType.TOOL_RESULT, side.headTs, side.origin, x.results, writeResultData, writeResultMeta) == Status.FULL) return Status.FULL;
      noteTold(x);
    }
    x.results++;
  }
  return Status.DONE;
}

function keyOf(x: Exchange): u64 {
  return hash64(x.conversation + Result.ordinal, keyOfNode(Result.id), 3);
}

/** Whether the result at hand was told with an earlier request. */
function wasTold(x: Exchange): bool {
  const found = told.find(keyOf(x));
  if (!found) return false;
  told.touch(found);
  counters.resultsRepeated++;
  return true;
}

function noteTold(x: Exchange): void {
  counters.toolResults++;
  remember(keyOf(x));
}

function remember(key: u64): void {
  if (told.count >= told.limit) {
    const oldest = told.oldest;
    if (!changetype<Told>(oldest).given) fresh--;
    told.remove(oldest);
    heap.free(oldest);
  }
  const entry = new Told();
  entry.key = key;
  told.insert(changetype<usize>(entry));
  fresh++;
}

/** Results are told apart by exchanges that go on here, too: they are given and kept. False: no room in the lane; call again. */
export function giveResults(): bool {
  for (let at = told.oldest; at && fresh > 0; at = changetype<Told>(at).newer) {
    const entry = changetype<Told>(at);
    if (entry.given) continue;
    if (!giveNumbers(Tag.RESULT, entry.key)) return false;
    entry.given = true;
    fresh--;
  }
  return true;
}

export function takeResult(key: u64): void {
  if (!told.find(key)) remember(key);
}

function writeResultData(x: Exchange, _index: u32): void {
  if (Result.name) {
    key('tool');
    openMap();
    pairNode('name', Result.name);
    const at = decodedText(Result.name);
    pairLiteral('type', toolType(at, decodedLength()));
    close();
  }
  pairNode('call_id', Result.id);
  if (Result.failed || Result.succeeded) pairBool('success', !Result.failed);
  if (Result.failed) {
    key('error');
    openMap();
    pairLiteral('type', 'tool_error');
    close();
  }
  openResult();
  formatOf(x.format).addResult(Result.content);
  closeResult();
  key('request_id');
  hexText('req_', x.key);
  key('conversation_id');
  hexText('conv_', x.conversation);
}

function writeResultMeta(x: Exchange, _index: u32): void {
  const format = formatOf(x.format);
  const loss = hasLoss(x.request);
  pairCommonMeta(x, format, loss);
  openReasons();
  reason('tool_result_captured');
  if (x.inferred) reason('provider_inferred_from_model');
  close();
  if (loss) pairMissing('request_body_bytes', x.request.missing);
  pairLimitations(false);
  pairExt(x, format, false);
}
