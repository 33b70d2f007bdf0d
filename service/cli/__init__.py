"""The command line."""

from service.cli.app import run

__all__ = ["run"]
