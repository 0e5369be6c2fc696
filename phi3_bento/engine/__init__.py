"""Stage 3: run a request."""
