// Table columns shared by the views.

import { bytesFigure, rateFigure, relativeTime } from './format.js';
import { downUp, labelled } from './pieces.js';

/** Traffic columns shared by devices, applications, protocols and flows. */
export const downColumn = (style = 'middle') => traffic('bytes_down', 'Download', 'down', style);
export const upColumn = (style = 'middle') => traffic('bytes_up', 'Upload', 'up', style);

function traffic(name, label, arrow, style) {
  return {
    id: name, label, style: `figure ${style}`, descending: true,
    compare: (a, b) => a[name] - b[name],
    cell: () => {
      const figure = bytesFigure(arrow);
      return { node: labelled(arrow, '', figure.node), update: (item) => figure.update(item[name]) };
    },
  };
}

/** Download and upload in one column, for narrow screens. */
export const totalColumn = (label = 'Total') => ({
  id: 'bytes', label, style: 'figure narrow', descending: true,
  compare: (a, b) => (a.bytes_down + a.bytes_up) - (b.bytes_down + b.bytes_up),
  cell: () => {
    const both = downUp(bytesFigure);
    return { node: both.node, update: (item) => both.update(item.bytes_down, item.bytes_up) };
  },
});

/** Current download and upload rates, sorted by their sum, then by total bytes. */
export const nowColumn = () => ({
  id: 'rate', label: 'Now', style: 'figure', descending: true,
  compare: (a, b) => (a.rate_down + a.rate_up) - (b.rate_down + b.rate_up)
    || (a.bytes_down + a.bytes_up) - (b.bytes_down + b.bytes_up),
  cell: () => {
    const both = downUp(rateFigure);
    return { node: both.node, update: (item) => both.update(item.rate_down, item.rate_up) };
  },
});

/** A column that shows the age of the time `item[id]`. */
export function timeColumn(id, label, style = 'wide') {
  return {
    id, label, style: `when ${style}`, descending: true,
    compare: (a, b) => Date.parse(a[id] ?? 0) - Date.parse(b[id] ?? 0),
    cell: () => {
      const time = relativeTime();
      return { node: time.node, update: (item) => time.update(item[id]) };
    },
  };
}
