"""JSON schemas and the OpenAPI document."""
