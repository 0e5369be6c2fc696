"""With what codes the commands end."""

from enum import IntEnum


class Exit(IntEnum):
    """A command's exit code; what scripts and process managers go by."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """A sentence for the reference page."""
        return {
            Exit.DONE: "Done. Of `serve`: it was asked to stop, and has stopped in order.",
            Exit.FAILURE: "It failed; a sentence on standard error says why. Of `doctor`: there "
            "is a problem. Of `cache warm`: some lines failed. Of `docs --check`: a page is old.",
            Exit.USAGE: "The command line cannot be understood.",
            Exit.INTERRUPTED: "Stopped by Ctrl-C before it was done.",
        }[self]
