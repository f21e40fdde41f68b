"""The fleet: a gateway forwards its store to a collector, which serves many gateways. See docs/fleet.md."""
