// Pieces that several views are made of.

import { h, s, setAttribute, setText, show } from './dom.js';
import { bytesFigure, deviceId, deviceLabel, rateFigure, relativeTime } from './format.js';

/** A panel with a heading; `aside` stands at its right end. */
export function panel(title, aside, ...children) {
  return h('section', { class: 'panel' },
    h('div', { class: 'panel-head' }, h('h2', {}, title), aside), ...children);
}

/** What is said where there is nothing to show. */
export function emptyNote(title, ...lines) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title),
    ...lines.map((line) => (typeof line === 'string' ? h('p', {}, line) : line)));
}

/** Down and up beside each other, told apart by arrow, word and colour. `kind`: bytesFigure or rateFigure. */
export function downUp(kind) {
  const down = kind('down');
  const up = kind('up');
  return {
    node: h('span', { class: 'down-up' }, labelled('down', 'down ', down.node), labelled('up', 'up ', up.node)),
    update(downValue, upValue) {
      down.update(downValue);
      up.update(upValue);
    },
  };
}

/** An arrow with a word for those who don't see it, and the figure. */
export function labelled(style, word, node) {
  return h('span', { class: `flowing ${style}` },
    s('svg', { class: 'arrow', viewBox: '0 0 12 12', 'aria-hidden': 'true' },
      s('path', { d: style === 'down' ? 'M6 1.5v9M2 6.8l4 4 4-4' : 'M6 10.5v-9M2 5.2l4-4 4 4' })),
    h('span', { class: 'hidden' }, word), node);
}

/** A cell with a link and a quieter line below it. `texts(item)` gives `{href, title, below}`. */
export function twoLines(texts) {
  const link = h('a', { class: 'name' });
  const name = h('bdi', { class: 'name' });
  const below = h('bdi', { class: 'below' });
  const node = h('span', { class: 'two-lines' }, below);
  return {
    node,
    update(item) {
      const { href, title, below: text } = texts(item);
      const wanted = href ? link : name;
      if (node.firstChild !== wanted) {
        (href ? name : link).remove();
        node.prepend(wanted);
      }
      if (href) {
        if (!link.firstChild) link.append(h('bdi', {}));
        setAttribute(link, 'href', href);
        setText(link.firstChild, title);
      } else {
        setText(name, title);
      }
      setAttribute(wanted, 'title', title.length > 24 ? title.slice(0, 300) : null);
      setText(below, text ?? '');
      show(below, Boolean(text));
    },
  };
}

/** The path of a device's view. */
export function deviceHref(id) {
  return `#/devices/${encodeURIComponent(id)}`;
}

/** Name of a device, with vendor and address below. */
export function deviceCell() {
  const lines = twoLines((device) => ({
    href: deviceHref(deviceId(device)),
    title: deviceLabel(device),
    below: [device.vendor, device.name === null && device.mac === null ? null : device.ip].filter(Boolean).join(' · '),
  }));
  const dot = h('span', { class: 'dot' });
  const state = h('span', { class: 'hidden' });
  return {
    node: h('span', { class: 'with-dot' }, dot, state, lines.node),
    update(device) {
      setAttribute(dot, 'data-active', device.active);
      setAttribute(dot, 'title', device.active ? 'active' : 'silent');
      setText(state, device.active ? 'active ' : 'silent ');
      lines.update(device);
    },
  };
}

/** Columns of traffic that devices, applications and protocols share. */
export const downColumn = (style = '') => traffic('bytes_down', 'Down', 'down', style);
export const upColumn = (style = 'middle') => traffic('bytes_up', 'Up', 'up', style);

function traffic(name, label, arrow, style) {
  return {
    id: name, label, style: `figure ${style}`, descending: true,
    compare: (one, other) => one[name] - other[name],
    cell: () => {
      const figure = bytesFigure(arrow);
      return { node: labelled(arrow, '', figure.node), update: (item) => figure.update(item[name]) };
    },
  };
}

/** Rates down and up, ordered by their sum. */
export const nowColumn = () => ({
  id: 'rate', label: 'Now', style: 'figure', descending: true,
  compare: (one, other) => (one.rate_down + one.rate_up) - (other.rate_down + other.rate_up)
    || (one.bytes_down + one.bytes_up) - (other.bytes_down + other.bytes_up),
  cell: () => {
    const both = downUp(rateFigure);
    return { node: both.node, update: (item) => both.update(item.rate_down, item.rate_up) };
  },
});

/** A time of an item, as long ago as it is. */
export function timeColumn(id, label, style = 'wide') {
  return {
    id, label, style: `when ${style}`, descending: true,
    compare: (one, other) => Date.parse(one[id] ?? 0) - Date.parse(other[id] ?? 0),
    cell: () => {
      const time = relativeTime();
      return { node: time.node, update: (item) => time.update(item[id]) };
    },
  };
}

/** Show a list or, where it is empty, the note. */
export function listOrNote(list, note, isEmpty) {
  show(list, !isEmpty);
  show(note, isEmpty);
}
