// A link that downloads a list of the API as CSV.

import { ApiError, request } from '../agent/api.js';
import { h, setAttribute, setText } from './dom.js';

const KEEP_MS = 60_000; // some browsers read the file after the click

/**
 * A link, and an error beside it if the download fails. `update(path, parameters)` sets what it downloads. Parameters
 * that are null are omitted. The page itself reads the file, because a link sends no token.
 */
export function csvLink(label) {
  const error = h('span', { class: 'error', role: 'alert' });
  const link = h('a', { class: 'more', onclick: async (event) => {
    event.preventDefault();
    setText(error, '');
    try {
      await save(link.getAttribute('href').slice('../'.length), link.download);
    } catch (problem) {
      setText(error, `The download failed. ${problem instanceof ApiError ? problem.message : 'The connection was closed.'}`);
    }
  } }, label);
  return {
    node: h('span', { class: 'csv' }, error, link),
    setLabel: (text) => setText(link, text),
    update(path, parameters) {
      const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
      setAttribute(link, 'href', `../${path}?${new URLSearchParams(given)}`);
      setAttribute(link, 'download', `${path}.csv`);
    },
  };
}

async function save(path, name) {
  const response = await request(path, { accept: 'text/csv' });
  const url = URL.createObjectURL(await response.blob());
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEEP_MS);
}
