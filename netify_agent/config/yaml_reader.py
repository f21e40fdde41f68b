"""Reads YAML text into frozen dataclasses and reports all problems at once, with line numbers.

The walk is over YAML nodes instead of loaded values, because only nodes know their line, keep duplicate keys
and build nothing on the author's behalf. It must not know any key of ours: those stand in ``config``.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import yaml

K = TypeVar("K")
T = TypeVar("T")
Reader = Callable[[yaml.Node], T]
"""Converts a YAML node to the value of a setting, or raises Refused."""

_SHOWN_CHARS = 60
_MAX_DEPTH = 20
_TAG = "tag:yaml.org,2002:"
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ConfigError(Exception):
    """The configuration is invalid; ``problems`` has one line of text for each problem."""

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(_printable(problem) for problem in problems)
        super().__init__(*self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Expected(ValueError):
    """Raised by a parser; the message completes the sentence 'expected ...'."""


@dataclass(frozen=True)
class Problem:
    """One problem: its line (from 1) and its key path below the node that is read."""

    line: int
    text: str
    path: str = ""

    def under(self, step: str) -> "Problem":
        """Return the problem with ``step`` (a key or ``[index]``) in front of its path."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        return dataclasses.replace(self, path=step + joint + self.path)


class Refused(Exception):
    """Raised by a reader: the node is invalid because of these problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


@dataclass(frozen=True)
class Conflict:
    """Settings of one section contradict each other; reported at the first of the given keys."""

    keys: tuple[str, ...]
    text: str
    line: int | None = None  # None: that of the first key
    path: str = ""  # empty: the first key


def reads(read: Reader[Any], key: str = "", *, required: bool = False) -> dict[str, Any]:
    """Return a field's metadata for ``section``: its reader, and its YAML key if it is not the field name.

    ``required``: the key must be given; ``read`` must refuse null.
    """
    return {"read": read, "key": key, "required": required}


def read_document(text: str, source: str, read: Reader[T]) -> T:
    """Read one YAML document; ``source`` is its name in errors. Raises ConfigError."""
    try:
        return read(_compose(text))
    except Refused as refused:
        ordered = sorted(refused.problems, key=lambda problem: problem.line)
        lines = (f"{source}:{p.line}: {p.path}{': ' if p.path else ''}{p.text}" for p in ordered)
        raise ConfigError(*lines) from None


def section(cls: type[T], rule: Callable[[T], Conflict | None] = lambda _: None) -> Reader[T]:
    """Reads a mapping into the dataclass ``cls``; missing keys, or no mapping, mean the defaults.

    ``rule`` looks at the settings together, unless one of the keys that it names is wrong in itself.
    """
    known = {field.metadata["key"] or field.name: field for field in dataclasses.fields(cast(Any, cls))}

    def read(node: yaml.Node) -> T:
        if is_null(node):
            return cls()
        given, problems = pairs(node, "keys with values")
        values: dict[str, Any] = {}
        failed = set()
        for key, (key_node, value_node) in given.items():
            if key not in known:
                problems.append(Problem(line_of(key_node), _unknown(key, list(known)), key_shown(key)))
                continue
            try:
                values[known[key].name] = known[key].metadata["read"](value_node)
            except Refused as refused:
                failed.add(key)
                problems += [problem.under(key) for problem in refused.problems]
        for key in [key for key, one in known.items() if one.metadata["required"] and key not in given]:
            failed.add(key)
            problems += [problem.under(key) for problem in _missing(known[key].metadata["read"], node)]
        settings = cls(**values)
        conflict = rule(settings)
        if conflict is not None and not failed.intersection(conflict.keys):
            key = conflict.keys[0]
            line = conflict.line or line_of(given[key][1])
            problems.append(Problem(line, conflict.text, conflict.path or key))
        if problems:
            raise Refused(*problems)
        return settings

    return read


def _missing(read: Reader[Any], node: yaml.Node) -> tuple[Problem, ...]:
    """The problems that ``read`` has with a key that is missing in the mapping ``node``."""
    try:
        read(yaml.ScalarNode(_TAG + "null", "", node.start_mark, node.end_mark))
    except Refused as refused:
        return refused.problems
    raise AssertionError("the reader of a required key accepts null")


def one_of(*values: str) -> Callable[[str], str]:
    """Return a parser that accepts ``values``; it raises Expected for any other text."""

    def parse(text: str) -> str:
        if text not in values:
            raise Expected(_choices(values))
        return text

    return parse


def _choices(values: Sequence[str]) -> str:
    return ", ".join(values[:-1]) + f" or {values[-1]}"


def variants(key: str, kinds: dict[str, Reader[Any]]) -> Reader[Any]:
    """Reads a mapping whose ``key`` names one of ``kinds``; that reader reads the other keys."""

    def read(node: yaml.Node) -> Any:
        given, problems = pairs(node, f"keys with values, such as {key}: {next(iter(kinds))}")
        if key not in given:
            missing = Problem(line_of(node), f"expected {_choices(list(kinds))}, found nothing", key)
            raise Refused(*problems, missing)
        try:
            kind = parsed(one_of(*kinds))(given[key][1])
        except Refused as refused:
            raise Refused(*problems, *(problem.under(key) for problem in refused.problems)) from None
        others = [pair for pair in node.value if pair[0] is not given[key][0]]
        return kinds[kind](yaml.MappingNode(node.tag, others, node.start_mark, node.end_mark))

    return read


def pairs(node: yaml.Node, expected: str) -> tuple[dict[str, tuple[yaml.Node, yaml.Node]], list[Problem]]:
    """Return a mapping's keys with their key and value nodes, and the problems of the keys."""
    if not isinstance(node, yaml.MappingNode) or node.tag != _TAG + "map":
        raise refusal(node, expected)
    given: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    problems: list[Problem] = []
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            problems += refusal(key_node, "a plain key").problems
        elif key_node.value in given:
            first = line_of(given[key_node.value][0])
            text = f"expected each key once, found it again (first on line {first})"
            problems.append(Problem(line_of(key_node), text, key_shown(key_node.value)))
        else:
            given[key_node.value] = (key_node, value_node)
    return given, problems


def list_of(read: Reader[T], least: int = 0) -> Reader[tuple[T, ...]]:
    """Reads a list of at least ``least`` different entries."""

    def read_list(node: yaml.Node) -> tuple[T, ...]:
        if not isinstance(node, yaml.SequenceNode) or node.tag != _TAG + "seq":
            raise refusal(node, "a list")
        if len(node.value) < least:
            raise Refused(
                Problem(line_of(node), f"expected a list of {least} or more, found {len(node.value)}")
            )
        seen: dict[T, None] = {}
        problems: list[Problem] = []
        for index, item in enumerate(node.value):
            try:
                value = read(item)
                if value in seen:
                    raise refusal(item, "each entry once", " again")
                seen[value] = None
            except Refused as refused:
                problems += [problem.under(f"[{index}]") for problem in refused.problems]
        if problems:
            raise Refused(*problems)
        return tuple(seen)

    return read_list


def mapping_of(
    read_key: Reader[K], read_value: Reader[T], expected: str, most: int, what: str = "keys"
) -> Reader[dict[K, T]]:
    """Reads a mapping of at most ``most`` different keys, in the order of the file; null is an empty one.

    ``expected`` completes the sentence 'expected ...' for anything that is no mapping. ``what`` the keys are
    stands in the error for too many.
    """

    def read(node: yaml.Node) -> dict[K, T]:
        if is_null(node):
            return {}
        given, problems = pairs(node, expected)
        if len(given) > most:
            problems.append(Problem(line_of(node), f"expected at most {most} {what}, found {len(given)}"))
        found: dict[K, T] = {}
        for text, (key_node, value_node) in given.items():
            try:
                key = read_key(key_node)
                if key in found:
                    raise refusal(key_node, "each key once", " again")
                found[key] = read_value(value_node)
            except Refused as refused:
                problems += [problem.under(key_shown(text)) for problem in refused.problems]
        if problems:
            raise Refused(*problems)
        return found

    return read


def parsed(parse: Callable[[str], T], *, secret: bool = False, any_scalar: bool = False) -> Reader[T]:
    """Reads text with ``parse``, which raises Expected for invalid text and for empty text.

    The text of a ``secret`` is never part of an error. ``any_scalar``: what YAML takes for a number is text
    too, such as the MAC address 10:20:30:40:50:11, which YAML 1.1 reads to base 60.
    """

    def read(node: yaml.Node) -> T:
        is_text = isinstance(node, yaml.ScalarNode) and (
            node.tag == _TAG + "str" or (any_scalar and not is_null(node))
        )
        try:
            # A value that is not text is refused like empty text, because only the parser knows what it
            # expects.
            return parse(node.value if is_text and node.value.isprintable() else "")
        except Expected as expected:
            mistaken = isinstance(node, yaml.ScalarNode) and not is_text and not is_null(node)
            hint = " (not text)" if mistaken else ""
            raise refusal(node, str(expected), hint, secret=secret) from None

    return read


def optional(read: Reader[T]) -> Reader[T | None]:
    """Reads null as None, anything else with ``read``."""
    return lambda node: None if is_null(node) else read(node)


def integer(low: int, high: int) -> Reader[int]:
    """Reads a decimal number within bounds, but not YAML 1.1's octal, hexadecimal or base 60."""

    def read(node: yaml.Node) -> int:
        if node.tag == _TAG + "int" and re.fullmatch(r"0|[1-9][0-9_]{0,18}", str(node.value)):
            number = int(node.value.replace("_", ""))
            if low <= number <= high:
                return number
        raise refusal(node, f"a whole number from {low} to {high}")

    return read


def boolean(node: yaml.Node) -> bool:
    """Reads a boolean in any spelling of YAML 1.1."""
    if node.tag == _TAG + "bool" and str(node.value).lower() in _TRUTH:
        return _TRUTH[node.value.lower()]
    raise refusal(node, "true or false")


def is_null(node: yaml.Node) -> bool:
    """Whether the node is null or empty."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


def line_of(node: yaml.Node) -> int:
    """Return the line of the node, from 1."""
    return int(node.start_mark.line) + 1


def refusal(node: yaml.Node, expected: str, hint: str = "", *, secret: bool = False) -> Refused:
    """Return the exception for a node that is not as ``expected``; ``hint`` is appended."""
    return Refused(Problem(line_of(node), f"expected {expected}, found {_found(node, secret)}{hint}"))


def key_shown(key: str) -> str:
    """Format a key for an error: unchanged if simple, else like a value."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else _shown(key)


def _shown(text: str) -> str:
    """Quote text for an error: shortened, and without a URL's password."""
    text = re.sub(r"^([a-z]{1,8}:/*)?.*@", r"\1***@", text, flags=re.DOTALL)
    text = re.sub(r"\?(?!db=\d*$)[^=]*=.*", "?***", text, flags=re.DOTALL)
    return repr(text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "...")


def _found(node: yaml.Node, secret: bool) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "keys with values"
    value = str(node.value)
    if secret and not is_null(node):
        scheme = re.match(r"[a-z]{1,8}://", value)
        return f"'{scheme.group() if scheme else ''}***'"
    if not node.tag.startswith(_TAG):
        return f"a value tagged {_shown(node.tag)}"
    if node.tag == _TAG + "str":
        return _shown(value)
    return _shown(value)[1:-1] or "nothing"


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return (
        f"unknown key, did you mean '{close[0]}'?" if close else f"unknown key, expected {', '.join(known)}"
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _compose(text: str) -> yaml.Node:
    """Parse the only document of ``text`` into nodes; an empty text is null."""
    try:
        _check_events(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader) or yaml.compose("null", Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Refused(Problem(line, "expected valid YAML: found a control character")) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = ", ".join(part for part in (error.context, error.problem) if part)
        raise Refused(Problem(mark.line + 1 if mark else 1, f"expected valid YAML: {why}")) from None
    return cast(yaml.Node, root)


def _check_events(text: str) -> None:
    """Refuse text that could expand to a large or endless tree, before the tree is built."""
    loader: Any = yaml.SafeLoader(text)
    depth = 0
    problems = []
    try:
        while loader.check_event():
            event = loader.get_event()
            line = event.start_mark.line + 1
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise Refused(Problem(line, f"expected at most {_MAX_DEPTH} levels, found more"))
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                problems.append(Problem(line, "expected plain values, found a YAML anchor or alias (& or *)"))
    except (ValueError, OverflowError):
        # PyYAML 6.0.3 and older let these through from int() and chr(), as for "\UFFFFFFFF".
        raise Refused(Problem(loader.line + 1, "expected valid YAML: number out of range")) from None
    finally:
        loader.dispose()
    if problems:
        raise Refused(*problems)
