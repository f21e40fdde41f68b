"""The REST API: declared routes over the store's reading side, served by waitress.

``declarations`` says what a route is and how one is added, ``routes`` and its neighbours declare them;
``app`` leads a request to its route, ``parameters`` reads what it asks for, ``documents`` builds documents,
``caching`` keeps them encoded, ``problems`` says what was wrong; ``openapi`` and ``reference`` tell of it
all, ``server`` owns the socket.
"""
