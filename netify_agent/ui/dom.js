// Elements, made from plain text only: nothing here or anywhere else in the dashboard parses HTML.

const SVG = 'http://www.w3.org/2000/svg';

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An element. `attributes`: strings, true for an empty one, `on...` for a listener. Children: nodes or text. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function s(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

/** An icon of index.html's sprite. */
export function icon(name) {
  return s('svg', { class: 'icon', 'aria-hidden': 'true' }, s('use', { href: `#icon-${name}` }));
}

/** Set the text of a node, unless it is there already: what stays untouched keeps its selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set or remove an attribute, where that changes anything. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Show `node` or not. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Make `parent` hold exactly `children`, moving as little as possible; the focus stays where it is. */
export function arrange(parent, children) {
  const focused = document.activeElement;
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let place = parent.firstElementChild;
  for (const child of children) {
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/** A list whose elements are kept by key, so that an update changes texts and not the page. */
export class KeyedList {
  /** `create(item)` gives `{node, update(item)}`. */
  constructor(parent, key, create) {
    this.parent = parent;
    this.key = key;
    this.create = create;
    this.parts = new Map();
  }

  set(items) {
    const parts = new Map();
    for (const item of items) {
      const key = this.key(item);
      const part = this.parts.get(key) ?? this.create(item);
      part.update(item);
      parts.set(key, part);
    }
    this.parts = parts;
    arrange(this.parent, [...parts.values()].map((part) => part.node));
  }
}
