"""What holds where nothing is set: the model, the port, the data directory."""

import os
from pathlib import Path

DEMO_MODEL = "phi3-demo"
DEFAULT_PORT = 11403
PACKED_MODEL = Path(__file__).resolve().parent.parent.parent / "packed_model"
"""Beside service.py, in the repository and in a Bento: the model that a Bento carries."""


def default_data_dir() -> Path:
    """The user's data directory by the XDG convention."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "phi3-bento"


def default_model() -> str:
    """What is served where nothing else is said: the model that lies beside service.py, if any."""
    return str(PACKED_MODEL) if PACKED_MODEL.is_dir() else DEMO_MODEL
