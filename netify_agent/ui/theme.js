// The theme switch: automatic, light or dark. The choice is kept in this browser.

import { setAttribute } from './parts/dom.js';

const NAMES = { auto: 'Automatic', light: 'Light', dark: 'Dark' };

function stored() {
  try {
    return Object.hasOwn(NAMES, localStorage.getItem('theme') ?? '') ? localStorage.getItem('theme') : 'auto';
  } catch {
    return 'auto'; // the browser keeps no data for this page
  }
}

function apply(theme) {
  setAttribute(document.documentElement, 'data-theme', theme === 'auto' ? null : theme);
}

/** Apply the stored theme and set up the switch in the footer. */
export function startTheme() {
  const select = document.getElementById('theme');
  select.replaceChildren(...Object.entries(NAMES).map(([value, name]) => new Option(name, value)));
  select.value = stored();
  apply(select.value);
  select.addEventListener('change', () => {
    apply(select.value);
    try {
      if (select.value === 'auto') localStorage.removeItem('theme');
      else localStorage.setItem('theme', select.value);
    } catch {
      // The choice lasts until the page is closed.
    }
  });
}
