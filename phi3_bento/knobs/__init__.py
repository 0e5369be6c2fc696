"""The knobs that `settings.py` puts together, by what they turn."""
