"""The REST API: declared routes over the store's reading side, served by waitress.

``routes/`` has one module for each group of paths; ``routes/route_table`` lists them. A route reads through
``services`` and builds its answer with ``documents``. ``http/app`` finds the route of a request and caches
its answer; ``http/route`` explains how to add a route. ``spec/`` has the JSON schemas and the OpenAPI
document.
"""
