// A link that downloads a list of the API as CSV.

import { request } from '../agent/api.js';
import { h, setAttribute } from './dom.js';

/** A link; `update(path, parameters)` sets what it downloads. Parameters that are null are omitted. */
export function csvLink(label) {
  const node = h('a', { class: 'more', download: true, onclick: async (event) => {
    if (sessionStorage.getItem('token') === null) return; // the browser downloads it
    event.preventDefault(); // a link has no header for the token
    const response = await request(node.getAttribute('href').slice('../'.length), { accept: 'text/csv' });
    const url = URL.createObjectURL(await response.blob());
    h('a', { href: url, download: node.download || 'usage.csv' }).click();
    URL.revokeObjectURL(url);
  } }, label);
  return {
    node,
    update(path, parameters) {
      const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
      setAttribute(node, 'href', `../${path}?${new URLSearchParams(given)}`);
      setAttribute(node, 'download', `${path}.csv`);
    },
  };
}
