// The token prompt. The token is kept for this tab only (sessionStorage), and never stands in a URL.

import { setText } from './dom.js';

let asking = null;

/** Resolves when there is a token other than `refused`, which the API did not take (null: none was sent). */
export function askToken(refused) {
  if (sessionStorage.getItem('token') !== refused) return Promise.resolve(); // another request has asked already
  asking ??= ask(refused !== null).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(wasWrong) {
  sessionStorage.removeItem('token');
  const dialog = document.getElementById('token-dialog');
  const input = document.getElementById('token');
  setText(document.getElementById('token-error'), wasWrong ? 'The agent did not take that token.' : '');
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
    dialog.oncancel = (event) => event.preventDefault(); // without a token there is nothing to see
  });
}
