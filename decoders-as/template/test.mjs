// Decodes the bytes of each vector with this module in the chain, whole and byte by byte, and compares its events with those that the vector wants.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const OISP_HOST = process.env.OISP_HOST ?? 'oisp-host';

/** Events of this module, as far as the vector says what they are. */
function decode(name, more = []) {
  const response = `vectors/${name}.response`;
  const files = ['--request', `vectors/${name}.request`, ...(existsSync(response) ? ['--response', response] : [])];
  const lines = execFileSync(OISP_HOST, ['decode', '--decoder', 'build/@NAME@.wasm', ...files, ...more], { encoding: 'utf8' });
  const events = lines
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return events.filter(({ ext }) => ext.oisp_host.decoder.startsWith('@NAME@@')).map(({ event_type, data, event_id }) => ({ event_type, data, event_id }));
}

for (const file of readdirSync('vectors').filter((one) => one.endsWith('.events.json'))) {
  const name = file.slice(0, -'.events.json'.length);
  test(name, () => {
    const wanted = JSON.parse(readFileSync(`vectors/${file}`, 'utf8'));
    const whole = decode(name);
    assert.deepEqual(
      whole.map(({ event_id: _, ...rest }) => rest),
      wanted,
    );
    assert.deepEqual(decode(name, ['--chunk', '1']), whole, 'the events must not depend on how the bytes are cut');
  });
}
