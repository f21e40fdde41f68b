// Alerts in words: their severity, what they are about, and whether the receivers were notified.

import { KeyedList, h, setAttribute, setText, show } from '../parts/dom.js';
import { relativeTime } from '../parts/format.js';
import { applicationHref, deviceHref } from '../parts/pieces.js';
import { address } from '../route.js';

const SEVERITIES = {
  critical: { rank: 3, level: 'high', word: 'Critical' },
  warning: { rank: 2, level: 'medium', word: 'Warning' },
  info: { rank: 1, level: 'low', word: 'Info' },
};

/** The state of the notifications for one receiver: `{text, level}`. */
function outcome({ firing, resolved }) {
  if (firing === 'failed') return { text: 'not delivered', level: 'high' };
  if (resolved === 'failed') return { text: 'delivered, its end was not', level: 'high' };
  if (firing === 'held') return { text: 'waits for the end of quiet hours', level: 'low' };
  if (firing === 'waiting' || resolved === 'waiting') return { text: 'waiting', level: 'medium' };
  return firing === 'sent' ? { text: 'delivered', level: 'ok' } : { text: 'not notified', level: 'low' };
}

/** An element that says whether the receivers of an alert were notified. */
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
      const { level, word } = SEVERITIES[alert.severity];
      setAttribute(node, 'data-level', level);
      setText(node, word);
    },
  };
}

/** Compare alerts by severity. */
export const bySeverity = (one, other) => SEVERITIES[one.severity].rank - SEVERITIES[other.severity].rank;

/** The page of what an alert is about; null for the gateway, a check or several subjects. */
function subjectHref({ device, group, application }) {
  if (device !== null) return deviceHref(device);
  if (group !== null) return address('devices', '', { group });
  return application === null ? null : applicationHref(application);
}

function alertRow(alert) {
  const severity = severityLabel();
  const href = subjectHref(alert);
  const summary = h('bdi', {});
  const notice = notified();
  const started = relativeTime();
  return {
    node: h('li', {}, severity.node,
      h('div', {}, href === null ? h('span', { class: 'risk-name' }, summary) : h('a', { class: 'risk-name', href }, summary),
        h('span', { class: 'below' }, 'Alert ', h('bdi', {}, alert.alert)), notice.node),
      h('span', { class: 'when' }, 'Started ', started.node)),
    update(current) {
      severity.update(current);
      setText(summary, current.summary);
      notice.update(current);
      started.update(current.started_at);
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
