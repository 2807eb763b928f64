// The tool result at hand: what a format found of it, until it looks for another one. All are nodes of the tape of the request.
export class Result {
  /** Id of the call, a string. */
  static id: usize = 0;
  /** 0 when the id is the call's own; else it is a name, and this its place in the history. */
  static ordinal: u32 = 0;
  /** What the program gave back, of any kind; 0: nothing. */
  static content: usize = 0;
  /** Name of the tool, a string, or 0 when the request does not tell it. */
  static name: usize = 0;
  /** The program says that the tool failed, or that it did not; formats that say neither leave both unset. */
  static failed: bool = false;
  static succeeded: bool = false;
}
