"""Phi-3-Mini served by BentoML and vLLM behind the OpenAI API."""

__version__ = "0.1.0"
