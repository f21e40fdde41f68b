"""Configuration: YAML and secret files to frozen settings."""
