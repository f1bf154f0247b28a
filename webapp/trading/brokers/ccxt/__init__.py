"""A spot exchange behind the port of `brokers.base`: `parse` is pure, `adapter` talks."""
