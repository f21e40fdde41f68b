// Builds and updates DOM elements from plain text. No code of the dashboard parses HTML.

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

/** An HTML element. Attributes: strings, true for an empty one, `on...` for a listener. Children: nodes or text. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** An SVG element; arguments as for `h`. */
export function s(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

/** An icon from the sprite in index.html. */
export function icon(name) {
  return s('svg', { class: 'icon', 'aria-hidden': 'true' }, s('use', { href: `#icon-${name}` }));
}

/** Set the text of a node if it differs. An unchanged node keeps the user's selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set an attribute if it differs; null, undefined or false removes it. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Show or hide `node`. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Make `children` the children of `parent` with as few moves as possible, keeping the focus. */
export function arrange(parent, children) {
  const focused = document.activeElement;
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/** A list that reuses the element of each item, identified by its key. */
export class KeyedList {
  /** `key(item)` identifies an item; `create(item)` returns `{node, update(item)}`. */
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
