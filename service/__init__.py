"""The service around the rooms: settings, account book, tasks, delivery, supervisor, HTTP, console and CLI."""

__all__: list[str] = []
