// Gives the numbers of a Status in the text format of Prometheus; it counts nothing itself, so that every number has one place where it is kept.
import { Counter, Gauge, Registry } from 'prom-client';
import type { Status } from '../topology/status.js';
import { type MetricRow, metricTable } from './metric-table.js';

const PREFIX = 'oisp_host_';

export interface MetricsText {
  readonly type: string;
  readonly body: string;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #metrics: { readonly row: MetricRow; readonly metric: Counter | Gauge }[];
  #tail: Promise<unknown> = Promise.resolve();

  constructor() {
    this.#metrics = Object.entries(metricTable).map(([name, row]) => {
      const Metric = row.kind === 'counter' ? Counter : Gauge;
      return { row, metric: new Metric({ name: PREFIX + name, help: row.help, labelNames: [...row.labels], registers: [this.#registry] }) };
    });
  }

  /** The values of one status. Calls are answered one after another: they share the registry. */
  text(status: Status): Promise<MetricsText> {
    const answer = this.#tail.then(() => this.#render(status));
    this.#tail = answer.catch(() => undefined);
    return answer;
  }

  async #render(status: Status): Promise<MetricsText> {
    for (const { row, metric } of this.#metrics) {
      metric.reset();
      for (const [value, ...values] of row.samples(status)) metric.inc(Object.fromEntries(row.labels.map((label, i) => [label, values[i] ?? ''])), value);
    }
    return { type: this.#registry.contentType, body: await this.#registry.metrics() };
  }
}
