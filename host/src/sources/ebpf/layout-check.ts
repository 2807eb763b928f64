// Compares the record layouts of the loaded BPF object with those this build was generated from; decides nothing else.
import { HostError } from '../../errors.js';
import { type FieldLayout, layouts } from '../../gen/records.js';
import type { NativeStructLayout } from './native.js';

/**
 * Refuses an object that was built from another schema: every later byte would be read at a wrong place.
 * @param layoutOf the object's own account of a struct, from its BTF.
 * @throws HostError LAYOUT that names the field and both numbers.
 */
export function checkLayouts(layoutOf: (name: string) => NativeStructLayout | undefined): void {
  for (const [name, expected] of Object.entries(layouts)) {
    const actual = layoutOf(name);
    if (actual === undefined) refuse(`struct ${name} is not in the BPF object`);
    if (actual.size !== expected.size) refuse(`struct ${name} has ${actual.size} bytes in the BPF object and ${expected.size} in this build`);
    if (actual.fields.length !== expected.fields.length) {
      refuse(`struct ${name} has ${actual.fields.length} fields in the BPF object and ${expected.fields.length} in this build`);
    }
    for (const field of expected.fields) checkField(name, field, actual);
  }
}

function checkField(struct: string, expected: FieldLayout, layout: NativeStructLayout): void {
  const actual = layout.fields.find((field) => field.name === expected.name);
  const place = (field: { offset: number; size: number }): string => `offset ${field.offset}, ${field.size} bytes`;
  if (actual === undefined) refuse(`${struct}.${expected.name} is not in the BPF object`);
  if (actual.offset !== expected.offset || actual.size !== expected.size) {
    refuse(`${struct}.${expected.name} is at ${place(actual)} in the BPF object and at ${place(expected)} in this build`);
  }
}

function refuse(difference: string): never {
  throw new HostError('LAYOUT', `The BPF object does not fit this build: ${difference}`, 'Install both from the same release, or run the build again.');
}
