// The plans of the Usage page: how much of each is used, what is left, and the forecast for the period.

import { KeyedList, h, setAttribute, setText, show } from '../parts/dom.js';
import { bytes, bytesFigure } from '../parts/format.js';
import { between } from '../parts/period.js';

/** The plans of `/plans`, the largest share first. */
export class PlanList {
  constructor() {
    this.zone = null;
    this.more = h('p', { class: 'below' });
    this.list = new KeyedList(h('ul', { class: 'plans' }), (plan) => `${plan.plan} ${plan.device}`, () => this.item());
    this.node = h('section', { class: 'panel' }, h('div', { class: 'panel-head' }, h('h2', {}, 'Plans, current period')), this.list.parent, this.more);
    show(this.node, false);
  }

  /** `document`: of `/plans`. Without plans nothing is shown. */
  set({ plans, timezone, total }) {
    this.zone = timezone;
    this.list.set(plans);
    setText(this.more, total > plans.length ? `The ${plans.length} of ${total} with the largest share.` : '');
    show(this.node, plans.length > 0);
  }

  item() {
    const name = h('bdi', { class: 'name' });
    const times = h('span', { class: 'below' });
    const used = bytesFigure();
    const limit = bytesFigure();
    const outlook = h('span', { class: 'outlook' });
    const bar = h('span', {});
    const day = h('i', {});
    return {
      node: h('li', {},
        h('div', { class: 'plan-head' }, h('div', {}, name, times), h('div', {}, used.node, h('span', { class: 'of' }, ' of '), limit.node)),
        h('span', { class: 'plan-bar', 'aria-hidden': 'true' }, bar, day), outlook),
      update: (plan) => {
        setText(name, [plan.plan, plan.device_name ?? plan.device].filter(Boolean).join(' · '));
        setText(times, between(Date.parse(plan.start), Date.parse(plan.end), this.zone));
        used.update(plan.used);
        limit.update(plan.limit);
        bar.style.width = `${Math.min(100 * plan.share, 100)}%`;
        day.style.left = `${100 * plan.elapsed}%`;
        setAttribute(bar, 'data-level', levelOf(plan));
        setAttribute(outlook, 'data-level', levelOf(plan));
        setText(outlook, outlookText(plan));
      },
    };
  }
}

/** How serious a plan is: `high` above its limit, `medium` if it will be above it, `ok` otherwise. */
function levelOf({ used, limit, forecast }) {
  if (used > limit) return 'high';
  return forecast !== null && forecast > limit ? 'medium' : 'ok';
}

function outlookText({ share, left, elapsed, forecast }) {
  const percent = (part) => (part > 0 && part < 0.01 ? '< 1%' : `${Math.floor(100 * part)}%`);
  return [
    `${percent(share)} used, ${percent(elapsed)} of the period over`,
    left < 0 ? `${bytes(-left)} above the limit` : `${bytes(left)} left`,
    forecast === null ? 'too early for a forecast' : `forecast ${bytes(forecast)}`,
  ].join(' · ');
}
