"""netify-agent: accounts what a netifyd gateway sees, byte for byte, and serves it over REST."""

__version__ = "0.2.0"
