"""Our service with nobody who hears of its requests: no metrics, no log, no traces."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from phi3_bento.usage import reporter  # found by the line above
from service import Phi3Service, application

reporter.MAX_NOTES = 0
application.reporter.listeners.clear()

__all__ = ["Phi3Service"]
