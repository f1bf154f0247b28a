"""The screen: one page, its login and its error pages. It talks to the API only."""
