// A list of types of risk.

import { KeyedList, h, setAttribute, setText } from '../parts/dom.js';
import { plural, relativeTime } from '../parts/format.js';
import { deviceHref } from '../parts/pieces.js';
import { severity } from '../parts/severity.js';

const SHOWN_DEVICES = 4;

/** One type of risk: `{id, name, severity, flows, last_seen}`, and `devices` if known. */
function riskRow() {
  const level = h('span', { class: 'level' });
  const name = h('span', { class: 'risk-name' });
  const detail = h('span', { class: 'below' });
  const seen = relativeTime();
  const devices = h('span', { class: 'links' });
  const list = new KeyedList(devices, ([id]) => id, ([id]) => {
    const text = h('bdi', {});
    return { node: h('a', { href: deviceHref(id) }, text), update: ([, label]) => setText(text, label) };
  });
  return {
    node: h('li', {}, level, h('div', {}, name, detail, devices), h('span', { class: 'when' }, seen.node)),
    update(risk) {
      const { name: key, word } = severity(risk.severity);
      setAttribute(level, 'data-level', key);
      setText(level, word);
      setText(name, risk.name);
      const more = Math.max((risk.devices ?? []).length - SHOWN_DEVICES, 0);
      setText(detail, plural(risk.flows, 'flow') + (more ? `, ${plural(more, 'more device')}` : ''));
      list.set((risk.devices ?? []).slice(0, SHOWN_DEVICES));
      seen.update(risk.last_seen);
    },
  };
}

/** A list of types of risk, most severe first. */
export class RiskList extends KeyedList {
  constructor() {
    super(h('ul', { class: 'risks' }), (risk) => risk.id, riskRow);
  }

  set(risks) {
    super.set([...risks].sort((one, other) =>
      severity(other.severity).rank - severity(one.severity).rank || other.flows - one.flows));
  }
}
