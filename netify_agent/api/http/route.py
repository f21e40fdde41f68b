"""Declaration of a route.

The router, the parameter checks, ``/openapi.json`` and the reference in docs/api.md are all derived from
these declarations. To add a route, write a module in ``routes/``:

.. code-block:: python

    def routes(services: Services) -> list[Route]:
        def answer(request: Request) -> Document:
            return {"gateway": services.settings.gateway, "flows": ... request["limit"] ...}

        schema = schemas.record("Flows", {**schemas.HEAD, "flows": schemas.listing(FLOW), ...})
        return [Route("/flows", "flows", "Live and recently ended flows.", answer,
                      parameters=(parameters.limit(100), ...), schema=schema,
                      table=Table("flows", FLOW, identity=("digest",)), cached=True)]

Add the module to :func:`netify_agent.api.routes.route_table.route_table`, then run
``python tools/api_reference.py docs/api.md``. ``answer`` returns a document (JSON), or a :class:`Reply` for
anything else. It raises :class:`~netify_agent.api.http.problems.Problem` to answer with an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]  #: JSON Schema 2020-12, as OpenAPI 3.1 uses it
Document = dict[str, Any]
Environ = dict[str, Any]  #: WSGI environment

JSON = "application/json"
PROBLEM = "application/problem+json"
VARY = "Accept, Accept-Encoding"


_to_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Json(bytes):
    """A value that is encoded already. It may be a value of a document, or of an element of its lists."""


def encode(document: Document) -> bytes:
    """Encode a document as one line of JSON in UTF-8; a lone surrogate, which has no encoding, becomes ``?``.

    Lists are encoded element by element. One call of json's C encoder holds the interpreter lock; encoding
    all of ``GET /`` in one call would stop all other threads.
    """
    members = []
    for name, value in document.items():
        if isinstance(value, list):
            text = b"[" + b",".join([_element(element) for element in value]) + b"]"
        else:
            text = encoded(value)
        members.append(encoded(name) + b":" + text)
    return b"{" + b",".join(members) + b"}\n"


def _element(element: Any) -> bytes:
    """Encode an element of a list, which may be an object with values of the type Json."""
    if not isinstance(element, dict) or Json not in map(type, element.values()):
        return encoded(element)
    members: list[bytes] = []
    plain: Document = {}
    for name, value in element.items():
        if isinstance(value, Json):
            if plain:
                members.append(encoded(plain)[1:-1])
                plain = {}
            members.append(encoded(name) + b":" + value)
        else:
            plain[name] = value
    if plain:
        members.append(encoded(plain)[1:-1])
    return b"{" + b",".join(members) + b"}"


def encoded(value: Any) -> Json:
    """Encode one value, without a line end."""
    return value if isinstance(value, Json) else Json(_to_text(value).encode("utf-8", "replace"))


@dataclass(frozen=True)
class Parameter:
    """A parameter of a route.

    :ivar schema: JSON Schema of its text, with the default if clients may rely on it.
    :ivar read: converts its text to the value for the route; raises ValueError with what was expected.
    :ivar default: the value if it is absent.
    :ivar in_path: whether it is part of the path rather than of the query.
    """

    name: str
    description: str
    schema: Schema
    read: Callable[[str], Any]
    default: Any = None
    in_path: bool = False


@dataclass(frozen=True)
class Request:
    """A request with valid parameters. ``request["limit"]`` is the value of a parameter.

    :ivar values: values of all parameters that the route declares, by name.
    :ivar environ: WSGI environment.
    :ivar media_type: of the answer.
    :ivar at_ms: for a cached route, our clock at the last flush, milliseconds since the epoch; 0 before the
        first flush.
    """

    values: Mapping[str, Any]
    environ: Environ
    media_type: str = JSON
    at_ms: int = 0

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


@dataclass
class Reply:
    """A response that is not simply a document with status 200.

    :ivar body: the whole body, or the chunks of a stream.
    """

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(document: Document, status: int = 200, cache_control: str = "no-store") -> Reply:
    """A response with a document that is not cached."""
    headers = {"Content-Type": JSON, "Cache-Control": cache_control, "Vary": VARY}
    return Reply(encode(document), status, headers)


@dataclass(frozen=True)
class OtherResponse:
    """A response of a route besides 200 and those that every route may give.

    :ivar schema: JSON Schema of its body; None: a problem (RFC 9457).
    """

    description: str
    schema: Schema | None = None


@dataclass(frozen=True)
class Table:
    """How the answer of a route becomes a table in CSV; see :mod:`netify_agent.api.http.csv_table`.

    Each element is a row. Its columns are the keys of its schema: values, lists of values (in one cell, with
    spaces between) and the keys of nested objects. Lists of objects are no columns; clients ask for them as
    rows of their own.

    :ivar key: of the list in the document; None: the document itself is the only element.
    :ivar element: JSON Schema of an element.
    :ivar identity: keys of an element that stand before the columns of a nested list.
    :ivar expanded_by: the parameter, true or false, that makes the nested list of the same name the rows;
        None: the parameter ``rows``, which is added to the route, names the nested list.
    """

    key: str | None
    element: Schema
    identity: tuple[str, ...] = ()
    expanded_by: str | None = None


@dataclass(frozen=True)
class Route:
    """A path, its parameters and its responses.

    :ivar path: in Bottle's syntax: ``/<device>/history``.
    :ivar name: ``operationId`` in the OpenAPI document.
    :ivar summary: one sentence for the reference.
    :ivar answer: builds the response. Raises Problem and StoreError.
    :ivar schema: JSON Schema of the document, or of each event of a stream; None for other text.
    :ivar media_type: of the response.
    :ivar table: the same answer as CSV, for clients that ask for it; None: no CSV.
    :ivar cached: whether the document changes only with a flush. It then has an ETag and is built and
        encoded once per flush. It is read from Redis, so the response may be 503.
    :ivar lasting: whether the body never changes while the agent runs. It then has an ETag.
    :ivar page: the HTML page to which a browser is redirected instead; relative to ``path``, so that it also
        works behind a proxy that adds a prefix.
    :ivar public: whether it needs no token; its answer must hold nothing about the network.
    :ivar any_query: whether unknown parameters are ignored; monitors add one to get past caches.
    :ivar others: further statuses.
    """

    path: str
    name: str
    summary: str
    answer: Callable[[Request], Document | Reply]
    parameters: tuple[Parameter, ...] = ()
    schema: Schema | None = None
    media_type: str = JSON
    table: Table | None = None
    cached: bool = False
    lasting: bool = False
    page: str | None = None
    public: bool = False
    any_query: bool = False
    others: Mapping[int, OtherResponse] = field(default_factory=dict)
