"""The site's rules decide which images are read, how soon, and where results go, before a study is queued."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence
from typer.testing import CliRunner

from dicom_node import PosixSpool
from service.book import Book, queueing
from service.book.triage import destinations_of
from service.cli.app import build_app
from service.routing import Route, age_years, asked_for_as_stat, route_of
from service.settings import ConfigurationError, RuleSection, load_settings
from service.triage import TriageDesk, study_route
from tests.service.arrivals import RECEIVED_AT_UTC, arrive
from tests.service.test_comparing import radiograph

_DUE = RECEIVED_AT_UTC + timedelta(seconds=31)


def header(**attributes: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def rule(name: str = "one", **terms: object) -> RuleSection:
    then = {key: terms.pop(key) for key in ("read", "stat", "destinations") if key in terms}
    return RuleSection.model_validate({"name": name, "when": terms, **then})


@pytest.mark.parametrize(
    ("when", "image", "sender", "fits"),
    [
        ({"modality": "DX"}, {"Modality": "DX"}, "A", True),
        ({"modality": ["CR", "DX"]}, {"Modality": "dx"}, "A", True),
        ({"modality": "DX"}, {}, "A", False),
        ({"calling_ae_title": "ER*"}, {}, "ER_1", True),
        ({"calling_ae_title": "ER*"}, {}, "WARD", False),
        ({"study_description": "*portable*"}, {"StudyDescription": "CHEST PORTABLE AP"}, "A", True),
        ({"institution": "North", "body_part": "CHEST"}, {"InstitutionName": "North"}, "A", False),
        ({"age_min_years": 16}, {"PatientAge": "016Y"}, "A", True),
        ({"age_max_years": 16}, {"PatientAge": "016Y"}, "A", False),
        ({"age_max_years": 1}, {"PatientAge": "011M"}, "A", True),
        ({"age_max_years": 16}, {}, "A", False),
        ({"age_max_years": 16}, {"PatientBirthDate": "20200102", "StudyDate": "20260101"}, "A", True),
        ({}, {}, "A", True),
    ],
)
def test_a_rule_decides_where_its_every_condition_holds(
    when: dict[str, object], image: dict[str, str], sender: str, fits: bool
) -> None:
    decided = route_of(header(**image), sender, [rule(read=False, **when)])
    assert decided.read is not fits


def test_the_first_rule_that_fits_decides() -> None:
    rules = [rule("a", modality="CR", read=False), rule("b", stat=True), rule("c", read=False)]
    assert route_of(header(Modality="DX"), "A", rules) == Route(is_stat=True, rule="b")
    assert route_of(header(Modality="CR"), "A", rules).rule == "a"


def test_age_is_counted_in_whole_years_at_the_study() -> None:
    assert age_years(header(PatientBirthDate="20000102", StudyDate="20260101")) == 25
    assert age_years(header(PatientBirthDate="20000101", StudyDate="20260101")) == 26
    assert age_years(header(PatientBirthDate="20270101", StudyDate="20260101")) is None
    assert age_years(header(PatientAge="17")) is None


def test_an_order_that_is_stat_is_stat_whatever_the_rules_say() -> None:
    item = header(RequestedProcedurePriority="STAT")
    ordered = Dataset()
    ordered.RequestAttributesSequence = Sequence([item])
    assert asked_for_as_stat(item) and asked_for_as_stat(ordered)
    assert route_of(ordered, "A", [rule(stat=False)]).is_stat
    assert not asked_for_as_stat(header(RequestedProcedurePriority="ROUTINE"))


_ROUTES = st.lists(
    st.builds(
        Route,
        read=st.booleans(),
        is_stat=st.booleans(),
        destinations=st.none() | st.sampled_from([("pacs",), ("ehr",), ("ehr", "pacs"), ()]),
        rule=st.just("r"),
    ),
    max_size=5,
)


@given(_ROUTES)
def test_no_image_that_is_read_loses_a_destination_to_another(routes: list[Route]) -> None:
    study = study_route(list(enumerate(routes)))
    read = [route for route in routes if route.read]
    assert len(study.not_read) == len(routes) - len(read)
    assert study.is_stat == any(route.is_stat for route in read)
    for route in read:
        if study.destinations is not None:
            assert route.destinations is not None
            assert set(route.destinations) <= set(study.destinations)


def test_a_rule_that_names_no_destination_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('[[rules]]\nname = "a"\ndestinations = ["nowhere"]\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="'a' names no destination"):
        load_settings(path)


@pytest.fixture
def spool(tmp_path: Path) -> PosixSpool:
    return PosixSpool(tmp_path / "data" / "spool")


def look(book: Book, spool: PosixSpool, *rules: RuleSection) -> int:
    return TriageDesk(book.engine, spool, rules).look(_DUE)


def test_a_study_nobody_wants_read_ends_ignored_with_the_rules_name(book: Book, spool: PosixSpool) -> None:
    arrive(book.engine, spool, radiograph())
    assert look(book, spool, rule("no-cr", modality="CR", read=False)) == 1
    detail = book.study("1.9")
    assert detail is not None
    assert (detail.summary.state, detail.summary.reason_code) == ("ignored", "by-rule")
    assert "no-cr" in detail.instances[0].reason
    assert queueing.close_quiet_studies(book.engine, _DUE) == []
    assert book.account(spool, deep=True).balanced


def test_a_rule_makes_a_study_urgent_before_it_is_queued(book: Book, spool: PosixSpool) -> None:
    arrive(book.engine, spool, radiograph())
    assert look(book, spool, rule(calling_ae_title="MOD*", stat=True, destinations=["pacs"])) == 1
    assert look(book, spool, rule()) == 0, "looked at once"
    (study_id,) = queueing.close_quiet_studies(book.engine, _DUE)
    assert queueing.priority_of(book.engine, study_id) == 1
    assert destinations_of(book.engine, study_id) == {"pacs"}


def test_an_image_that_comes_later_is_looked_at_too(book: Book, spool: PosixSpool) -> None:
    arrive(book.engine, spool, radiograph())
    assert look(book, spool) == 1
    arrive(book.engine, spool, radiograph(PatientID="1", SOPInstanceUID="1.2.2"), sop_instance_uid="1.2.2")
    assert look(book, spool, rule(stat=True)) == 1
    (study_id,) = queueing.close_quiet_studies(book.engine, _DUE)
    assert queueing.priority_of(book.engine, study_id) == 1


def test_what_no_rule_can_look_at_is_read_all_the_same(book: Book, spool: PosixSpool) -> None:
    arrive(book.engine, spool, b"damaged")
    assert look(book, spool, rule(read=False, modality="CR")) == 1
    assert len(queueing.close_quiet_studies(book.engine, _DUE)) == 1


def test_rules_are_tried_on_files_and_only_what_changes_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(radiograph(StudyDescription="CHEST ER"))
    (folder / "b.dcm").write_bytes(radiograph(StudyDescription="CHEST"))
    (folder / "note.txt").write_text("no image")
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text("", encoding="utf-8")
    new.write_text(
        '[[rules]]\nname = "er"\nwhen = { study_description = "*ER" }\nstat = true\n', encoding="utf-8"
    )
    done = CliRunner().invoke(
        build_app(), ["rules", "test", str(new), "--folder", str(folder), "--config", str(old)]
    )
    assert done.exit_code == 0, done.output
    assert "a.dcm" in done.output and "STAT" in done.output and "er" in done.output
    assert "b.dcm" not in done.output
    assert "1 of 2 images would be treated otherwise" in done.output
