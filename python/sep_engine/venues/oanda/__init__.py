"""OANDA v20: `parse` and `orders` are pure, `client` reads the market over HTTP (extra `oanda`)."""
