// The two pages of Activity: flows and risks.

import { h } from '../parts/dom.js';

const TABS = [['flows', 'Flows', '#/activity'], ['risks', 'Risks', '#/activity/risks']];

/** Links to the pages; `current` is the one that is shown. */
export function activityTabs(current) {
  return h('nav', { class: 'tabs', 'aria-label': 'Activity' }, ...TABS.map(([name, label, href]) =>
    h('a', { href, 'aria-current': name === current ? 'page' : null }, label)));
}
