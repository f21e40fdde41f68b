// The REST API of the agent, the only source of all that is shown. docs/api.md is its reference.

import { setSkew } from './format.js';
import { askToken } from './token.js';

const ROOT = new URL('../', document.baseURI); // of /ui/: works behind a proxy with a prefix too
const TIMEOUT_MS = 20_000;

/** The API said no. `status` is HTTP's, 0 where there was no answer at all. */
export class ApiError extends Error {
  constructor(status, detail, retryAfter = null) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Ask for `path`; a token that is wanted is asked for. Resolves to the Response, rejects with ApiError. */
export async function request(path, { accept = 'application/json', headers = {}, signal } = {}) {
  for (;;) {
    const token = sessionStorage.getItem('token');
    const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };
    let response;
    try {
      response = await fetch(new URL(path, ROOT), {
        headers: { Accept: accept, ...authorization, ...headers },
        credentials: 'omit',
        signal,
      });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError(0, 'The agent does not answer.');
    }
    const date = Date.parse(response.headers.get('Date'));
    // The header has whole seconds: a difference below that is none.
    if (!Number.isNaN(date)) setSkew(Math.abs(date - Date.now()) < 1500 ? 0 : date - Date.now());
    if (response.ok) return response;
    if (response.status === 401) {
      await askToken(token);
      continue;
    }
    throw new ApiError(response.status, await problem(response), Number(response.headers.get('Retry-After')));
  }
}

async function problem(response) {
  try {
    return (await response.json()).detail ?? response.statusText;
  } catch {
    return response.statusText || `HTTP status ${response.status}`;
  }
}

/** The document of `path`; parameters that are null are left out. */
export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, value);
  }
  const target = query.size ? `${path}?${query}` : path;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
  try {
    return await (await request(target, { signal: either })).json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw error instanceof ApiError ? error : new ApiError(0, 'The agent does not answer in time.');
  }
}

/** The path of a device, below which its history is. */
export function devicePath(id) {
  return encodeURIComponent(id);
}
