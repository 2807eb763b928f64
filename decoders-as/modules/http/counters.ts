// What the http module counts: byte ledger, messages, limits and errors by reason; it never decides anything.
//
// The ledger, exact between calls:
//   in = framing + body_wire + unrecognised + resync + duplicate + pending
import { stat, recordsOut } from '../../abi/module';
import { hpackBytes } from '../../lib/hpack';

/** Why a message is not full, and why bytes were skipped. */
export namespace Fault {
  export const NONE: u32 = 0;
  export const BOTH_FRAMINGS: u32 = 1;
  export const LENGTHS_DIFFER: u32 = 2;
  export const BAD_LENGTH: u32 = 3;
  export const BAD_TRANSFER: u32 = 4;
  export const TRANSFER_IN_1_0: u32 = 5;
  export const NOT_CHUNKED: u32 = 6;
  export const OBS_FOLD: u32 = 7;
  export const BARE_CR: u32 = 8;
  export const BARE_LF: u32 = 9;
  export const BAD_NAME: u32 = 10;
  export const NUL_VALUE: u32 = 11;
  export const LONG_FRAMING: u32 = 12;
  export const BAD_CHUNK_SIZE: u32 = 13;
  export const BAD_CHUNK_END: u32 = 14;
  export const BAD_DEFLATE: u32 = 15;
  export const SHORT_DEFLATE: u32 = 16;
  /** Counted only: there is no message to end. */
  export const START_LINE: u32 = 17;
  /** Counted only: any stream may have lost something. */
  export const BAD_FRAME: u32 = 18;
  export const LONG_BLOCK: u32 = 19;
  export const BAD_BLOCK: u32 = 20;
  export const LENGTH_DIFFERS: u32 = 21;
  /** From here on a limit of the decoder, not a fault of the bytes. */
  export const OTHER_CODING: u32 = 22;
  export const TRANSFER_CODING: u32 = 23;
  export const BODY_LIMIT: u32 = 24;
  export const NO_RESPONSE: u32 = 25;
  export const MANY_REQUESTS: u32 = 26;
  export const RESET: u32 = 27;
  export const GOAWAY: u32 = 28;
  export const MANY_STREAMS: u32 = 29;
  export const NO_END: u32 = 30;
  export const COUNT: u32 = 31;
}

/** http.end.error */
export function faultText(fault: u32): string {
  switch (fault) {
    case Fault.BOTH_FRAMINGS:
      return 'content-length and transfer-encoding';
    case Fault.LENGTHS_DIFFER:
      return 'content-lengths differ';
    case Fault.BAD_LENGTH:
      return 'bad content-length';
    case Fault.BAD_TRANSFER:
      return 'bad transfer-encoding';
    case Fault.TRANSFER_IN_1_0:
      return 'transfer-encoding in HTTP/1.0';
    case Fault.NOT_CHUNKED:
      return 'transfer-encoding of a request does not end with chunked';
    case Fault.OBS_FOLD:
      return 'obs-fold';
    case Fault.BARE_CR:
      return 'bare CR';
    case Fault.BARE_LF:
      return 'bare LF';
    case Fault.BAD_NAME:
      return 'bad header name';
    case Fault.NUL_VALUE:
      return 'NUL in a header value';
    case Fault.LONG_FRAMING:
      return 'framing header over 16 KiB';
    case Fault.BAD_CHUNK_SIZE:
      return 'bad chunk size';
    case Fault.BAD_CHUNK_END:
      return 'chunk not ended by CRLF';
    case Fault.BAD_DEFLATE:
      return 'bad compressed data';
    case Fault.SHORT_DEFLATE:
      return 'compressed data ends early';
    case Fault.START_LINE:
      return 'bad start line';
    case Fault.BAD_FRAME:
      return 'bad frame';
    case Fault.LONG_BLOCK:
      return 'header block over 256 KiB';
    case Fault.BAD_BLOCK:
      return 'bad header block';
    case Fault.LENGTH_DIFFERS:
      return 'body of another length than content-length';
    case Fault.OTHER_CODING:
      return 'content-encoding not decoded';
    case Fault.TRANSFER_CODING:
      return 'transfer coding not decoded';
    case Fault.BODY_LIMIT:
      return 'body over its limit';
    case Fault.NO_RESPONSE:
      return 'response never seen';
    case Fault.RESET:
      return 'stream reset';
    case Fault.GOAWAY:
      return 'not looked at by the server (GOAWAY)';
    case Fault.MANY_STREAMS:
      return 'too many open streams';
    case Fault.NO_END:
      return 'end never seen';
  }
  return 'too many requests without a response';
}

function faultName(fault: u32): string {
  switch (fault) {
    case Fault.BOTH_FRAMINGS:
      return 'error_both_framings';
    case Fault.LENGTHS_DIFFER:
      return 'error_content_lengths_differ';
    case Fault.BAD_LENGTH:
      return 'error_content_length';
    case Fault.BAD_TRANSFER:
      return 'error_transfer_encoding';
    case Fault.TRANSFER_IN_1_0:
      return 'error_transfer_encoding_1_0';
    case Fault.NOT_CHUNKED:
      return 'error_not_chunked';
    case Fault.OBS_FOLD:
      return 'error_obs_fold';
    case Fault.BARE_CR:
      return 'error_bare_cr';
    case Fault.BARE_LF:
      return 'error_bare_lf';
    case Fault.BAD_NAME:
      return 'error_header_name';
    case Fault.NUL_VALUE:
      return 'error_header_value';
    case Fault.LONG_FRAMING:
      return 'error_long_framing_header';
    case Fault.BAD_CHUNK_SIZE:
      return 'error_chunk_size';
    case Fault.BAD_CHUNK_END:
      return 'error_chunk_end';
    case Fault.BAD_DEFLATE:
      return 'error_compressed_data';
    case Fault.SHORT_DEFLATE:
      return 'error_compressed_short';
    case Fault.START_LINE:
      return 'error_start_line';
    case Fault.BAD_FRAME:
      return 'error_frame';
    case Fault.LONG_BLOCK:
      return 'error_long_header_block';
    case Fault.BAD_BLOCK:
      return 'error_header_block';
    case Fault.LENGTH_DIFFERS:
      return 'error_body_length';
    case Fault.OTHER_CODING:
      return 'capped_content_encoding';
    case Fault.TRANSFER_CODING:
      return 'capped_transfer_coding';
    case Fault.BODY_LIMIT:
      return 'capped_body_limit';
    case Fault.NO_RESPONSE:
      return 'responses_never_seen';
    case Fault.RESET:
      return 'streams_reset';
    case Fault.GOAWAY:
      return 'streams_refused';
    case Fault.MANY_STREAMS:
      return 'capped_streams';
    case Fault.NO_END:
      return 'ends_never_seen';
  }
  return 'responses_not_tracked';
}

export namespace Count {
  export let inBytes: u64 = 0;
  export let framing: u64 = 0;
  export let bodyWire: u64 = 0;
  export let unrecognised: u64 = 0;
  export let resync: u64 = 0;
  export let duplicate: u64 = 0;
  /** In heads and lines that are not complete yet. */
  export let pending: u64 = 0;
  export let gap: u64 = 0;
  export let gaps: u64 = 0;
  /** Bytes that a verdict left out. */
  export let skipped: u64 = 0;
  export let skips: u64 = 0;
  /** Bytes that were not copied because of the rate of their process. */
  export let shed: u64 = 0;
  export let notAi: u64 = 0;
  export let bodyOut: u64 = 0;
  export let heads: u64 = 0;
  export let headsCut: u64 = 0;
  export let headsLost: u64 = 0;
  export let ends: u64 = 0;
  export let endsNotFull: u64 = 0;
  export let informational: u64 = 0;
  export let resyncs: u64 = 0;
  export let joined: u64 = 0;
  export let connections: u64 = 0;
  export let evicted: u64 = 0;
  export let expired: u64 = 0;
  export let opaque: u64 = 0;
  export let h2: u64 = 0;
  export let h2Frames: u64 = 0;
  export let h2Streams: u64 = 0;
  export let h2Expired: u64 = 0;
  export let h2Pushes: u64 = 0;
  /** Header fields that refer to entries of a table whose beginning was not seen. */
  export let h2Unknown: u64 = 0;
  export let upgraded: u64 = 0;
  export let malformed: u64 = 0;
  export let unknownClose: u64 = 0;
  export let afterDeflate: u64 = 0;
  export let implausible: u64 = 0;
}

const faults: usize = memory.data(8 * 40);

export function countFault(fault: u32): void {
  const at = faults + ((<usize>fault) << 3);
  store<u64>(at, load<u64>(at) + 1);
}

export function writeStats(open: u32, openStreams: u32, held: u64): void {
  stat('in_bytes', Count.inBytes);
  stat('framing_bytes', Count.framing);
  stat('body_wire_bytes', Count.bodyWire);
  stat('unrecognised_bytes', Count.unrecognised);
  stat('resync_bytes', Count.resync);
  stat('duplicate_bytes', Count.duplicate);
  stat('pending_bytes', Count.pending);
  stat('gap_bytes', Count.gap);
  stat('gaps', Count.gaps);
  stat('skipped_bytes', Count.skipped);
  stat('skips', Count.skips);
  stat('shed_bytes', Count.shed);
  stat('notes_not_ai', Count.notAi);
  stat('body_out_bytes', Count.bodyOut);
  stat('heads', Count.heads);
  stat('heads_cut', Count.headsCut);
  stat('heads_lost', Count.headsLost);
  stat('ends', Count.ends);
  stat('ends_not_full', Count.endsNotFull);
  stat('informational', Count.informational);
  stat('resyncs', Count.resyncs);
  stat('joined_streams', Count.joined);
  stat('connections', Count.connections);
  stat('connections_open', open);
  stat('connections_evicted', Count.evicted);
  stat('connections_expired', Count.expired);
  stat('connections_opaque', Count.opaque);
  stat('connections_h2', Count.h2);
  stat('h2_frames', Count.h2Frames);
  stat('h2_streams', Count.h2Streams);
  stat('h2_streams_open', openStreams);
  stat('h2_table_bytes', hpackBytes);
  stat('h2_streams_expired', Count.h2Expired);
  stat('h2_pushes', Count.h2Pushes);
  stat('h2_fields_unknown', Count.h2Unknown);
  stat('connections_upgraded', Count.upgraded);
  stat('records_malformed', Count.malformed);
  stat('closes_unknown', Count.unknownClose);
  stat('after_compressed_bytes', Count.afterDeflate);
  stat('connections_implausible', Count.implausible);
  stat('texts_replaced', recordsOut.replaced);
  stat('buffer_bytes', held);
  for (let fault: u32 = 1; fault < Fault.COUNT; fault++) stat(faultName(fault), load<u64>(faults + ((<usize>fault) << 3)));
}
