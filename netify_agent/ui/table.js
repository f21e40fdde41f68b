// A sortable table that stays quick with thousands of rows: only those in sight are in the page.

import { arrange, h, icon, setAttribute, show } from './dom.js';

const MARGIN_ROWS = 6; // kept beyond what is in sight, so that scrolling meets rows
const WHOLE = 60; // up to so many rows, all are in the page

/**
 * A table of items.
 *
 * A column is `{id, label, cell, compare, descending, style}`: `cell()` makes `{node, update(item)}` for a row,
 * `compare(a, b)` orders items where the column can be sorted by, `descending` says that the most comes first,
 * `style` is a class for its cells (`wide` and `middle` ones are left out where there is no room).
 */
export class Table {
  /**
   * `caption`: what the table is, for screen readers; `key(item)` tells items apart; `sort`: `{id, descending}`
   * or null for the order in which items come; `onview(items)` is called with the items in sight.
   */
  constructor({ caption, columns, key, style = null, sort = null, onview = () => {} }) {
    this.columns = columns;
    this.key = key;
    this.sort = sort;
    this.onview = onview;
    this.items = [];
    this.rows = new Map();
    this.rowHeight = 56;
    this.heads = columns.map((column) => this.head(column));
    this.above = h('tr', { class: 'space', 'aria-hidden': 'true' }, h('td', { colspan: columns.length }));
    this.below = h('tr', { class: 'space', 'aria-hidden': 'true' }, h('td', { colspan: columns.length }));
    this.body = h('tbody', {});
    this.table = h('table', { class: style }, h('caption', { class: 'hidden' }, caption),
      h('thead', {}, h('tr', { 'aria-rowindex': '1' }, ...this.heads)), this.body);
    this.node = h('div', { class: 'sheet' }, this.table);
    this.onscroll = () => {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        this.render();
      });
    };
    window.addEventListener('scroll', this.onscroll, { passive: true });
    window.addEventListener('resize', this.onscroll, { passive: true });
  }

  close() {
    window.removeEventListener('scroll', this.onscroll);
    window.removeEventListener('resize', this.onscroll);
    if (this.frame) cancelAnimationFrame(this.frame);
  }

  head(column) {
    if (!column.compare) return h('th', { scope: 'col', class: column.style }, column.label);
    return h('th', { scope: 'col', class: column.style, 'data-column': column.id },
      h('button', { type: 'button', class: 'sort', onclick: () => this.sortBy(column) }, column.label, icon('sort')));
  }

  sortBy(column) {
    const same = this.sort?.id === column.id;
    this.sort = { id: column.id, descending: same ? !this.sort.descending : Boolean(column.descending) };
    this.order();
    this.render();
  }

  /** Show `items`. While somebody points at a row or is in one, the order stays and only values change. */
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
      this.order();
    }
    this.render();
  }

  /** Take `items` anew, whoever points at a row: they were asked for. */
  reset(items) {
    this.items = [...items];
    this.order();
    this.render();
  }

  order() {
    this.columns.forEach((column, index) => {
      if (!column.compare) return;
      const sorted = this.sort?.id === column.id;
      setAttribute(this.heads[index], 'aria-sort',
        sorted ? (this.sort.descending ? 'descending' : 'ascending') : null);
    });
    const column = this.columns.find((one) => one.id === this.sort?.id);
    if (!column) return;
    const sign = this.sort.descending ? -1 : 1;
    this.items.sort((one, other) => sign * column.compare(one, other));
  }

  /** The range of items that are in sight, with `margin` more at both ends. */
  range(margin) {
    const total = this.items.length;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.floor(-top / this.rowHeight) - margin;
    const last = Math.ceil((window.innerHeight - top) / this.rowHeight) + margin;
    return [Math.min(Math.max(first, 0), total), Math.max(Math.min(last, total), 0)];
  }

  render() {
    const [first, last] = this.items.length <= WHOLE ? [0, this.items.length] : this.range(MARGIN_ROWS);
    const shown = this.items.slice(first, last);
    const keys = shown.map(this.key);
    const spare = this.spareRows(new Set(keys));
    const rows = new Map();
    const nodes = [];
    shown.forEach((item, index) => {
      const row = this.rows.get(keys[index]) ?? spare.shift() ?? this.row();
      setAttribute(row.node, 'aria-rowindex', first + index + 2);
      for (const cell of row.cells) cell.update(item);
      rows.set(keys[index], row);
      nodes.push(row.node);
    });
    this.rows = rows;
    setAttribute(this.table, 'aria-rowcount', this.items.length + 1);
    const measured = nodes[0]?.getBoundingClientRect().height;
    if (measured) this.rowHeight = measured;
    for (const [space, rest] of [[this.above, first], [this.below, this.items.length - last]]) {
      space.firstElementChild.style.height = `${Math.round(rest * this.rowHeight)}px`;
      show(space, rest > 0);
    }
    arrange(this.body, [this.above, ...nodes, this.below]);
    this.onview(this.items.slice(...this.range(0)));
  }

  /** Rows whose items are out of sight, to be used again for others: that costs a third of new ones. */
  spareRows(wanted) {
    const spare = [];
    for (const [key, row] of this.rows) {
      // A focus must not pass from one item to another.
      if (!wanted.has(key) && !row.node.contains(document.activeElement)) spare.push(row);
    }
    // Those that stay are not to be moved; where none stays, all are in the right order already.
    if (spare.length < this.rows.size) for (const row of spare) row.node.remove();
    return spare;
  }

  row() {
    const cells = this.columns.map((column) => column.cell());
    const node = h('tr', {}, ...cells.map((cell, index) =>
      h(index ? 'td' : 'th', { class: this.columns[index].style, scope: index ? null : 'row' }, cell.node)));
    return { node, cells };
  }
}
