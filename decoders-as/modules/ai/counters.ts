// The module's counters, by the names that oisp_stats gives them; each only ever goes up.
@unmanaged
export class Counters {
  requests: u32 = 0;
  responses: u32 = 0;
  toolCalls: u32 = 0;
  toolResults: u32 = 0;
  /** Records of the kernel that are not what their layout says. */
  malformed: u32 = 0;
  /** Responses through pipes that more than one open request may be of. */
  rpcAmbiguous: u32 = 0;
  resultsRepeated: u32 = 0;
  resultsLeftOut: u32 = 0;
  streamEvents: u32 = 0;
  templateHits: u32 = 0;
  otherRequests: u32 = 0;
  serverSide: u32 = 0;
  orphans: u32 = 0;
  notAi: u32 = 0;
  capped: u32 = 0;
  evicted: u32 = 0;
  expired: u32 = 0;
  gaps: u32 = 0;
  badJson: u32 = 0;
  badEvents: u32 = 0;
  longEvents: u32 = 0;
  deepValues: u32 = 0;
  unknownParts: u32 = 0;
  unknownTypes: u32 = 0;
  contentCut: u32 = 0;
  unfit: u32 = 0;
}

export const counters: Counters = new Counters();
