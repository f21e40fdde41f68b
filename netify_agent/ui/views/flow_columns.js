// Columns of tables of flows, and flows as one of their two ends sees them.

import { downColumn, timeColumn, totalColumn, upColumn } from '../parts/columns.js';
import { h, setAttribute, setText } from '../parts/dom.js';
import { compareText, words } from '../parts/format.js';
import { applicationHref, deviceHref, twoLines } from '../parts/pieces.js';
import { level, severity } from '../parts/severity.js';

/**
 * The API describes a flow from its local side. For the device at the other end, `viewer`, the ends change places:
 * up is what this device sent.
 */
export function seenFrom(flow, viewer) {
  if (viewer === null || flow.peer !== viewer || flow.device === viewer) return flow;
  return {
    ...flow,
    device: flow.peer, device_name: null, peer: flow.device, host: flow.device_name,
    local_ip: flow.other_ip, local_port: flow.other_port, other_ip: flow.local_ip, other_port: flow.local_port,
    bytes_up: flow.bytes_down, bytes_down: flow.bytes_up, packets_up: flow.packets_down, packets_down: flow.packets_up,
    local_origin: flow.local_origin === null ? null : !flow.local_origin,
  };
}

function address(ip, port) {
  if (ip === null) return '';
  if (port === null) return ip;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** The flow's score in words, and the risks by name. */
function riskCell() {
  const score = h('span', { class: 'risk' });
  const names = h('span', { class: 'below' });
  return {
    node: h('span', { class: 'risk-cell' }, score, names),
    update(flow) {
      const { name, word } = level(flow.risk_score);
      setAttribute(score, 'data-level', name);
      setText(score, flow.risk_score ? `${word} ${flow.risk_score}` : '–');
      setText(names, flow.risks.map((risk) => risk.name).join(', '));
    },
  };
}

/** The other end; on narrow screens with the risks. */
function hostCell() {
  const lines = twoLines((flow) => ({
    href: flow.peer === null ? null : deviceHref(flow.peer),
    title: remoteHost(flow) ?? '–',
    below: [flow.protocol, address(flow.other_ip, flow.other_port)].filter(Boolean).join(' · '),
  }));
  const risk = h('span', { class: 'below risk-line narrow' });
  lines.node.append(risk);
  return {
    node: lines.node,
    update(flow) {
      lines.update(flow);
      const worst = flow.risks.reduce((most, each) => Math.max(most, severity(each.severity).rank), 0);
      setAttribute(risk, 'data-level', worst ? level(flow.risk_score).name : null);
      setText(risk, flow.risks.map((each) => each.name).join(', '));
    },
  };
}

const remoteHost = (flow) => flow.host ?? flow.other_ip;
const device = (flow) => flow.device_name ?? flow.device;

/** Columns of tables of flows. */
export const FLOW_COLUMNS = [
  { id: 'host', label: 'Remote host', style: 'main', compare: (a, b) => compareText(remoteHost(a) ?? '', remoteHost(b) ?? ''), cell: hostCell },
  { id: 'device', label: 'Device', style: 'device', compare: (a, b) => compareText(device(a) ?? '', device(b) ?? ''),
    cell: () => twoLines((flow) => ({
      href: deviceHref(flow.device),
      title: device(flow) ?? flow.local_ip ?? '–',
      below: flow.active ? 'Live' : 'Ended',
    })) },
  { id: 'application', label: 'Application', style: 'application middle', compare: (a, b) => compareText(a.application_name, b.application_name),
    cell: () => twoLines((flow) => ({ href: applicationHref(flow.application), title: flow.application_name, below: words(flow.category) })) },
  downColumn('wide'), upColumn('wide'), totalColumn(),
  timeColumn('first_seen', 'Started'), timeColumn('last_seen', 'Last seen'),
  { id: 'risk', label: 'Risk', style: 'risks-of-flow middle', descending: true, compare: (a, b) => a.risk_score - b.risk_score, cell: riskCell },
];
