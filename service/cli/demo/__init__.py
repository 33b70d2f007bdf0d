"""The demonstration: a PACS and an EHR played around a real service."""

__all__: list[str] = []
