// All applications, and who uses each.

import { get } from './api.js';
import { h, icon, setText } from './dom.js';
import { compareText, plural, words } from './format.js';
import { deviceHref, downColumn, emptyNote, listOrNote, nowColumn, timeColumn, twoLines, upColumn } from './parts.js';
import { Table } from './table.js';

const LIMIT = 10_000; // the most that the API gives at once: netifyd knows fewer
const USERS = 3;

/** The table of applications. */
export class Applications {
  constructor() {
    this.title = 'Applications';
    this.all = [];
    this.summary = h('p', { class: 'lead', role: 'status' }, '\u00a0');
    this.search = h('input', {
      type: 'search', id: 'search', placeholder: 'Name or category', autocomplete: 'off', spellcheck: 'false',
      oninput: () => this.filter(true),
    });
    this.table = new Table({
      caption: 'Applications', key: (row) => row.tag, sort: { id: 'rate', descending: true },
      columns: [
        { id: 'name', label: 'Application', style: 'main', compare: (one, other) => compareText(one.name, other.name),
          cell: () => twoLines((row) => ({
            href: `#/flows?application=${encodeURIComponent(row.tag)}`, title: row.name, below: words(row.category),
          })) },
        nowColumn(), downColumn('middle'), upColumn(),
        { id: 'users', label: 'Used most by', style: 'users middle', cell: usersCell },
        timeColumn('last_seen', 'Last seen'),
      ],
    });
    this.nobody = emptyNote('No application has been seen yet.', 'They show up by themselves, with the first traffic.');
    this.nothing = emptyNote('No application is like that.');
    this.node = h('div', { class: 'page' }, h('h1', {}, 'Applications'), this.summary,
      h('div', { class: 'tools' },
        h('div', { class: 'field search' }, h('label', { for: 'search', class: 'hidden' }, 'Search applications'), icon('search'), this.search)),
      this.table.node, this.nobody, this.nothing);
    listOrNote(this.table.node, this.nobody, false);
    listOrNote(this.table.node, this.nothing, false);
  }

  close() {
    this.table.close();
  }

  async refresh() {
    this.all = (await get('applications', { limit: LIMIT })).applications;
    this.filter(false);
  }

  filter(asked) {
    const wanted = this.search.value.trim().toLowerCase();
    const found = wanted ? this.all.filter((row) => [row.name, words(row.category)]
      .some((text) => text.toLowerCase().includes(wanted))) : this.all;
    if (asked) this.table.reset(found);
    else this.table.set(found);
    setText(this.summary, wanted
      ? `${plural(found.length, 'application')} of ${this.all.length} found`
      : `${plural(this.all.length, 'application')} seen`);
    listOrNote(this.table.node, this.nobody, this.all.length === 0);
    if (this.all.length) listOrNote(this.table.node, this.nothing, found.length === 0);
  }
}

/** The devices that moved most, each a link. */
function usersCell() {
  const links = Array.from({ length: USERS }, () => h('a', {}, h('bdi', {})));
  return {
    node: h('span', { class: 'links' }, ...links),
    update(row) {
      links.forEach((link, index) => {
        const user = row.devices[index];
        link.hidden = !user;
        if (!user) return;
        link.setAttribute('href', deviceHref(user.device));
        setText(link.firstChild, user.name ?? user.device);
      });
    },
  };
}
