// UI components shared by the views: panels, empty states, figures and table cells.

import { address } from '../route.js';
import { h, icon, s, setAttribute, setText, show } from './dom.js';
import { bytesFigure, deviceId, deviceLabel, isNew, relativeTime } from './format.js';

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

/** The address of a device's page; null without an identifier. `parameters`: of the address, such as its period. */
export function deviceHref(id, parameters = {}) {
  return id === null ? null : address('devices', id, parameters);
}

/** The address of an application's page. */
export function applicationHref(tag, parameters = {}) {
  return address('applications', tag, parameters);
}

/** A search field. `oninput(text)` is called while the user types. */
export function searchField(label, placeholder, oninput) {
  const input = h('input', {
    type: 'search', id: 'search', placeholder, autocomplete: 'off', spellcheck: 'false', oninput: () => oninput(input.value),
  });
  return {
    input,
    node: h('div', { class: 'field search' }, h('label', { for: 'search', class: 'hidden' }, label), icon('search'), input),
  };
}

/**
 * A cell with a device's state and name, its vendor or that its MAC address is randomised, its IP address and groups.
 * `parameters()`: of the address of its page.
 */
export function deviceCell(parameters) {
  const lines = twoLines((device) => ({
    href: deviceHref(deviceId(device), parameters()),
    title: deviceLabel(device),
    below: [
      device.vendor ?? (device.randomized ? 'Randomised MAC' : null),
      device.name === null && device.mac === null ? null : device.ip,
      ...device.groups,
    ].filter(Boolean).join(' · '),
  }));
  const dot = h('span', { class: 'dot' });
  const badge = h('span', { class: 'badge' }, 'New');
  const state = h('span', { class: 'hidden' });
  return {
    node: h('span', { class: 'with-dot' }, dot, state, lines.node, badge),
    update(device) {
      setAttribute(dot, 'data-active', device.active);
      setAttribute(dot, 'title', device.active ? 'Active' : 'Inactive');
      setText(state, device.active ? 'Active ' : 'Inactive ');
      show(badge, isNew(device));
      lines.update(device);
    },
  };
}

/** Show the list, or the note if the list is empty. */
export function listOrNote(list, note, isEmpty) {
  show(list, !isEmpty);
  show(note, isEmpty);
}

/** A panel that shows how a list adds up. `lines`: by name, sign, label and, if needed, an explanation. */
export class Balance {
  constructor(title, lines) {
    this.lines = Object.fromEntries(Object.entries(lines).map(([name, [sign, label, detail]]) => {
      const figures = downUp(bytesFigure);
      const node = h('div', {}, h('dt', {}, `${sign} ${label}`.trim(), detail && h('span', { class: 'below' }, detail)), h('dd', {}, figures.node));
      return [name, { figures, node }];
    }));
    this.node = h('section', { class: 'panel balance' }, h('div', { class: 'panel-head' }, h('h2', {}, title)),
      h('dl', {}, ...Object.values(this.lines).map((each) => each.node)));
  }

  /** `values`: bytes down and up by name of the line; a line without any is hidden. */
  update(values) {
    for (const [name, { figures, node }] of Object.entries(this.lines)) {
      show(node, Boolean(values[name]));
      if (values[name]) figures.update(values[name].bytes_down, values[name].bytes_up);
    }
  }
}
