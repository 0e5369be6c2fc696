"""How hypothesis runs here: the same examples every time, without a clock and without files."""

from hypothesis import settings

settings.register_profile("unit", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("unit")
