"""A model package under the engine, as the benchmarks ask it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from inference.manifest import open_package
from inference.sessions import DeviceOptions, open_sessions
from inference.vlm import CacheSize, Vlm
from tests.bench.inference_bench import TimedSession


@dataclass(frozen=True)
class Served:
    """A package under an engine, with sessions that are timed."""

    vlm: Vlm
    vision: TimedSession
    decoder: TimedSession

    @classmethod
    def open(cls, package: Path, threads: int, rows: int, *, spin: bool = False) -> Served:
        """Load it."""
        opened = open_package(package)
        options = DeviceOptions(spin=spin)
        sessions = open_sessions(opened.folder, providers=("cpu",), threads=threads, options=options)
        vision, decoder = TimedSession(sessions.vision), TimedSession(sessions.decoder)
        vlm = Vlm(opened, replace(sessions, vision=vision, decoder=decoder), size=CacheSize(rows, 1))
        # Random models end where they like; lengths are the benchmark's to decide.
        vlm._ends = frozenset()
        return cls(vlm, vision, decoder)
