"""How Django writes what it shows, by language."""
