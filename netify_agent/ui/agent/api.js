// HTTP client for the agent's REST API (docs/api.md): tokens, timeouts and errors.

import { setSkew } from '../parts/format.js';
import { askToken } from './token.js';

const ROOT = new URL('../', document.baseURI); // parent of /ui/, so that a proxy may add a path prefix
const TIMEOUT_MS = 20_000;
const TIMED_OUT = 'The request to the agent timed out.';

/** An error response. `status` is the HTTP status, or 0 if there was no response. */
export class ApiError extends Error {
  constructor(status, detail, retryAfter = null) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Request `path`; prompts for a token when the API requires one. Returns the Response or throws ApiError. */
export async function request(path, { accept = 'application/json', headers = {}, signal, timeoutMs } = {}) {
  for (;;) {
    const token = sessionStorage.getItem('token');
    const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };
    // Each attempt has its own time-out: it does not run while the user types a token.
    const timeout = timeoutMs ? AbortSignal.timeout(timeoutMs) : null;
    const signals = [signal, timeout].filter(Boolean);
    let response;
    try {
      response = await fetch(new URL(path, ROOT), {
        headers: { Accept: accept, ...authorization, ...headers },
        credentials: 'omit',
        signal: signals.length ? AbortSignal.any(signals) : undefined,
      });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      if (error.name === 'TimeoutError') throw new ApiError(0, TIMED_OUT);
      throw new ApiError(0, 'The agent does not respond.');
    }
    const date = Date.parse(response.headers.get('Date'));
    // The Date header has a resolution of one second, so smaller differences are ignored.
    if (!Number.isNaN(date)) setSkew(Math.abs(date - Date.now()) < 1500 ? 0 : date - Date.now());
    if (response.ok) return response;
    if (response.status === 401) {
      await askToken(token);
      continue;
    }
    throw new ApiError(response.status, await problemDetail(response), Number(response.headers.get('Retry-After')));
  }
}

async function problemDetail(response) {
  try {
    return (await response.json()).detail ?? response.statusText;
  } catch {
    return response.statusText || `HTTP status ${response.status}`;
  }
}

/** GET `path` and return its JSON document. Parameters that are null, undefined or '' are omitted. */
export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, value);
  }
  const target = query.size ? `${path}?${query}` : path;
  const response = await request(target, { signal, timeoutMs: TIMEOUT_MS });
  try {
    return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, TIMED_OUT); // or the connection was closed in the middle of the body
  }
}

/** The API path of a device. */
export function devicePath(id) {
  return encodeURIComponent(id);
}
