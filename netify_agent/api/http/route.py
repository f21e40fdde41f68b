"""Routes, declared once.

The router, the checks of parameters, ``/openapi.json`` and the tables of docs/api.md are all made from
these declarations. **To add a route**, write in a module of its own

.. code-block:: python

    def routes(services: Services) -> list[Route]:
        def answer(request: Request) -> Document:
            return {"gateway": services.settings.gateway, "flows": ... request["limit"] ...}

        schema = schemas.record("Flows", {**schemas.HEAD, "flows": schemas.listing(FLOW), ...})
        return [Route("/flows", "flows", "Live and recently ended flows.", answer,
                      parameters=(parameters.limit(100), ...), schema=schema, cached=True)]

and name that module in :func:`netify_agent.api.routes.all_routes.all_routes`. ``answer`` returns a
document (JSON), or a :class:`Reply` for everything else; it raises
:class:`~netify_agent.api.http.problems.Problem` where there is no answer.
Then run ``python tools/api_reference.py docs/api.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]  #: JSON Schema 2020-12, as OpenAPI 3.1 uses it
Document = dict[str, Any]
Environ = dict[str, Any]  #: of WSGI

JSON = "application/json"
PROBLEM = "application/problem+json"
VARY = "Accept, Accept-Encoding"


_to_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode(document: Document) -> bytes:
    """``document`` as one line of JSON in UTF-8; a lone surrogate, which is no text, becomes ``?``.

    Lists are encoded an element at a time: the encoder holds the interpreter, and encoding all of ``GET /``
    at once kept every other thread waiting.
    """
    members = []
    for name, value in document.items():
        if isinstance(value, list):
            encoded = b"[" + b",".join([_to_bytes(element) for element in value]) + b"]"
        else:
            encoded = _to_bytes(value)
        members.append(_to_bytes(name) + b":" + encoded)
    return b"{" + b",".join(members) + b"}\n"


def _to_bytes(value: Any) -> bytes:
    return _to_text(value).encode("utf-8", "replace")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a route.

    :ivar schema: JSON Schema of its values, with the ``default`` for clients.
    :ivar read: parses its text; raises ValueError that says what was expected.
    :ivar default: the value if it is absent.
    :ivar in_path: whether it is in the path instead of the query.
    """

    name: str
    description: str
    schema: Schema
    read: Callable[[str], Any]
    default: Any = None
    in_path: bool = False


@dataclass(frozen=True)
class Request:
    """A request with valid parameters.

    :ivar values: value by name of parameter, for each that the route declares.
    :ivar environ: of WSGI, for everything else.
    :ivar at_ms: when the flush was taken that a cached answer is to show, our clock; 0 before the first.
    """

    values: Mapping[str, Any]
    environ: Environ
    at_ms: int = 0

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


@dataclass
class Reply:
    """A response that is more than a document with status 200.

    :ivar body: all of it, or the pieces of a stream.
    """

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(document: Document, status: int = 200, cache_control: str = "no-store") -> Reply:
    """A document that is not cached."""
    headers = {"Content-Type": JSON, "Cache-Control": cache_control, "Vary": VARY}
    return Reply(encode(document), status, headers)


@dataclass(frozen=True)
class OtherResponse:
    """A status of a route besides 200 and those that every route has.

    :ivar schema: of its body; None: a problem.
    """

    description: str
    schema: Schema | None = None


@dataclass(frozen=True)
class Route:
    """A path, and what it answers.

    :ivar path: as Bottle writes it: ``/<device>/history``.
    :ivar name: ``operationId``.
    :ivar summary: one sentence for the reference.
    :ivar schema: of the answer's document, or of each event of a stream; None for other text.
    :ivar media_type: of the answer.
    :ivar cached: whether the document changes with a flush only: it gets an ETag, and is built and
        encoded once a flush. Redis is asked for it, so 503 may be the answer.
    :ivar lasting: whether it stays the same as long as we run, and has an ETag for that.
    :ivar page: where a browser, which prefers HTML, is sent instead; relative to ``path``, so that it also
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
    cached: bool = False
    lasting: bool = False
    page: str | None = None
    public: bool = False
    any_query: bool = False
    others: Mapping[int, OtherResponse] = field(default_factory=dict)
