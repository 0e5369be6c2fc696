"""The bundled demo model: a small Phi-3 that is trained here, so that the service runs anywhere."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
