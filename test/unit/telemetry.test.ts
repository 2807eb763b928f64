// Tests the metrics: valid text, the same numbers as the status, and label sets that cannot grow whatever a module calls its counters.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_MODULE_COUNTERS, metricTable } from '../../host/src/telemetry/metric-table.js';
import { Metrics } from '../../host/src/telemetry/metrics.js';
import { sampleStatus, shardStats } from '../lib/status.js';

const LINE = /^(oisp_host_[a-z_]+)(\{[a-z0-9_]+="[^"\n]*"(?:,[a-z0-9_]+="[^"\n]*")*\})? (-?[0-9.e+]+)$/;

function samples(text: string): Map<string, number> {
  const out = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# ')) continue;
    const match = LINE.exec(line);
    assert.ok(match, line);
    const key = `${match[1]}${match[2] ?? ''}`;
    assert.ok(!out.has(key), `${key} is there once`);
    out.set(key, Number(match[3]));
  }
  return out;
}

describe('metrics', () => {
  it('say what the status says', async () => {
    const { type, body } = await new Metrics().text(sampleStatus());
    assert.match(type, /^text\/plain; version=0\.0\.4/);
    const found = samples(body);
    assert.equal(found.get('oisp_host_ledger_bytes_total{stage="kernel",reason="ring_full"}'), 100);
    assert.equal(found.get('oisp_host_ledger_lost_bytes_total{reason="ring_full"}'), 100);
    assert.equal(found.get('oisp_host_ledger_held_bytes{stage="ring",reason="in_flight"}'), 0);
    assert.equal(found.get('oisp_host_kernel_calls_total{bucket="seen"}'), 4);
    assert.equal(found.get('oisp_host_sink_events_total{sink="jsonl",outcome="written"}'), 3);
    assert.equal(found.get('oisp_host_module_counter{module="http",counter="framing_bytes"}'), 900);
    assert.equal(found.get('oisp_host_discovery_files_total{outcome="known"}'), 4);
    assert.equal(found.get('oisp_host_process_cpu_seconds_total{mode="user"}'), 1.5);
  });

  it('name every metric of the table, counters and gauges by their rules', async () => {
    const { body } = await new Metrics().text(sampleStatus());
    for (const [name, { kind, help, labels }] of Object.entries(metricTable)) {
      assert.ok(body.includes(`# TYPE oisp_host_${name} ${kind}\n`), name);
      assert.ok(body.includes(`# HELP oisp_host_${name} ${help}\n`), name);
      assert.equal(name.endsWith('_total'), kind === 'counter', `${name}: _total is for what only grows`);
      assert.match(help, /^\S.*\.$/);
      for (const label of labels) assert.match(label, /^[a-z0-9_]+$/);
    }
  });

  it('follow a status, down as well as up, and forget what is gone', async () => {
    const metrics = new Metrics();
    await metrics.text(sampleStatus([shardStats({ http: { in_bytes: 900, framing_bytes: 900 }, other: { x: 1 } })]));
    const found = samples((await metrics.text(sampleStatus([shardStats({ http: { in_bytes: 900, framing_bytes: 7 } })]))).body);
    assert.equal(found.get('oisp_host_module_counter{module="http",counter="framing_bytes"}'), 7);
    assert.ok(![...found.keys()].some((key) => key.includes('module="other"')));
  });

  it('bound the counters of a module, and leave out names that are none', async () => {
    const many = Object.fromEntries(Array.from({ length: MAX_MODULE_COUNTERS + 10 }, (_, i) => [`c${i}`, 1]));
    const odd = { 'a"b': 1, 'with space': 1, ['x'.repeat(49)]: 1, 'evil\n# TYPE x counter': 1 };
    const found = samples((await new Metrics().text(sampleStatus([shardStats({ many, odd }), shardStats({ many, odd })]))).body);
    const counters = [...found].filter(([key]) => key.startsWith('oisp_host_module_counter{'));
    assert.equal(counters.length, MAX_MODULE_COUNTERS);
    assert.ok(
      counters.every(([, value]) => value === 2),
      'summed over both shards',
    );
    assert.equal(found.get('oisp_host_module_counters_left'), 2 * (10 + 4));
  });

  it('are not mixed up when several ask at once', async () => {
    const metrics = new Metrics();
    const of = (bytes: number) => metrics.text(sampleStatus([shardStats({ http: { framing_bytes: bytes } })]));
    const texts = await Promise.all([1, 2, 3, 4].map(of));
    for (const [i, { body }] of texts.entries()) assert.equal(samples(body).get('oisp_host_module_counter{module="http",counter="framing_bytes"}'), i + 1);
  });
});
