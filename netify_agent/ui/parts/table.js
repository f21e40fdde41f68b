// A sortable table with virtual scrolling: only the rows in the viewport are in the DOM.

import { arrange, h, icon, setAttribute, show } from './dom.js';

const OVERSCAN_ROWS = 6; // rendered above and below the viewport
const RENDER_ALL_MAX = 60; // tables of up to this many rows are rendered in full

/**
 * A table of items.
 *
 * A column is `{id, label, cell, compare, descending, style}`. `cell()` returns `{node, update(item)}` for one row.
 * `compare(a, b)` makes the column sortable, `descending` sets the initial direction. `style` is the class of its
 * cells; `wide` and `middle` are hidden on narrow screens.
 */
export class Table {
  /**
   * `caption` is for screen readers. `key(item)` identifies an item. `sort` is `{id, descending}`, or null to keep
   * the order of the items. `onview(items)` is called with the items in the viewport, `onsort(sort)` when the user
   * sorts.
   */
  constructor({ caption, columns, key, style = null, sort = null, onview = () => {}, onsort = () => {} }) {
    this.columns = columns;
    this.defaultSort = sort;
    this.onsort = onsort;
    this.isPrinting = false;
    this.key = key;
    this.sort = sort;
    this.onview = onview;
    this.items = [];
    this.rows = new Map();
    this.rowHeight = 56;
    this.headers = columns.map((column) => this.headerCell(column));
    // One cell, without colspan: a colspan would give width to columns that are hidden on narrow screens.
    this.above = h('tr', { class: 'space', 'aria-hidden': 'true' }, h('td', {}));
    this.below = h('tr', { class: 'space', 'aria-hidden': 'true' }, h('td', {}));
    this.body = h('tbody', {});
    this.table = h('table', { class: style }, h('caption', { class: 'hidden' }, caption),
      h('thead', {}, h('tr', { 'aria-rowindex': '1' }, ...this.headers)), this.body);
    this.node = h('div', { class: 'sheet' }, this.table);
    this.onscroll = () => {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        this.render();
      });
    };
    window.addEventListener('scroll', this.onscroll, { passive: true });
    window.addEventListener('resize', this.onscroll, { passive: true });
    this.onprint = ({ type }) => {
      this.isPrinting = type === 'beforeprint';
      this.render();
    };
    for (const type of ['beforeprint', 'afterprint']) window.addEventListener(type, this.onprint);
  }

  close() {
    window.removeEventListener('scroll', this.onscroll);
    window.removeEventListener('resize', this.onscroll);
    for (const type of ['beforeprint', 'afterprint']) window.removeEventListener(type, this.onprint);
    if (this.frame) cancelAnimationFrame(this.frame);
  }

  headerCell(column) {
    if (!column.compare) return h('th', { scope: 'col', class: column.style }, column.label);
    return h('th', { scope: 'col', class: column.style, 'data-column': column.id },
      h('button', { type: 'button', class: 'sort', onclick: () => this.sortBy(column) }, column.label, icon('sort')));
  }

  sortBy(column) {
    const isSorted = this.sort?.id === column.id;
    this.sort = { id: column.id, descending: isSorted ? !this.sort.descending : Boolean(column.descending) };
    this.sortItems();
    this.render();
    this.onsort(this.sort);
  }

  /** The sort order as text of the address, such as `-rate`; null for the default. */
  get sortText() {
    const { sort, defaultSort } = this;
    if (sort === null || (sort.id === defaultSort?.id && sort.descending === defaultSort.descending)) return null;
    return `${sort.descending ? '-' : ''}${sort.id}`;
  }

  /** Sort as `text` says, or in the default order if it is null or unknown. */
  set sortText(text) {
    const [, sign, id] = /^(-?)(.*)$/.exec(text ?? '');
    const column = this.columns.find((each) => each.id === id && each.compare);
    this.sort = column ? { id, descending: sign === '-' } : this.defaultSort;
    this.sortItems();
    this.render();
  }

  /** Show `items`. While the pointer or the focus is in the table, rows keep their order. */
  set(items) {
    if (this.items.length && this.body.matches(':hover, :focus-within')) {
      const fresh = new Map(items.map((item) => [this.key(item), item]));
      const kept = [];
      for (const item of this.items) {
        const key = this.key(item);
        if (fresh.has(key)) kept.push(fresh.get(key));
        fresh.delete(key);
      }
      this.items = [...kept, ...fresh.values()];
    } else {
      this.items = [...items];
      this.sortItems();
    }
    this.render();
  }

  /** Show `items` in sorted order, also while the pointer or the focus is in the table. */
  reset(items) {
    this.items = [...items];
    this.sortItems();
    this.render();
  }

  sortItems() {
    this.columns.forEach((column, index) => {
      if (!column.compare) return;
      const isSorted = this.sort?.id === column.id;
      setAttribute(this.headers[index], 'aria-sort',
        isSorted ? (this.sort.descending ? 'descending' : 'ascending') : null);
    });
    const column = this.columns.find(({ id }) => id === this.sort?.id);
    if (!column) return;
    const sign = this.sort.descending ? -1 : 1;
    this.items.sort((a, b) => sign * column.compare(a, b));
  }

  /** Start and end index of the items in the viewport, extended by `margin` at both ends. */
  range(margin) {
    const total = this.items.length;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.floor(-top / this.rowHeight) - margin;
    const last = Math.ceil((window.innerHeight - top) / this.rowHeight) + margin;
    return [Math.min(Math.max(first, 0), total), Math.max(Math.min(last, total), 0)];
  }

  render() {
    const [first, last] = this.isPrinting || this.items.length <= RENDER_ALL_MAX ? [0, this.items.length] : this.range(OVERSCAN_ROWS);
    const shown = this.items.slice(first, last);
    const keys = shown.map(this.key);
    const recyclable = this.recyclableRows(new Set(keys));
    const rows = new Map();
    const nodes = [];
    shown.forEach((item, index) => {
      const row = this.rows.get(keys[index]) ?? recyclable.shift() ?? this.createRow();
      setAttribute(row.node, 'aria-rowindex', first + index + 2);
      for (const cell of row.cells) cell.update(item);
      rows.set(keys[index], row);
      nodes.push(row.node);
    });
    this.rows = rows;
    setAttribute(this.table, 'aria-rowcount', this.items.length + 1);
    this.fillSpace(first, this.items.length - last);
    arrange(this.body, [this.above, ...nodes, this.below]);
    // Measured last: a layout while rows are missing would shorten the page and move the scroll position.
    const measured = nodes[0]?.getBoundingClientRect().height;
    if (measured && measured !== this.rowHeight) {
      this.rowHeight = measured;
      this.fillSpace(first, this.items.length - last);
    }
    this.onview(this.items.slice(...this.range(0)));
  }

  /** Give the two spacers the height of the rows that are not rendered. */
  fillSpace(above, below) {
    for (const [spacer, rows] of [[this.above, above], [this.below, below]]) {
      spacer.firstElementChild.style.height = `${Math.round(rows * this.rowHeight)}px`;
      show(spacer, rows > 0);
    }
  }

  /** Rows whose items are no longer rendered. Reusing a row costs a third of creating one. */
  recyclableRows(keys) {
    const recyclable = [];
    for (const [key, row] of this.rows) {
      // The focus must not move to another item.
      if (!keys.has(key) && !row.node.contains(document.activeElement)) recyclable.push(row);
    }
    // Removing these rows first spares `arrange` from moving the others. If all are recyclable, none moves.
    if (recyclable.length < this.rows.size) for (const row of recyclable) row.node.remove();
    return recyclable;
  }

  createRow() {
    const cells = this.columns.map((column) => column.cell());
    const node = h('tr', {}, ...cells.map((cell, index) =>
      h(index ? 'td' : 'th', { class: this.columns[index].style, scope: index ? null : 'row' }, cell.node)));
    return { node, cells };
  }
}
