"""A local OANDA v20 server: REST, price stream, transaction stream, its own ledger, no account.

wire ◄ market ◄ requests, ledger ◄ views ◄ venue (sans-IO: a request value in, a response value out)
faults (values) and feed, candles (recorded quotes) stand beside; store (SQLite) and server (HTTP)
are the only modules that touch the outside world.
"""
