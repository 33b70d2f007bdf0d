"""The short form of `make rehearsal`: a small hospital, every kind of sending, four faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promises.rehearsal.faults import FAULTS
from tests.promises.rehearsal.plan import write_plan
from tests.promises.rehearsal.play import Play

STUDIES = 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_hospital_loses_nothing_and_gets_nothing_twice(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "modality", STUDIES, seed=1, size_px=256)
    assert any(study.is_stat for study in plan) and any(study.late for study in plan)
    assert any(study.is_doubled for study in plan) and any(study.comes_again for study in plan)
    verdict = Play(plan, FAULTS[:4], timeout_s=400, say=lambda _: None).run(tmp_path)
    assert verdict.broken == (), verdict.page()
    assert verdict.acknowledged_objects == verdict.accounted == verdict.objects
    assert verdict.successes > verdict.objects
    assert verdict.pacs_refused > 0
    assert (verdict.at_pacs, verdict.at_ehr) == (STUDIES, STUDIES)
    assert verdict.faults == tuple(fault.what for fault in FAULTS[:4])
    assert verdict.page().endswith("Nothing lost, nothing twice.")
