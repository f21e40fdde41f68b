// The ranking of the Usage page: devices, groups, applications, categories or interfaces, heaviest first.

import { downColumn, totalColumn, upColumn } from '../parts/columns.js';
import { h, setText } from '../parts/dom.js';
import { bytesFigure, compareText, words } from '../parts/format.js';
import { periodParameters } from '../parts/period.js';
import { twoLines } from '../parts/pieces.js';
import { Table } from '../parts/table.js';
import { address } from '../route.js';

/** What a ranking is by. `none`: the name of what belongs to none; `href(key, parameters)`: the page of a row. */
export const KINDS = {
  device: { label: 'Devices', one: 'Device', none: null, href: (key, parameters) => address('devices', key, parameters) },
  group: { label: 'Groups', one: 'Group', none: 'In no group', href: (key) => address('devices', '', { group: key }) },
  application: { label: 'Applications', one: 'Application', none: null, href: (key, parameters) => address('applications', key, parameters) },
  category: { label: 'Categories', one: 'Category', none: 'Without a category', href: null },
  interface: { label: 'Interfaces', one: 'Interface', none: 'Before interfaces were counted', href: null },
};

/**
 * A row of `/usage`, or its totals, with `bytes_down` and `bytes_up` without local traffic, `local`: local bytes in
 * both directions, and `before`: bytes of the period before without local traffic, or null.
 */
export function rowOf(row) {
  const { previous } = row;
  return {
    key: row.key, name: row.name, share: row.share,
    bytes_down: row.bytes_down - row.local_down,
    bytes_up: row.bytes_up - row.local_up,
    local: row.local_down + row.local_up,
    before: previous ? previous.bytes_down + previous.bytes_up - previous.local_down - previous.local_up : null,
  };
}

const total = (row) => row.bytes_down + row.bytes_up;

/** The change against the period before: `+12%`, `14×`, `New`, or a dash, also for a row that `isPartial`. */
export function changeText(row) {
  if (row.isPartial || row.before === null || (row.before === 0 && total(row) === 0)) return '–';
  if (row.before === 0) return 'New';
  const ratio = total(row) / row.before;
  if (ratio >= 100) return '> 100×';
  if (ratio >= 10) return `${Math.round(ratio)}×`;
  const percent = Math.round(100 * (ratio - 1));
  return percent === 0 ? '±0%' : `${percent > 0 ? '+' : '−'}${Math.abs(percent)}%`;
}

/** How a change ranks: new rows first. */
const ratio = (row) => (row.isPartial ? 1 : row.before ? total(row) / row.before : total(row) ? Infinity : 1);

/** The table of a ranking. */
export class Ranking {
  constructor(navigate) {
    this.label = h('span', {});
    this.table = new Table({
      caption: 'Ranking', key: (row) => `${row.by} ${row.key}`, sort: { id: 'share', descending: true },
      onsort: () => navigate({ sort: this.table.sortText }),
      columns: [
        { id: 'name', label: this.label, style: 'main', compare: (a, b) => compareText(a.title, b.title),
          cell: () => twoLines((row) => ({ href: row.href, title: row.title, below: row.below })) },
        { id: 'share', label: 'Share', style: 'figure middle share', descending: true, compare: (a, b) => total(a) - total(b), cell: shareCell },
        downColumn(), upColumn(), totalColumn(),
        bytesColumn('local', 'Local', 'wide'), bytesColumn('before', 'Before', 'wide'),
        { id: 'change', label: 'Change', style: 'figure change', descending: true, compare: (a, b) => Math.sign(ratio(a) - ratio(b)) || 0, cell: changeCell },
      ],
    });
    this.node = this.table.node;
  }

  close() {
    this.table.close();
  }

  /** Sort as the route says. */
  setRoute(route) {
    if (this.table.sortText !== route.get('sort')) this.table.sortText = route.get('sort');
    return false;
  }

  /**
   * Show the document of `/usage`, which is `by` one of `KINDS`. Links keep the period of `route`. `isPartial`: data of
   * the period before is missing, so that nothing is compared with it.
   */
  set(by, usage, route, isPartial) {
    const kind = KINDS[by];
    const parameters = periodParameters(route);
    setText(this.label, kind.one);
    const rows = usage.usage.map((each) => {
      const row = rowOf(each);
      const name = by === 'category' ? words(row.name) : row.name;
      return {
        ...row, by, isPartial, title: row.key === null ? kind.none : name ?? row.key,
        href: row.key === null || !kind.href ? null : kind.href(row.key, parameters),
        below: by === 'device' && name !== null && name !== row.key ? row.key : '',
      };
    });
    if (this.by === by) this.table.set(rows);
    else this.table.reset(rows);
    this.by = by;
  }
}

function bytesColumn(id, label, style) {
  return {
    id, label, style: `figure ${style}`, descending: true, compare: (a, b) => a[id] - b[id],
    cell: () => {
      const { node, update } = bytesFigure();
      return { node, update: (row) => update(row[id]) };
    },
  };
}

function shareCell() {
  const text = h('span', {});
  const bar = h('span', {});
  return {
    node: h('span', {}, text, h('span', { class: 'share-bar', 'aria-hidden': 'true' }, bar)),
    update(row) {
      const percent = row.share === null ? null : 100 * row.share;
      setText(text, percent === null ? '–' : percent < 1 && total(row) > 0 ? '< 1%' : `${Math.round(percent)}%`);
      bar.style.width = `${Math.min(Math.max(percent ?? 0, 0), 100)}%`;
    },
  };
}

function changeCell() {
  const node = h('span', {});
  return { node, update: (row) => setText(node, changeText(row)) };
}
