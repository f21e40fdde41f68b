// What each flush changed, as it happens: by /events, and where that can't be had by asking each interval.
//
// fetch and not EventSource, because that sends no Authorization header.

import { ApiError, get, request } from './api.js';

const SILENCE_MS = 40_000; // the stream says something every 5 s: longer silence means that it is dead
const RETRY_MS = 2000;
const STREAM_AGAIN_MS = 60_000;

/** Yields `{event, id, data}` of a text/event-stream response. */
async function* events(response, alive) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { event: 'message', id: null, data: [] };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
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

/** Calls `onFlush(data)` after each flush, `data` null where it is not known what has changed. */
export class Live {
  constructor(onFlush) {
    this.onFlush = onFlush;
    this.lastId = null;
    this.generatedAt = null;
    this.interval = 15;
    this.abort = null;
    this.mode = 'connecting'; // or stream, poll, away: what the footer tells
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.stop();
      else this.start();
    });
  }

  /** A page that nobody sees asks for nothing. */
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
        await this.stream(signal);
      } catch (error) {
        if (signal.aborted) return;
        const refused = error instanceof ApiError && error.status > 0;
        this.mode = refused ? 'poll' : 'away';
        if (refused) await this.poll(signal, (error.retryAfter || STREAM_AGAIN_MS / 1000) * 1000);
        else this.onFlush(null); // shows at once that the agent is away
        wait = refused ? 0 : RETRY_MS;
      }
      await pause(wait, signal);
    }
  }

  async stream(signal) {
    const silence = new AbortController();
    let timer = null;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    alive();
    let isFirst = this.lastId === null; // what changed between our first look and this stream, nobody told
    try {
      const response = await request('events', {
        accept: 'text/event-stream',
        headers: this.lastId === null ? {} : { 'Last-Event-ID': this.lastId },
        signal: AbortSignal.any([signal, silence.signal]),
      });
      this.mode = 'stream';
      for await (const { event, id, data } of events(response, alive)) {
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

  /** Ask each interval for `for_ms`, then let the stream be tried again. */
  async poll(signal, for_ms) {
    const end = Date.now() + Math.max(for_ms, STREAM_AGAIN_MS);
    while (!signal.aborted && Date.now() < end) {
      try {
        const document = await get('', { limit: 1, fields: 'mac' }, signal);
        this.interval = document.interval;
        if (document.generated_at !== this.generatedAt) {
          this.generatedAt = document.generated_at;
          this.onFlush(null);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 0) return;
        this.onFlush(null);
      }
      await pause(this.interval * 1000, signal);
    }
  }
}

/** Resolves after a while, or when `signal` says so. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
