"""Where market data comes from, read-only: one module or folder for each venue."""
