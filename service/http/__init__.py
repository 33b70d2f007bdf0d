"""The HTTP API, its access rules, the metrics and the console."""

from service.http.app import create_app

__all__ = ["create_app"]
