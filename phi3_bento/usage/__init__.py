"""Stage 4: count it."""
