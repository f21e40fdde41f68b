// The address of a view: the URL hash, such as `#/devices/02:00:00:00:50:11?range=week`.

/** What serves the page: `agent`, `collector` (the fleet), or `copy` (a collector, for one of its gateways). */
export const AT = document.documentElement.dataset.at ?? 'agent';

/** Whether the page is of the copy of a gateway. It has no flows and risks. */
export const IS_COPY = AT === 'copy';

const HOME = AT === 'collector' ? 'fleet' : 'overview';

/** Earlier addresses, which may be bookmarked. */
const MOVED = { flows: ['activity', ''], risks: ['activity', 'risks'] };

/** A parsed URL hash. `view`: the first part of the path. `name`: the rest. `query`: URLSearchParams. */
export class Route {
  constructor(hash) {
    const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
    const [view, ...rest] = path.split('/');
    this.query = new URLSearchParams(query);
    this.view = view || HOME;
    try {
      this.name = decodeURIComponent(rest.join('/'));
    } catch {
      this.name = '';
    }
    if (Object.hasOwn(MOVED, this.view) && !this.name) [this.view, this.name] = MOVED[this.view];
  }

  /** Identifies the page: two routes with the same key differ in their query only. */
  get key() {
    return `${this.view}/${this.name}`;
  }

  /** The hash of the same page with changed query parameters; null or '' removes a parameter. */
  with(parameters) {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null || value === undefined || value === '') query.delete(name);
      else query.set(name, value);
    }
    return hashOf(this.view, this.name, query);
  }

  /** A query parameter; null if absent. */
  get(name) {
    return this.query.get(name);
  }
}

function hashOf(view, name, query) {
  const start = view === HOME && !name ? '' : view;
  const path = [start, ...(name ? [name.split('/').map(encodeURIComponent).join('/')] : [])].join('/');
  return `#/${path}${query.size ? `?${query}` : ''}`;
}

/** The hash of a page. `parameters` that are null or '' are left out. */
export function address(view, name = '', parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return hashOf(view, name, new URLSearchParams(given));
}
