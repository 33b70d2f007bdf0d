"""What building results may take of a machine."""

from __future__ import annotations

from tests.bench.faces_memory import measured


def test_faces_of_a_large_study_take_at_most_three_times_its_pixels() -> None:
    peaks = measured()
    assert set(peaks) == {"pdf", "overlay", "objects"}
    assert 0 < max(peaks.values()) < 3.0
