"""Ends the streams of a service process that was killed, from a process that was not."""
