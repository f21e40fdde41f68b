// The traffic of each device or application in a period, for lists that have a row for every one of them.

import { get } from '../agent/api.js';
import { csvLink } from './csv_link.js';
import { h, setText } from './dom.js';
import { readHistory, timesText } from './period.js';

const LIMIT = 10_000; // the maximum of the API
const FIELDS = 'key,bytes_up,bytes_down,local_up,local_down';
const NOTHING = { bytes_up: 0, bytes_down: 0 };
const UNKNOWN = { bytes_up: null, bytes_down: null };

/**
 * The sums of a period by device or application, from `/usage`. `note` says which time they cover, `csv` is a link to
 * them. `document` is what was read last, or null.
 */
export class PeriodSums {
  /** `by`: `device` or `application`. */
  constructor(by) {
    this.by = by;
    this.document = null;
    this.rows = new Map();
    this.csv = csvLink('Download CSV');
    this.note = h('p', { class: 'note sums' }, '\u00a0');
  }

  /** Read the sums of `period`, unless it has ended and was read before. */
  async read(period) {
    // Hours and days of a time from and to begin where those of the gateway's history do.
    if (period.hasBucketPerBar && !period.kind) await readHistory('history', period);
    const parameters = period.usageParameters;
    const key = JSON.stringify(parameters);
    if (key !== this.key || period.isCurrent) {
      this.document = await get('usage', { by: this.by, ...parameters, fields: FIELDS, limit: LIMIT });
      this.rows = new Map(this.document.usage.map((row) => [row.key, row]));
    }
    this.key = key;
    this.parameters = parameters;
    setText(this.note, `Download and upload: ${timesText(period, this.document)}, with local traffic`);
  }

  /** Whether every row was read. */
  get isComplete() {
    return this.document !== null && this.document.usage.length === this.document.total;
  }

  /** The bytes of a device or an application; null if they are not known. */
  of(key) {
    const row = this.rows.get(key);
    if (row) return { bytes_up: row.bytes_up, bytes_down: row.bytes_down };
    return this.isComplete ? NOTHING : UNKNOWN;
  }

  /** Make the link one to the sums, sorted by name or by bytes. `more`: further parameters of `/usage`. */
  linkCsv(sort, more = {}) {
    const byName = sort?.id === 'name' ? { sort: 'name', order: sort.descending ? 'desc' : 'asc' } : { sort: 'bytes' };
    this.csv.update('usage', { by: this.by, ...this.parameters, ...byName, ...more, limit: LIMIT, format: 'csv' });
  }
}
