// Compares kernel releases by their first two numbers; knows nothing of what they can do.

/** major.minor of a release; [0, 0] when it has none. */
export function releaseNumbers(text: string): [number, number] {
  const match = /^([0-9]+)\.([0-9]+)/.exec(text);
  return match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
}

export function olderThan(release: string, needed: readonly [number, number]): boolean {
  const [major, minor] = releaseNumbers(release);
  return major < needed[0] || (major === needed[0] && minor < needed[1]);
}
