"""The web app: accounts, orders, API, sockets and the dashboard."""
