"""The REST API: Bottle routes over the store's reading side, served by waitress.

``answers`` builds documents, ``routes`` maps paths to them, ``problems`` says what was wrong with a
request, ``server`` owns the socket.
"""
