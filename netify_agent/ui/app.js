// Entry point: opens the view that the address names, and refreshes it after each flush.

import { get } from './agent/api.js';
import { Live } from './agent/live.js';
import { FleetHealth, readFleetStatus } from './fleet_health.js';
import { Health, adviceList } from './health.js';
import { h, setAttribute, setText, show } from './parts/dom.js';
import { refreshTimes } from './parts/format.js';
import { emptyNote } from './parts/pieces.js';
import { AT, Route } from './route.js';
import { startTheme } from './theme.js';
import { Overview } from './views/overview.js';

const REFRESH_TIMES_MS = 5000;
const CHECK_STATUS_MS = 1000;
const MAX_STATUS_AGE_MS = 15_000;
const SAVE_SCROLL_MS = 150;

// The overview loads with the page. The other views load when they are opened.
const VIEWS = {
  overview: async () => Overview,
  usage: async () => (await import('./views/usage.js')).Usage,
  devices: async (route) => (route.name
    ? (await import('./views/device.js')).Device
    : (await import('./views/devices.js')).Devices),
  applications: async (route) => (route.name
    ? (await import('./views/application.js')).Application
    : (await import('./views/applications.js')).Applications),
  activity: async (route) => (route.name === 'risks'
    ? (await import('./views/risks.js')).Risks
    : (await import('./views/flows.js')).Flows),
  alerts: async () => (await import('./views/alerts.js')).Alerts,
  fleet: async () => (await import('./views/fleet.js')).Fleet,
};
const OFFERED = {
  agent: ['overview', 'usage', 'devices', 'applications', 'activity', 'alerts'],
  copy: ['overview', 'usage', 'devices', 'applications'],
  collector: ['fleet'],
}[AT];

/**
 * A view is an object with `node`, `title`, `refresh(flush)` and, optionally, `setRoute(route)`, `setStatus(status)`,
 * `setProblem(problem)` and `close()`. `setRoute` is called before the first refresh, and when the query of the
 * address changes; it returns false if nothing must be read again for that. `flush` is what changed, or null if that
 * is unknown. A view is built with `navigate(parameters)`, which changes the query of the address.
 */
class App {
  constructor() {
    this.main = document.getElementById('main');
    this.trouble = h('div', { class: 'page trouble' });
    this.view = null;
    this.isLoaded = false;
    this.navigation = 0;
    this.pending = undefined; // the flush to refresh for, null for a full refresh, undefined for none
    this.refreshing = false;
    this.statusAt = -Infinity;
    this.live = new Live((flush) => this.onFlush(flush));
    this.health = new (AT === 'agent' ? Health : FleetHealth)(this.live, () => this.renderProblem());
  }

  start() {
    history.scrollRestoration = 'manual';
    window.addEventListener('hashchange', () => this.open());
    window.addEventListener('scroll', () => {
      clearTimeout(this.scrollTimer);
      this.scrollTimer = setTimeout(() => this.saveScroll(), SAVE_SCROLL_MS);
    }, { passive: true });
    document.addEventListener('click', () => this.saveScroll(), { capture: true });
    document.querySelector('.skip').addEventListener('click', (event) => {
      event.preventDefault(); // the hash names the view
      this.main.focus();
    });
    startTheme();
    showNavigation();
    this.open();
    this.live.start();
    setInterval(refreshTimes, REFRESH_TIMES_MS);
    // Each flush polls the status. If one is overdue, something may be wrong.
    setInterval(() => this.pollStatus(Math.min(MAX_STATUS_AGE_MS, 2000 * this.live.interval)), CHECK_STATUS_MS);
  }

  /** Keep the scroll position with the entry of the browser's history. */
  saveScroll() {
    clearTimeout(this.scrollTimer);
    if (this.scrollTo === null && history.state?.scroll !== window.scrollY) {
      history.replaceState({ scroll: window.scrollY }, '');
    }
  }

  /** Show the view of the address. The same page with another query keeps its view. */
  async open() {
    clearTimeout(this.scrollTimer);
    const previous = this.route;
    const route = new Route(location.hash);
    const navigation = ++this.navigation;
    this.scrollTo = history.state?.scroll ?? (previous?.key === route.key ? null : 0);
    if (this.view && previous.key === route.key) {
      this.applyRoute(route);
    } else {
      const View = OFFERED.includes(route.view) ? await VIEWS[route.view](route) : null;
      if (navigation !== this.navigation) return; // the user has moved on while the module loaded
      this.view?.close?.();
      this.route = route;
      this.showView(View, previous);
      this.refreshAll();
    }
  }

  /** Show another query of the same page. */
  applyRoute(route) {
    this.route = route;
    if (this.view.setRoute?.(route) !== false) this.refreshAll();
    else if (this.scrollTo !== null) this.restoreScroll();
  }

  refreshAll() {
    this.pending = null;
    if (!this.refreshing) this.refresh();
  }

  restoreScroll() {
    window.scrollTo(0, this.scrollTo);
    this.scrollTo = null;
  }

  showView(View, previous) {
    const { route } = this;
    for (const link of document.querySelectorAll('[data-view]')) {
      setAttribute(link, 'aria-current', link.dataset.view === route.view ? 'page' : null);
    }
    this.isLoaded = false;
    this.health.viewError = null; // of the previous view
    this.view = View ? new View(route, (parameters) => this.navigate(parameters)) : null;
    this.view?.setRoute?.(route);
    if (this.health.status) this.view?.setStatus?.(this.health.status);
    const missing = h('div', { class: 'page' }, h('h1', {}, 'Page not found'),
      emptyNote('This page does not exist.', h('a', { href: '#/' }, 'Back to overview')));
    this.main.replaceChildren(this.view?.node ?? missing, this.trouble);
    this.renderProblem();
    this.updateTitle();
    if (previous) {
      window.scrollTo(0, 0);
      const heading = this.main.querySelector('h1');
      setAttribute(heading, 'tabindex', '-1');
      heading.focus({ preventScroll: true });
    }
  }

  /** Change the query of the address without a new entry in the browser's history. */
  navigate(parameters) {
    const hash = this.route.with(parameters);
    if (hash === location.hash) return;
    history.replaceState(history.state, '', hash);
    this.applyRoute(new Route(hash));
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
        if (view === this.view) this.onRefreshed();
      } catch (error) {
        if (view === this.view) this.health.setViewError(error);
      }
    }
    this.refreshing = false;
    if (!this.hasStatus) await this.pollStatus();
  }

  onRefreshed() {
    this.isLoaded = true;
    this.health.setViewError(null);
    this.updateTitle();
    if (this.scrollTo !== null) this.restoreScroll();
  }

  /** Pass the problem to the view. A view that has loaded nothing yet is replaced by the problem. */
  renderProblem() {
    const { problem } = this.health;
    this.view?.setProblem?.(problem);
    const isOutage = problem !== null && problem.name !== null; // not an address that the API refuses
    const isBlank = this.view !== null && !this.isLoaded && isOutage && this.health.viewError !== null;
    show(this.trouble, isBlank);
    if (this.view) show(this.view.node, !isBlank);
    if (isBlank && this.troubleText !== problem.text) {
      this.trouble.replaceChildren(h('h1', {}, problem.short), h('p', { class: 'lead' }, problem.text),
        adviceList(problem.name));
    }
    this.troubleText = isBlank ? problem.text : null;
  }

  /** Request /status, unless it is younger than `minAgeMs`. */
  async pollStatus(minAgeMs = 0) {
    if (document.hidden || this.polling || performance.now() - this.statusAt < minAgeMs) return;
    this.polling = true;
    this.statusAt = performance.now();
    try {
      const status = AT === 'agent' ? await get('status') : await readFleetStatus();
      this.hasStatus = true;
      this.health.setStatus(status);
      if (AT === 'agent') showAlerts(status.alerts);
      this.view?.setStatus?.(status);
    } catch (error) {
      this.health.setStatusError(error);
    }
    this.polling = false;
  }
}

/** Show the views that are offered, and the way back from a gateway to its fleet. */
function showNavigation() {
  for (const link of document.querySelectorAll('[data-view]')) show(link, OFFERED.includes(link.dataset.view));
  if (AT !== 'copy') return;
  const fleet = document.querySelector('[data-view="fleet"]');
  setAttribute(fleet, 'href', '../../../ui/');
  show(fleet, true);
}

/** Show the number of active alerts in the navigation. An agent without alerts has no page of them. */
function showAlerts(alerts) {
  const badge = document.getElementById('active-alerts');
  show(badge.closest('a'), Boolean(alerts));
  show(badge, alerts?.active > 0);
  setText(badge.firstChild, String(alerts?.active ?? 0));
}

new App().start();
