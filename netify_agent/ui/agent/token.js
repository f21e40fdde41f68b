// The access token prompt. The token is kept in sessionStorage, for this tab only, and never put in a URL.

import { setText } from '../parts/dom.js';

let pendingPrompt = null;

/** Wait for a token that differs from `rejected`, the token of the failed request (null if it had none). */
export function askToken(rejected) {
  if (sessionStorage.getItem('token') !== rejected) return Promise.resolve(); // another request has prompted already
  pendingPrompt ??= prompt(rejected !== null).finally(() => {
    pendingPrompt = null;
  });
  return pendingPrompt;
}

function prompt(wasRejected) {
  sessionStorage.removeItem('token');
  const dialog = document.getElementById('token-dialog');
  const input = document.getElementById('token');
  setText(document.getElementById('token-error'), wasRejected ? 'This token is not valid.' : '');
  input.value = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.querySelector('form').addEventListener(
      'submit',
      (event) => {
        event.preventDefault();
        sessionStorage.setItem('token', input.value.trim());
        input.value = '';
        dialog.close();
        resolve();
      },
      { once: true },
    );
    dialog.oncancel = (event) => event.preventDefault(); // the dashboard is empty without a token
  });
}
