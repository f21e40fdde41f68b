// Alerts in words: their severity, what they are about, and whether the receivers were told.

import { KeyedList, h, setAttribute, setText, show } from '../parts/dom.js';
import { relativeTime } from '../parts/format.js';
import { applicationHref, deviceHref } from '../parts/pieces.js';

const LEVELS = { critical: 'high', warning: 'medium', info: 'low' };
const RANKS = { critical: 3, warning: 2, info: 1 };

/** What became of the notifications for one receiver: `{text, level}`. */
function outcome({ firing, resolved }) {
  if (firing === 'failed') return { text: 'not delivered', level: 'high' };
  if (resolved === 'failed') return { text: 'delivered, its end was not', level: 'high' };
  if (firing === 'held') return { text: 'waits for the end of quiet hours', level: 'low' };
  if (firing === 'waiting' || resolved === 'waiting') return { text: 'waiting', level: 'medium' };
  return firing === 'sent' ? { text: 'delivered', level: 'ok' } : { text: 'not notified', level: 'low' };
}

/** An element that says whether the receivers of an alert were told. */
export function notified() {
  const nobody = h('span', {}, 'No receiver');
  const list = new KeyedList(h('span', { class: 'notified' }), (one) => one.receiver, () => {
    const name = h('bdi', {});
    const state = h('span', {});
    return {
      node: h('span', {}, name, ': ', state),
      update(one) {
        const { text, level } = outcome(one);
        setText(name, one.receiver);
        setText(state, text);
        setAttribute(state, 'data-level', level);
      },
    };
  });
  return {
    node: h('span', { class: 'below' }, nobody, list.parent),
    update(alert) {
      list.set(alert.notifications);
      show(nobody, alert.notifications.length === 0);
    },
  };
}

/** An element with the severity of an alert. */
export function severityLabel() {
  const node = h('span', { class: 'level' });
  return {
    node,
    update(alert) {
      setAttribute(node, 'data-level', LEVELS[alert.severity]);
      setText(node, alert.severity);
    },
  };
}

/** Compare alerts by severity. */
export const bySeverity = (one, other) => RANKS[one.severity] - RANKS[other.severity];

function alertRow(alert) {
  const severity = severityLabel();
  const summary = h('bdi', { class: 'risk-name' });
  const told = notified();
  const since = relativeTime();
  const links = h('span', { class: 'links' },
    alert.device === null ? null : h('a', { href: deviceHref(alert.device) }, 'Device'),
    alert.application === null ? null : h('a', { href: applicationHref(alert.application) }, 'Application'));
  return {
    node: h('li', {}, severity.node,
      h('div', {}, summary, h('span', { class: 'below' }, 'Alert ', h('bdi', {}, alert.alert)), told.node, links),
      h('span', { class: 'when' }, 'since ', since.node)),
    update(current) {
      severity.update(current);
      setText(summary, current.summary);
      told.update(current);
      since.update(current.started_at);
    },
  };
}

/** A list of active alerts, most severe first, then the latest first. */
export class AlertList extends KeyedList {
  constructor() {
    super(h('ul', { class: 'risks' }), (alert) => alert.id, alertRow);
  }

  set(alerts) {
    super.set([...alerts].sort((one, other) =>
      bySeverity(other, one) || Date.parse(other.started_at) - Date.parse(one.started_at)));
  }
}
