// Filters of lists: select elements whose choices change.

import { h } from './dom.js';

/** A labelled select element. */
export function field(label, control) {
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control);
}

/**
 * Fill a select element, unless it has these choices. `choices`: pairs of value and text. `selected`: a value, or null
 * for all. A selected value that is not among the choices is kept.
 */
export function fillSelect(select, allLabel, selected, choices) {
  const isKnown = choices.some(([value]) => value === selected);
  const options = [['', allLabel], ...(selected !== null && !isKnown ? [[selected, selected]] : []), ...choices];
  const shown = JSON.stringify(options);
  if (select.shown !== shown) select.replaceChildren(...options.map(([value, text]) => h('option', { value }, text)));
  select.shown = shown;
  select.value = selected ?? '';
}

/** The groups of some devices as choices of a filter, by name. */
export function groupChoices(devices) {
  const names = new Set(devices.flatMap((device) => device.groups));
  return [...names].sort().map((name) => [name, name]);
}
