// Live updates: follows /events, and polls once per interval while the event stream is unavailable.
// Uses fetch because EventSource cannot send an Authorization header.

import { AT } from '../route.js';
import { ApiError, get, request } from './api.js';

const STREAM_TIMEOUT_MS = 40_000; // the API sends a comment every 5 s
const RETRY_MS = 2000;
const STREAM_RETRY_MS = 60_000;

/** Yield `{event, id, data}` from a text/event-stream response; calls `onData` for each chunk. */
async function* events(response, onData) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { event: 'message', id: null, data: [] };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onData();
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (event.data.length) yield { ...event, data: event.data.join('\n') };
        event = { event: 'message', id: event.id, data: [] };
        continue;
      }
      const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === 'data') event.data.push(text);
      else if (field === 'event' || field === 'id') event[field] = text;
    }
  }
}

/** What is polled: the shortest document that changes with each flush, or with each message to a collector. */
const POLLED = AT === 'collector' ? ['gateways', { limit: 1, fields: 'gateway' }] : ['', { limit: 1, fields: 'mac' }];

/**
 * Calls `onFlush(flush)` after each flush and alert; `flush` is null if what changed is unknown. A collector is polled:
 * it has no events.
 */
export class Live {
  constructor(onFlush) {
    this.onFlush = onFlush;
    this.polled = null;
    this.lastId = null;
    this.generatedAt = null;
    this.interval = 15;
    this.abort = null;
    this.mode = 'connecting'; // then stream, poll or offline; shown in the footer
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.stop();
      else this.start();
    });
  }

  /** Hidden pages send no requests. */
  stop() {
    this.abort?.abort();
    this.abort = null;
  }

  start() {
    if (this.abort || document.hidden) return;
    this.abort = new AbortController();
    this.run(this.abort.signal);
  }

  async run(signal) {
    while (!signal.aborted) {
      let wait = RETRY_MS;
      try {
        if (AT === 'agent') await this.stream(signal);
        else await this.pollAlways(signal);
      } catch (error) {
        if (signal.aborted) return;
        const refused = error instanceof ApiError && error.status > 0;
        this.mode = refused ? 'poll' : 'offline';
        if (refused) await this.poll(signal, (error.retryAfter || STREAM_RETRY_MS / 1000) * 1000);
        else this.onFlush(null); // the refresh fails, which reports the outage at once
        wait = refused ? 0 : RETRY_MS;
      }
      await pause(wait, signal);
    }
  }

  async stream(signal) {
    const timeout = new AbortController();
    let timer = null;
    const restartTimer = () => {
      clearTimeout(timer);
      timer = setTimeout(() => timeout.abort(), STREAM_TIMEOUT_MS);
    };
    restartTimer();
    let isFirst = this.lastId === null; // changes before the first event are unknown
    try {
      const response = await request('events', {
        accept: 'text/event-stream',
        headers: this.lastId === null ? {} : { 'Last-Event-ID': this.lastId },
        signal: AbortSignal.any([signal, timeout.signal]),
      });
      this.mode = 'stream';
      for await (const { event, id, data } of events(response, restartTimer)) {
        if (event === 'alert') {
          this.onFlush(null);
          continue;
        }
        this.lastId = id;
        const flush = JSON.parse(data);
        this.interval = flush.interval;
        this.generatedAt = flush.generated_at;
        this.onFlush(event === 'flush' && !isFirst ? flush : null);
        isFirst = false;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Poll until the collector can't be reached; throws then. */
  async pollAlways(signal) {
    this.mode = 'poll';
    await this.poll(signal, Infinity);
    throw new ApiError(0, 'The collector does not respond.');
  }

  /** Poll once per interval for `durationMs`, at least a minute. Then the caller tries the stream again. */
  async poll(signal, durationMs) {
    const end = Date.now() + Math.max(durationMs, STREAM_RETRY_MS);
    while (!signal.aborted && Date.now() < end) {
      try {
        const { interval, generated_at, totals } = await get(...POLLED, signal);
        this.interval = interval ?? this.interval;
        this.generatedAt = generated_at;
        const polled = JSON.stringify([generated_at, totals]);
        if (polled !== this.polled) this.onFlush(null);
        this.polled = polled;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 0) return;
        this.onFlush(null);
      }
      await pause(this.interval * 1000, signal);
    }
  }
}

/** Resolves after `milliseconds`, or as soon as `signal` aborts. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
