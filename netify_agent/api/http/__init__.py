"""HTTP: server, access, request parameters, response cache."""
