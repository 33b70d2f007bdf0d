"""The version, importable by every room without importing any."""

VERSION = "0.1.0"
