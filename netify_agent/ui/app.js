// Entry point: routes the URL hash to a view, refreshes the view after each flush, and polls the agent's status.

import { get } from './api.js';
import { h, setAttribute } from './dom.js';
import { refreshTimes } from './format.js';
import { Health } from './health.js';
import { Live } from './live.js';
import { emptyNote } from './parts.js';
import { Overview } from './overview.js';

const REFRESH_TIMES_MS = 5000;
const POLL_STATUS_MS = 15_000;

// The overview loads with the page. The other views load when they are opened.
const VIEWS = {
  overview: async () => Overview,
  devices: async (route) => (route.name
    ? (await import('./device.js')).Device
    : (await import('./devices.js')).Devices),
  applications: async () => (await import('./applications.js')).Applications,
  flows: async () => (await import('./flows.js')).Flows,
  risks: async () => (await import('./risks.js')).Risks,
};

/** A parsed URL hash, such as `#/devices/02:00:00:00:50:11?range=week`. */
class Route {
  constructor(hash) {
    const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
    const [view, ...name] = path.split('/');
    this.view = view || 'overview';
    this.path = path;
    this.query = new URLSearchParams(query);
    try {
      this.name = decodeURIComponent(name.join('/'));
    } catch {
      this.name = '';
    }
  }

  /** The same path with changed query parameters; null or '' removes a parameter. */
  with(parameters) {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null || value === '') query.delete(name);
      else query.set(name, value);
    }
    return `#/${this.path}${query.size ? `?${query}` : ''}`;
  }
}

class App {
  constructor() {
    this.main = document.getElementById('main');
    this.view = null;
    this.navigation = 0;
    this.pending = undefined; // the flush to refresh for, null for a full refresh, undefined for none
    this.refreshing = false;
    this.live = new Live((flush) => this.onFlush(flush));
    this.health = new Health(this.live);
  }

  start() {
    window.addEventListener('hashchange', () => this.open());
    document.querySelector('.skip').addEventListener('click', (event) => {
      event.preventDefault(); // the hash names the view
      this.main.focus();
    });
    this.open();
    this.live.start();
    setInterval(refreshTimes, REFRESH_TIMES_MS);
    setInterval(() => this.pollStatus(), POLL_STATUS_MS);
  }

  async open() {
    const previous = this.route;
    const route = new Route(location.hash);
    const navigation = ++this.navigation;
    const View = Object.hasOwn(VIEWS, route.view) ? await VIEWS[route.view](route) : null;
    if (navigation !== this.navigation) return; // the user has moved on while the module loaded
    this.view?.close?.();
    this.route = route;
    for (const link of document.querySelectorAll('[data-view]')) {
      setAttribute(link, 'aria-current', link.dataset.view === route.view ? 'page' : null);
    }
    this.view = View ? new View(route) : null;
    this.main.replaceChildren(this.view?.node ?? h('div', { class: 'page' }, h('h1', {}, 'Page not found'),
      emptyNote('This page does not exist.', h('a', { href: '#/' }, 'Back to overview'))));
    this.updateTitle();
    if (previous && previous.path !== route.path) {
      window.scrollTo(0, 0);
      const heading = this.main.querySelector('h1');
      setAttribute(heading, 'tabindex', '-1');
      heading.focus({ preventScroll: true });
    } else if (previous) {
      this.main.querySelector('.ranges [aria-current]')?.focus({ preventScroll: true });
    }
    this.pending = null;
    if (!this.refreshing) await this.refresh();
  }

  updateTitle() {
    const title = `${this.view?.title ?? 'Page not found'} · ${this.health.gateway ?? 'netify-agent'}`;
    if (document.title !== title) document.title = title;
  }

  /** `flush`: what changed, or null if that is unknown. */
  onFlush(flush) {
    this.pollStatus();
    this.pending = this.pending === undefined ? flush : null; // two pending flushes need a full refresh
    if (!this.refreshing) this.refresh();
  }

  /** Refresh the view, one request at a time. Flushes that arrive meanwhile cause one more refresh. */
  async refresh() {
    this.refreshing = true;
    while (this.pending !== undefined) {
      const { view, pending } = this;
      this.pending = undefined;
      if (!view) break;
      try {
        await view.refresh(pending);
        if (view === this.view) this.health.setViewError(null);
        this.updateTitle();
      } catch (error) {
        if (view === this.view) this.health.setViewError(error);
      }
    }
    this.refreshing = false;
    if (!this.hasStatus) await this.pollStatus();
  }

  async pollStatus() {
    if (document.hidden || this.polling) return;
    this.polling = true;
    try {
      const status = await get('status');
      this.hasStatus = true;
      this.health.setStatus(status);
      this.view?.setStatus?.(status);
    } catch (error) {
      this.health.setStatusError(error);
    }
    this.polling = false;
  }
}

new App().start();
