// UI components shared by the views: panels, empty states, table cells and columns.

import { h, s, setAttribute, setText, show } from './dom.js';
import { bytesFigure, deviceId, deviceLabel, rateFigure, relativeTime } from './format.js';

/** A panel with a heading; `aside` is aligned to the right of it. */
export function panel(title, aside, ...children) {
  return h('section', { class: 'panel' },
    h('div', { class: 'panel-head' }, h('h2', {}, title), aside), ...children);
}

/** The empty state of a list or page. */
export function emptyNote(title, ...lines) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title),
    ...lines.map((line) => (typeof line === 'string' ? h('p', {}, line) : line)));
}

/** Download and upload figures, distinguished by arrow, text and colour. `kind`: bytesFigure or rateFigure. */
export function downUp(kind) {
  const down = kind('down');
  const up = kind('up');
  return {
    node: h('span', { class: 'down-up' }, labelled('down', 'download ', down.node), labelled('up', 'upload ', up.node)),
    update(downValue, upValue) {
      down.update(downValue);
      up.update(upValue);
    },
  };
}

/** A figure with an arrow, and a label for screen readers. */
export function labelled(style, label, node) {
  return h('span', { class: `flowing ${style}` },
    s('svg', { class: 'arrow', viewBox: '0 0 12 12', 'aria-hidden': 'true' },
      s('path', { d: style === 'down' ? 'M6 1.5v9M2 6.8l4 4 4-4' : 'M6 10.5v-9M2 5.2l4-4 4 4' })),
    h('span', { class: 'hidden' }, label), node);
}

/** A labelled figure of bytes with a fixed value, for chart readouts. */
export function fixedBytes(style, label, value) {
  const { node, update } = bytesFigure(style);
  update(value);
  return labelled(style, label, node);
}

/** A key figure: a term in a `<dl class="figures">`. `label`: text or node; `href` makes it a link. */
export function stat(label, value, href = null) {
  return h('div', { class: 'stat' }, h('dt', {}, href ? h('a', { href }, label) : label), h('dd', {}, value));
}

/** A `<time>` element with the age of `text`, an RFC 3339 time or null. */
export function timeNode(text) {
  const { node, update } = relativeTime();
  update(text);
  return node;
}

/** A cell with a title and a secondary line. `texts(item)` returns `{href, title, below}`; `href` may be null. */
export function twoLines(texts) {
  const link = h('a', { class: 'name' });
  const name = h('bdi', { class: 'name' });
  const below = h('bdi', { class: 'below' });
  const node = h('span', { class: 'two-lines' }, below);
  return {
    node,
    update(item) {
      const { href, title, below: text } = texts(item);
      const heading = href ? link : name;
      if (node.firstChild !== heading) {
        (href ? name : link).remove();
        node.prepend(heading);
      }
      if (href) {
        if (!link.firstChild) link.append(h('bdi', {}));
        setAttribute(link, 'href', href);
        setText(link.firstChild, title);
      } else {
        setText(name, title);
      }
      setAttribute(heading, 'title', title.length > 24 ? title.slice(0, 300) : null);
      setText(below, text ?? '');
      show(below, Boolean(text));
    },
  };
}

/** The URL of a device's page; null without an identifier. */
export function deviceHref(id) {
  return id === null ? null : `#/devices/${encodeURIComponent(id)}`;
}

/** A cell with a device's state, name, vendor and IP address. */
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
      setAttribute(dot, 'title', device.active ? 'Active' : 'Inactive');
      setText(state, device.active ? 'Active ' : 'Inactive ');
      lines.update(device);
    },
  };
}

/** Traffic columns shared by devices, applications, protocols and flows. */
export const downColumn = (style = '') => traffic('bytes_down', 'Download', 'down', style);
export const upColumn = (style = 'middle') => traffic('bytes_up', 'Upload', 'up', style);

function traffic(name, label, arrow, style) {
  return {
    id: name, label, style: `figure ${style}`, descending: true,
    compare: (a, b) => a[name] - b[name],
    cell: () => {
      const figure = bytesFigure(arrow);
      return { node: labelled(arrow, '', figure.node), update: (item) => figure.update(item[name]) };
    },
  };
}

/** Current download and upload rates, sorted by their sum, then by total bytes. */
export const nowColumn = () => ({
  id: 'rate', label: 'Now', style: 'figure', descending: true,
  compare: (a, b) => (a.rate_down + a.rate_up) - (b.rate_down + b.rate_up)
    || (a.bytes_down + a.bytes_up) - (b.bytes_down + b.bytes_up),
  cell: () => {
    const both = downUp(rateFigure);
    return { node: both.node, update: (item) => both.update(item.rate_down, item.rate_up) };
  },
});

/** A column that shows the age of the time `item[id]`. */
export function timeColumn(id, label, style = 'wide') {
  return {
    id, label, style: `when ${style}`, descending: true,
    compare: (a, b) => Date.parse(a[id] ?? 0) - Date.parse(b[id] ?? 0),
    cell: () => {
      const time = relativeTime();
      return { node: time.node, update: (item) => time.update(item[id]) };
    },
  };
}

/** Show the list, or the note if the list is empty. */
export function listOrNote(list, note, isEmpty) {
  show(list, !isEmpty);
  show(note, isEmpty);
}
