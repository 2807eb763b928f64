// The ai module: http.head, http.body and http.end in, ai.request, ai.response and agent.tool_call out. It holds bounded state and never drops an event silently.
//
//   http.head ──► exchange (conn, stream) ── request: CANDIDATE or OTHER
//   http.body ──► body.ts: kept (JSON) or fed to lib/sse.ts (streams), else dropped
//   http.end  ──► request: request.ts ── ai.request        response: response.ts ── ai.response, agent.tool_call, exchange freed
import { giving } from '../../abi/handover';
import { beforeReturn, defineModule, setError, stat, Status } from '../../abi/module';
import { Completeness, InitFlag, Kind, Role } from '../../abi/records';
import { Reader } from '../../abi/reader';
import { jsonInit } from '../../lib/json';
import { invalidUtf8 } from '../../lib/json-text';
import { eventsHeld } from '../../lib/eventstream';
import { sseHeld } from '../../lib/sse';
import { returnLent, takeBody } from './body';
import { bufHeld, bufInit, bufRefused } from './buf';
import { setNow } from './clock';
import { counters } from './counters';
import { addExchange, Exchange, exchangeCount, exchangesFull, findExchange, freeExchange, initExchanges, oldestExchange, Request, Side } from './exchange';
import { initHandover, isForeign } from './handover';
import { Head, readHead, takeRequestHead, takeResponseHead } from './head';
import { settleRpc } from './mcp';
import { initStdio, takePipe } from './mcp-stdio';
import { settleRequest } from './request';
import { settleResponse } from './response';
import { initResults } from './tool-result';
import { initVerdicts, judge } from './verdict';

export { oisp_give, oisp_held, oisp_state_schema, oisp_take } from '../../abi/handover';
export {
  oisp_abi,
  oisp_manifest,
  oisp_init,
  oisp_in,
  oisp_out,
  oisp_process,
  oisp_consumed,
  oisp_resume,
  oisp_out_len,
  oisp_tick,
  oisp_flush,
  oisp_stats,
  oisp_last_error,
} from '../../abi/module';

/** Bytes of all bodies and texts together. */
const BUDGET: u32 = 128 << 20;
const TAPE_NODES: u32 = 1 << 19;
/** Decoded texts of one request, which are no longer than their source, and their heads. */
const TEXT_BYTES: usize = 9 << 20;
/** The smallest lane in which any event fits once its content is cut. */
const LEAST_LANE: u32 = 1 << 20;
/** An exchange without a record for this long is given up. */
const IDLE_SECONDS: u64 = 900;
/** Ids of tool results: with each turn the history comes again, and none of it is news. */
const RESULTS_REMEMBERED: u32 = 8192;
const SECOND: u64 = 1000000000;

/** What servers of this machine are asked is told too. */
let serverSide: bool = false;

function onInit(outCap: u32, flags: u32, maxConns: u32): i32 {
  serverSide = (flags & InitFlag.SERVER_SIDE) != 0;
  if (outCap < LEAST_LANE) {
    setError('the out lanes must have at least ', LEAST_LANE);
    return -1;
  }
  bufInit(BUDGET);
  jsonInit(TAPE_NODES, TEXT_BYTES);
  initExchanges(maxConns);
  initVerdicts(maxConns);
  initResults(RESULTS_REMEMBERED);
  initStdio();
  return 0;
}

/** Tells what can be told, in order, and frees the exchange when nothing more can come. Status.FULL: call again. */
function settle(x: Exchange): i32 {
  if (x.request.ended && settleRequest(x) == Status.FULL) return Status.FULL;
  if (!x.response.ended || x.state == Request.CANDIDATE) return Status.DONE;
  if (x.state == Request.RPC) {
    if (settleRpc(x) == Status.FULL) return Status.FULL;
  } else if (x.state != Request.OTHER && settleResponse(x) == Status.FULL) return Status.FULL;
  if (judge(x) == Status.FULL) return Status.FULL;
  freeExchange(changetype<usize>(x));
  return Status.DONE;
}

function abort(x: Exchange, side: Side): void {
  if (side.ended) return;
  side.ended = true;
  side.completeness = Completeness.ABORTED;
  side.endTs = x.lastTs;
}

/** Nothing more will come of this exchange: tells what is known of it. Status.FULL: call again. */
function giveUp(x: Exchange): i32 {
  if (x.request.seen) abort(x, x.request);
  abort(x, x.response);
  return settle(x);
}

function onHead(at: usize, end: usize): i32 {
  if (!readHead(at, end)) return Status.BAD;
  if (Head.role == Role.SERVER) {
    if (!Head.response && !giving) counters.serverSide++;
    if (!serverSide) return Status.DONE;
  }
  if (isForeign(Head.conn, Head.stream)) return Status.DONE;
  let found = findExchange(Head.conn, Head.stream);
  if (!found) {
    if (exchangesFull()) {
      const oldest = oldestExchange();
      if (giveUp(changetype<Exchange>(oldest)) == Status.FULL) return Status.FULL;
      counters.evicted++;
    }
    found = addExchange(Head.conn, Head.stream);
  }
  const x = changetype<Exchange>(found);
  x.lastTs = Head.ts;
  if (Head.response) takeResponseHead(x);
  else if (!x.request.seen) takeRequestHead(x);
  return Status.DONE;
}

function onBody(at: usize, end: usize): i32 {
  Reader.open(at, end);
  const conn = Reader.uint();
  const stream = <u32>Reader.uint();
  const response = Reader.uint() == 1;
  Reader.uint();
  const ts = Reader.uint();
  const offset = Reader.uint();
  const bytes = Reader.bin();
  if (Reader.failed) return Status.BAD;
  const length = Reader.length;
  const found = findExchange(conn, stream);
  if (!found) return Status.DONE;
  const x = changetype<Exchange>(found);
  if (ts) x.lastTs = ts;
  setNow(ts);
  takeBody(x, response, offset, bytes, length);
  return Status.DONE;
}

function onEnd(at: usize, end: usize): i32 {
  Reader.open(at, end);
  const conn = Reader.uint();
  const stream = <u32>Reader.uint();
  const response = Reader.uint() == 1;
  Reader.uint();
  const ts = Reader.uint();
  const completeness = <u32>Reader.uint();
  const missing = Reader.uint();
  const wire = Reader.uint();
  // body_bytes, error, first_body_ts
  for (let i = 0; i < 3; i++) Reader.skip();
  if (Reader.failed) return Status.BAD;
  const shed = Reader.at < end ? Reader.uint() : 0;
  const found = findExchange(conn, stream);
  if (!found) return Status.DONE;
  const x = changetype<Exchange>(found);
  const side = response ? x.response : x.request;
  x.lastTs = ts;
  setNow(ts);
  if (!side.ended) {
    side.ended = true;
    side.endTs = ts;
    side.completeness = completeness;
    side.missing = missing;
    side.shed = shed;
    side.wire = wire;
    if (response && !side.seen && completeness == Completeness.FULL) side.completeness = Completeness.ABORTED;
  }
  return settle(x);
}

function onRecord(kind: u32, at: usize, end: usize): i32 {
  let status = Status.DONE;
  if (kind == Kind.HTTP_BODY) status = onBody(at, end);
  else if (kind == Kind.HTTP_HEAD) status = onHead(at, end);
  else if (kind == Kind.HTTP_END) status = onEnd(at, end);
  else if (kind == Kind.PIPE_DATA) status = takePipe(at, end);
  if (status == Status.BAD) setError('a record with other elements than the ABI has, kind ', kind);
  return status;
}

function onTick(seconds: u32): void {
  const now = <u64>seconds * SECOND;
  for (let oldest = oldestExchange(); oldest; oldest = oldestExchange()) {
    const x = changetype<Exchange>(oldest);
    if (x.lastTs + IDLE_SECONDS * SECOND > now || giveUp(x) == Status.FULL) return;
    counters.expired++;
  }
}

function onFlush(): bool {
  for (let oldest = oldestExchange(); oldest; oldest = oldestExchange()) {
    if (giveUp(changetype<Exchange>(oldest)) == Status.FULL) return true;
  }
  return false;
}

function onStats(): void {
  stat('requests', counters.requests);
  stat('responses', counters.responses);
  stat('tool_calls', counters.toolCalls);
  stat('tool_results', counters.toolResults);
  stat('tool_results_repeated', counters.resultsRepeated);
  stat('tool_results_left_out', counters.resultsLeftOut);
  stat('records_malformed', counters.malformed);
  stat('rpc_ambiguous', counters.rpcAmbiguous);
  stat('orphan_responses', counters.orphans);
  stat('other_requests', counters.otherRequests);
  stat('server_side_requests', counters.serverSide);
  stat('notes_not_ai', counters.notAi);
  stat('stream_events', counters.streamEvents);
  stat('stream_events_by_template', counters.templateHits);
  stat('stream_events_invalid', counters.badEvents);
  stat('stream_events_too_long', counters.longEvents);
  stat('json_invalid', counters.badJson);
  stat('json_too_deep', counters.deepValues);
  stat('unknown_parts', counters.unknownParts);
  stat('unknown_types', counters.unknownTypes);
  stat('body_gaps', counters.gaps);
  stat('capped', counters.capped);
  stat('appends_refused', bufRefused);
  stat('content_cut', counters.contentCut);
  stat('events_unfit', counters.unfit);
  stat('evicted', counters.evicted);
  stat('expired', counters.expired);
  stat('utf8_replaced', invalidUtf8);
  stat('exchanges_open', exchangeCount());
  stat('bytes_held', <u64>bufHeld + sseHeld + eventsHeld);
}

defineModule(
  'ai',
  '0.1.0',
  [Kind.PIPE_DATA, Kind.HTTP_HEAD, Kind.HTTP_BODY, Kind.HTTP_END],
  [Kind.CONN_NOTE, Kind.EVENT],
  onInit,
  onRecord,
  onTick,
  onFlush,
  onStats,
);
beforeReturn(returnLent);
initHandover();
