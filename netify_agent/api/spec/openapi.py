"""``/openapi.json``: an OpenAPI 3.1 document, generated from the declared routes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netify_agent import __version__
from netify_agent.api.http.csv_table import CSV
from netify_agent.api.http.response_cache import Encoded
from netify_agent.api.http.route import (
    JSON,
    PROBLEM,
    Document,
    OtherResponse,
    Parameter,
    Reply,
    Request,
    Route,
    Schema,
    encode,
)
from netify_agent.api.spec import schemas

#: Error responses that every path may give.
COMMON = {
    400: OtherResponse(
        "A parameter that is unknown, repeated, empty, not UTF-8 or wrong; `parameter` names it."
    ),
    401: OtherResponse("Tokens are configured, and the request has none of them."),
    403: OtherResponse("The `Host` header is no name of this machine."),
    405: OtherResponse("A method other than GET, HEAD and OPTIONS."),
    406: OtherResponse("`Accept` excludes the media types of this path."),
    413: OtherResponse("The body is larger than 16 KiB."),
    414: OtherResponse("Path and query are longer than 4,096 bytes."),
    431: OtherResponse("The headers are larger than 16 KiB."),
    500: OtherResponse("An error in the agent; the journal has the details."),
}
#: Headers of a status.
_HEADERS = {
    303: {"Location": "Where to go instead."},
    304: {"ETag": "The ETag of the answer that the client has."},
    401: {"WWW-Authenticate": "The scheme of the tokens: `Bearer`."},
    405: {"Allow": "The allowed methods."},
    503: {"Retry-After": "Seconds, if Redis does not answer."},
}
_ETAG = {"ETag": "Identifies this answer, for `If-None-Match`."}
_LINK = {"Link": 'The next page, `rel="next"` (RFC 8288), relative to this one; absent on the last.'}
NOT_MODIFIED = "The answer is still the one that `If-None-Match` names."
AWAY = OtherResponse("Redis does not answer; `detail` says why, `Retry-After` when to retry.")


@dataclass(frozen=True)
class About:
    """What a document says of the whole API.

    :ivar tokens: what the token is for.
    :ivar needs_token: whether each request needs one.
    """

    title: str
    description: str
    tokens: str
    needs_token: bool


AGENT = About(
    "netify-agent",
    "The traffic of a gateway's devices and applications, as netifyd measures it. "
    "Counters are exact; bytes are whole captured frames, rates are bits per second.",
    "Required if `web.tokens_file` is configured; `/healthz` needs none.",
    needs_token=False,
)


def route(others: Sequence[Route], about: About = AGENT, beside: Sequence[Route] = ()) -> Route:
    """The route of the document, which describes ``others``, itself, and ``beside``."""

    def answer(request: Request) -> Reply:
        return encoded.reply(request.environ)

    own = Route(
        "/openapi.json", "openapi", "This API as an OpenAPI 3.1 document.", answer, schema=_ANY, lasting=True
    )
    body = encode(document([*others, own, *beside], about))
    encoded = Encoded.of_content(body, JSON)
    return own


_ANY: Schema = {"type": "object"}


def document(routes: Sequence[Route], about: About = AGENT) -> Document:
    """The OpenAPI document of ``routes``."""
    components: dict[str, Schema] = {}
    paths = {openapi_path(one): {"get": _operation(one, components)} for one in routes}
    token = {"type": "http", "scheme": "bearer", "description": about.tokens}
    return {
        "openapi": "3.1.0",
        "info": {"title": about.title, "version": __version__, "description": about.description},
        "paths": paths,
        "security": [{"token": []}] if about.needs_token else [{}, {"token": []}],
        "components": {
            "schemas": {name: components[name] for name in sorted(components)},
            "securitySchemes": {"token": token},
        },
    }


def openapi_path(one: Route) -> str:
    """The path of a route in OpenAPI's syntax: ``/{device}/history``."""
    return re.sub(r"<(\w+)(:\w+)?>", r"{\1}", one.path)


def _statuses(one: Route) -> dict[int, OtherResponse]:
    """The responses of a route by status, except for 200, 303 and 304."""
    responses = {**COMMON, **({503: AWAY} if one.cached else {}), **one.others}
    return dict(sorted(responses.items()))


def _operation(one: Route, components: dict[str, Schema]) -> Document:
    has_etag = one.cached or one.lasting
    body = one.schema or {"type": "string"}
    is_list = any(parameter.name == "cursor" for parameter in one.parameters)
    headers = {**(_ETAG if has_etag else {}), **(_LINK if is_list else {})}
    responses = {200: _response("The answer.", headers, one.media_type, body, components)}
    if one.table is not None:
        responses[200]["content"][CSV] = {"schema": {"type": "string"}}
    if one.page is not None:
        responses[303] = _response(f"A browser is sent to {one.page}.", _HEADERS[303])
    if has_etag:
        responses[304] = _response(NOT_MODIFIED, _HEADERS[304])
    for status, other in _statuses(one).items():
        media_type, schema = (PROBLEM, schemas.PROBLEM) if other.schema is None else (JSON, other.schema)
        headers = _HEADERS.get(status, {})
        responses[status] = _response(other.description, headers, media_type, schema, components)
    operation = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [_parameter(parameter) for parameter in one.parameters],
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }
    return {**operation, "security": []} if one.public else operation


def _parameter(parameter: Parameter) -> Document:
    document: Document = {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.in_path:
        document["required"] = True
    if parameter.schema.get("type") == "array":
        document |= {"style": "form", "explode": False}
    return document


def _response(
    description: str,
    headers: Mapping[str, str],
    media_type: str | None = None,
    schema: Schema | None = None,
    components: dict[str, Schema] | None = None,
) -> Document:
    """A response object; without a ``media_type`` it has no body."""
    document: Document = {"description": description}
    if headers:
        document["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    if media_type is not None:
        document["content"] = {
            media_type: {"schema": _named(schema, {} if components is None else components)}
        }
    return document


def _named(schema: Any, components: dict[str, Schema]) -> Any:
    """``schema`` with each titled part moved to ``components`` and replaced by a reference to it."""
    if isinstance(schema, list):
        return [_named(part, components) for part in schema]
    if not isinstance(schema, dict):
        return schema
    title = schema.get("title")
    if not isinstance(title, str):
        return {key: _named(value, components) for key, value in schema.items()}
    whole = {key: _named(value, components) for key, value in schema.items() if key != "title"}
    if components.setdefault(title, whole) != whole:
        raise ValueError(f"two schemas are called {title}")
    return {"$ref": f"#/components/schemas/{title}"}
