// Hands over to the instance that takes this one's place what outlives an exchange: results that were told, verdicts, pipes. Exchanges end where they
// began: they are claimed, and one version of the module decodes the whole of each.
import { Claims, defineHandover, giving, Handed, writeClaim } from '../../abi/handover';
import { Status } from '../../abi/module';
import { Reader } from '../../abi/reader';
import { Entry } from '../../lib/table';
import { claimsOver, Exchange, exchangeCount, exchangeKey, findExchange, oldestExchange } from './exchange';
import { Tag } from './handed';
import { giveStdio, takeStdio } from './mcp-stdio';
import { giveResults, takeResult } from './tool-result';
import { giveVerdicts, takeVerdict, watchedCount } from './verdict';

/** Is this exchange another instance's? */
export function isForeign(conn: u64, stream: u32): bool {
  return giving ? !findExchange(conn, stream) : Claims.has(exchangeKey(conn, stream));
}

/** Status.FULL: to be called again. */
function give(whole: bool, again: bool): i32 {
  if (again) for (let at = oldestExchange(); at; at = changetype<Entry>(at).newer) changetype<Exchange>(at).claimed = false;
  for (; claimsOver.length >= 8; claimsOver.length -= 8) {
    if (!writeClaim(Handed.RELEASE, load<u64>(claimsOver.ptr + claimsOver.length - 8))) return Status.FULL;
  }
  for (let at = oldestExchange(); at; at = changetype<Entry>(at).newer) {
    const x = changetype<Exchange>(at);
    if (x.claimed) continue;
    if (!writeClaim(Handed.CLAIM, x.key)) return Status.FULL;
    x.claimed = true;
  }
  if (!whole) return Status.DONE;
  return giveResults() && giveVerdicts() && giveStdio() ? Status.DONE : Status.FULL;
}

function take(tag: u32, at: usize, end: usize): i32 {
  Reader.open(at, end);
  if (tag == Tag.RESULT) takeResult(Reader.uint());
  else if (tag == Tag.WATCHED) takeVerdict(Reader.uint(), Reader.uint(), Reader.uint());
  else takeStdio(tag);
  return Reader.failed ? Status.BAD : Status.DONE;
}

function held(): u32 {
  return exchangeCount() + watchedCount();
}

export function initHandover(): void {
  defineHandover(1, 0, give, take, held);
}
