// Health of a fleet at a collector, and of one gateway as the collector knows it.

import { get } from './agent/api.js';
import { Health } from './health.js';
import { AT } from './route.js';

const FIELDS = 'gateway,state,last_contact,version';
const GATEWAY = AT === 'copy' ? decodeURIComponent(new URL('..', document.baseURI).pathname.split('/').at(-2)) : null;

/** What takes the place of /status: the gateway's row of the list of gateways, or nothing but the fleet's name. */
export async function readFleetStatus() {
  if (GATEWAY === null) return { gateway: 'Fleet' };
  const { gateways } = await get('../../gateways', { search: GATEWAY, fields: FIELDS, limit: 10_000 });
  return gateways.find((each) => each.gateway === GATEWAY) ?? { gateway: GATEWAY, state: 'absent' };
}

/** The health at a collector. `status`: of `readFleetStatus`. */
export class FleetHealth extends Health {
  okText = GATEWAY === null ? 'Collector OK' : 'Online';

  get problem() {
    const { status } = this;
    const error = [this.statusError, this.viewError].find((each) => each?.status === 0) ?? this.viewError ?? this.statusError;
    const since = GATEWAY === null ? null : this.lastFlush;
    if (error?.status === 0) {
      return { name: 'collector', short: 'Collector unreachable', text: 'The collector is unreachable. Retrying automatically.', reason: error.message, since };
    }
    if (status?.state === 'silent') {
      return { name: 'gateway', short: 'Gateway silent', text: 'This gateway sends nothing. Its latest figures are shown.', reason: null, since };
    }
    if (status?.state === 'absent') {
      return { name: 'absent', short: 'Gateway not found', text: 'Your token gives access to no gateway of this name.', reason: null, since: null };
    }
    if (status?.state === 'new') {
      return { name: 'gateway', short: 'Nothing received yet', text: 'This gateway has not sent anything yet.', reason: null, since: null };
    }
    if (error?.status === 503) {
      return { name: 'collector', short: 'Redis unreachable', text: "The collector's Redis is unreachable.", reason: error.message, since };
    }
    return error ? { name: null, short: 'Error', text: error.message, reason: null, since } : null;
  }

  get lastFlush() {
    return this.live.generatedAt === null ? null : Date.parse(this.live.generatedAt);
  }
}
