"""A model that another server runs: the same questions, parser and checks over an OpenAI-compatible chat interface."""

from inference.served.chat import ChatTransport
from inference.served.description import describe_checkpoint, open_description
from inference.served.served_model import load_served_model

__all__ = ["ChatTransport", "describe_checkpoint", "load_served_model", "open_description"]
