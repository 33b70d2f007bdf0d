"""The roles of an installation: one process each."""

__all__: list[str] = []
