// Tests what commands print to a person: nothing of another program's text is a command to the terminal, and numbers have units.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bytesText, durationText, plainText } from '../../host/src/cli/terminal.js';

describe('text for a terminal', () => {
  it('shows control characters of paths and names instead of sending them', () => {
    assert.equal(plainText('/tmp/\u001b[2Ja\nb\u202ec'), '/tmp/\\u{1b}[2Ja\\u{a}b\\u{202e}c');
    assert.equal(plainText('/usr/bin/näme 世界'), '/usr/bin/näme 世界');
  });
  it('has two units of time at most', () => {
    const told = [0.4, 5.9, 60, 61, 3_600, 7_500, 90_000, 86_400 + 59].map(durationText);
    assert.deepEqual(told, ['0 s', '5 s', '1 min', '1 min 1 s', '1 h', '2 h 5 min', '1 d 1 h', '1 d']);
  });
  it('has one unit of size', () => {
    assert.deepEqual([0, 1023, 1024, 1536 * 1024].map(bytesText), ['0 B', '1023 B', '1.0 KiB', '1.5 MiB']);
  });
});
