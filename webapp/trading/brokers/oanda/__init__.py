"""OANDA v20 behind the port of `brokers.base`: `facts` is pure, `adapter` talks."""
