"""The page at /ui: a playground, and what the service does meanwhile."""
