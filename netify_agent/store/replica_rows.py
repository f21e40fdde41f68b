"""Codes rows of numbers, and texts, against those that both sides know. No I/O.

A procedure here codes in both directions. With a
:class:`~netify_agent.store.replica_columns.Writer` it writes ``wanted``. With a
:class:`~netify_agent.store.replica_columns.Reader` it ignores ``wanted``, which must be empty, and returns
what was written. All that it decides by must be known to both sides, or come from the channel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from netify_agent.store.replica_columns import CODES, Channel, Invalid

#: The numbers of a hash or a sorted set: row to code to number. The row with an empty name is the total.
Rows = dict[str, dict[str, int]]
SCORE = "n"

_GONE, _AFRESH = 1 << len(CODES), 2 << len(CODES)
_NOTHING: Mapping[str, int] = {}


def rows_of(fields: Mapping[str, str]) -> Rows:
    """The rows of a hash with the fields ``code`` and ``code:row``."""
    rows: Rows = {}
    for key, value in fields.items():
        code, _, row = key.partition(":")
        rows.setdefault(row, {})[code] = int(value)
    return rows


def fields_of(rows: Rows) -> dict[str, str]:
    """The hash of such rows."""
    return {
        f"{code}:{row}" if row else code: str(number)
        for row, numbers in rows.items()
        for code, number in numbers.items()
    }


def rows_of_rates(text: str) -> Rows:
    """The rows of the rates of a device, or of the gateway."""
    total, applications = json.loads(text)
    pairs = {**applications, "": total}
    return {row: {"ru": up, "rd": down} for row, (up, down) in pairs.items()}


def rates_of(rows: Rows) -> str:
    """The text of such rows, with the applications in order."""
    pairs = {row: [numbers.get("ru", 0), numbers.get("rd", 0)] for row, numbers in sorted(rows.items())}
    total = pairs.pop("", [0, 0])
    return json.dumps([total, pairs])


def scores_of(scores: Mapping[str, int]) -> Rows:
    """The rows of a sorted set, or of a hash of numbers."""
    return {member: {SCORE: score} for member, score in scores.items()}


def difference(now: Rows, before: Rows) -> Rows:
    """How much the numbers of rows have grown, of rows that changed."""
    found: Rows = {}
    for row, numbers in now.items():
        had = before.get(row, _NOTHING)
        if numbers != had:
            found[row] = {code: number - had.get(code, 0) for code, number in numbers.items()}
    return found


def add(into: Rows, more: Rows, codes: Iterable[str], sign: int = 1) -> None:
    """Add the numbers ``codes`` of ``more``, or subtract them; 0 adds none."""
    for row, numbers in more.items():
        sums = into.setdefault(row, {})
        for code in codes:
            if numbers.get(code):
                sums[code] = sums.get(code, 0) + sign * numbers[code]


def summed(rows: Rows, codes: Iterable[str]) -> dict[str, int]:
    """The sums over all rows."""
    sums: dict[str, int] = {}
    for numbers in rows.values():
        for code in codes:
            if code in numbers:
                sums[code] = sums.get(code, 0) + numbers[code]
    return sums


def code_row(
    channel: Channel,
    table: str,
    had: Mapping[str, int],
    wanted: Mapping[str, int],
    near: Mapping[str, int] = _NOTHING,
) -> dict[str, int]:
    """Code a row.

    :param had: what both sides expect. An empty one means: no such row.
    :param near: for a code the number that a changed one is close to; else it is close to the expected one.
    """
    mask = 0
    if had and not wanted:
        mask = _GONE
    elif had.keys() - wanted.keys():
        mask = _AFRESH
    base = _NOTHING if mask else had
    if mask != _GONE:
        for bit, code in enumerate(CODES):
            if code in wanted and wanted[code] != base.get(code):
                mask |= 1 << bit
    mask = channel.count(table + ".mask", mask)
    if mask & _GONE:
        return {}
    row = {} if mask & _AFRESH else dict(had)
    for bit, code in enumerate(CODES):
        if mask >> bit & 1:
            expected = near[code] if code in near else had.get(code, 0)
            row[code] = channel.number(f"{table}.{code}", wanted.get(code, 0), expected)
    return row


def code_rows(
    channel: Channel,
    table: str,
    had: Rows,
    wanted: Rows,
    near: Mapping[str, int] = _NOTHING,
) -> Rows:
    """Code all rows of a hash. ``had`` may have rows without numbers: those that there may well be."""
    rows: Rows = {}
    for name, numbers in sorted(had.items()):
        rows[name] = code_row(channel, table, numbers, wanted.get(name, _NOTHING), near)
    more = sorted(wanted.keys() - had.keys())
    for index in range(channel.count("counts", len(more))):
        name = channel.name(more[index] if more else "")
        rows[name] = code_row(channel, table, _NOTHING, wanted.get(name, _NOTHING), near)
        if not rows[name]:
            raise Invalid("expected numbers in a new row")
    return {name: numbers for name, numbers in rows.items() if numbers}


def code_texts(channel: Channel, had: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Code the fields of a hash that are no numbers."""
    found = {}
    for name, text in sorted(had.items()):
        flag = channel.count("flags", 0 if wanted.get(name) == text else 1 if name in wanted else 2)
        if flag == 0:
            found[name] = text
        elif flag == 1:
            found[name] = channel.text(wanted.get(name, ""))
    more = sorted(wanted.keys() - had.keys())
    for index in range(channel.count("counts", len(more))):
        name = channel.name(more[index] if more else "")
        found[name] = channel.text(wanted.get(name, ""))
    return found
