// Reads the msgpack that decoder modules put out; the one place that says how its integers become numbers.
import { Unpackr } from 'msgpackr';

/** 'auto': a number where it is exact, else a BigInt. The type declaration of msgpackr does not list it. */
export const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'auto' as 'number' });
