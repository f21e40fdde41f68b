"""HTTP: server, access rules, request parameters, paging, response cache, problems."""
