"""This service beside others, on one machine in one run: `python -m loadtests.compare`."""
