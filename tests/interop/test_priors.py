"""Earlier studies from an archive of another maker: the right patient's, the newest, and nobody else's."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydicom.uid import generate_uid

from clinical import Permanent, Transient
from dicom_node import Caller, Peer, PosixSpool
from dicom_node.priors import PatientStudy, PriorStudy, find_prior
from dicom_node.retrieving import MoveDestination, Receive, get_study, move_study
from dicom_node.tls import TlsFiles, server_context
from service.book import migrate, open_book
from service.house import House
from service.intake import prior_reception_of
from service.settings import Settings
from service.settings.basics import ClientTlsSection
from service.tls import client_tls
from tests.authorities import site_authority
from tests.promises.far_ends import orthanc
from tests.promises.installation import free_port
from tests.service.dicomweb.served import encoded
from training.phantoms.dicom import VARIANTS, phantom_dataset

MOVE_PORT = free_port()
_PATIENT, _ISSUER = "P-1", "HOSPITAL"
_STUDIES = {
    # name: (day, Patient ID, issuer, body part, birth date)
    "oldest": ("20200101", _PATIENT, _ISSUER, "CHEST", "19400101"),
    "newest earlier": ("20220101", _PATIENT, _ISSUER, "CHEST", "19400101"),
    "abdomen": ("20220601", _PATIENT, _ISSUER, "ABDOMEN", "19400101"),
    "other patient": ("20220701", "P-10", _ISSUER, "CHEST", "19400101"),
    "other issuer": ("20220801", _PATIENT, "ELSEWHERE", "CHEST", "19400101"),
    "other birth date": ("20220901", _PATIENT, _ISSUER, "CHEST", "19410101"),
    "later": ("20240101", _PATIENT, _ISSUER, "CHEST", "19400101"),
}


@pytest.fixture(scope="module")
def archive(
    program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Peer, dict[str, str]]]:
    """Orthanc with the studies, and their UIDs by name."""
    port = free_port()
    folder = tmp_path_factory.mktemp("archive")
    uids = {}
    known = {
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"priors": ["RD_PRIORS", "127.0.0.1", MOVE_PORT]},
    }
    with orthanc(program("Orthanc"), folder, dicom_port=port, more=known) as pacs:
        for number, (name, study) in enumerate(_STUDIES.items()):
            uids[name] = _load(pacs, number, study)
        yield Peer("ORTHANC", "127.0.0.1", port), uids


def _load(pacs: httpx.Client, number: int, study: tuple[str, str, str, str, str]) -> str:
    dataset, _ = phantom_dataset(number, VARIANTS[number % 2], 64)
    dataset.StudyDate, dataset.PatientID, dataset.IssuerOfPatientID = study[:3]
    dataset.BodyPartExamined, dataset.PatientBirthDate = study[3:]
    assert pacs.post("/instances", content=encoded(dataset)).is_success
    return str(dataset.StudyInstanceUID)


def asked(**changed: str) -> PatientStudy:
    told = {
        "patient_id": _PATIENT,
        "issuer_of_patient_id": _ISSUER,
        "birth_date": "19400101",
        "study_instance_uid": str(generate_uid()),
        "study_date": "20230101",
        "study_time": "120000",
    }
    return PatientStudy(**{**told, **changed})


def test_the_newest_earlier_chest_radiograph_of_the_patient_is_found(
    archive: tuple[Peer, dict[str, str]],
) -> None:
    peer, uids = archive
    search = partial(find_prior, peer, calling_ae_title="RADDRAFT")
    assert search(asked()) == PriorStudy(uids["newest earlier"], date(2022, 1, 1))
    # A study is no prior of itself, and what came after it is none.
    itself = asked(study_instance_uid=uids["newest earlier"], study_date="20220101", study_time="235959")
    assert search(itself) == PriorStudy(uids["oldest"], date(2020, 1, 1))
    assert search(asked(study_date="20190101")) is None


def test_a_prior_counts_only_where_patient_id_and_issuer_agree(archive: tuple[Peer, dict[str, str]]) -> None:
    peer, uids = archive
    search = partial(find_prior, peer, calling_ae_title="RADDRAFT")
    assert search(asked(issuer_of_patient_id="ELSEWHERE")) == PriorStudy(
        uids["other issuer"], date(2022, 8, 1)
    )
    assert search(asked(issuer_of_patient_id="NOWHERE")) is None
    assert search(asked(patient_id="P-")) is None
    for unsearchable in (asked(issuer_of_patient_id=""), asked(patient_id="P-1*"), asked(patient_id="")):
        with pytest.raises(Permanent):
            search(unsearchable)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An installation that has received nothing."""
    url = f"sqlite:///{tmp_path / 'book.sqlite'}"
    migrate(url)
    book = open_book(url)
    settings = Settings(data_dir=tmp_path)
    yield House(settings, book, PosixSpool(tmp_path / "spool"), PosixSpool(tmp_path / "results"))
    book.engine.dispose()


def assert_kept_and_not_read(house: House, study_uid: str) -> None:
    account = house.book.account(house.spool, deep=True)
    assert (account.balanced, account.acknowledged, account.states["ignored"]) == (True, 1, 1)
    detail = house.book.study(study_uid)
    assert detail is not None
    assert (detail.summary.state, detail.instances[0].reason_code) == ("ignored", "prior")


def receiver(house: House, called: str) -> Receive:
    return partial(prior_reception_of(house).receive, caller=Caller("ORTHANC", "127.0.0.1", called))


def test_a_fetched_prior_is_kept_and_accounted_for_and_never_read(
    archive: tuple[Peer, dict[str, str]], house: House
) -> None:
    peer, uids = archive
    assert get_study(peer, uids["oldest"], receiver(house, "RADDRAFT"), calling_ae_title="RADDRAFT") == 1
    assert_kept_and_not_read(house, uids["oldest"])


def test_a_moved_prior_comes_to_a_destination_of_its_own_and_is_never_read(
    archive: tuple[Peer, dict[str, str]], house: House
) -> None:
    peer, uids = archive
    to = MoveDestination("RD_PRIORS", "127.0.0.1", MOVE_PORT)
    receive = receiver(house, to.ae_title)
    assert move_study(peer, uids["oldest"], receive, to=to, calling_ae_title="RADDRAFT") == 1
    assert_kept_and_not_read(house, uids["oldest"])
    with socket.socket() as probe:
        assert probe.connect_ex((to.host, to.port)), "it listens only while something is moved"


def test_an_archive_that_does_not_know_our_destination_is_not_asked_again(
    archive: tuple[Peer, dict[str, str]], house: House
) -> None:
    peer, uids = archive
    with pytest.raises((Permanent, Transient)) as caught:
        move_study(
            peer,
            uids["oldest"],
            receiver(house, "NOBODY"),
            to=MoveDestination("NOBODY", "127.0.0.1", free_port()),
            calling_ae_title="RADDRAFT",
        )
    assert caught.value.code in ("move-destination-unknown", "retrieve-failed")
    assert house.book.account().objects == 0


def test_a_prior_is_moved_over_tls_both_ways_and_only_by_a_caller_of_the_same_authority(
    program: Callable[[str], Path], tmp_path: Path, house: House
) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    for folder in (ours, other):
        folder.mkdir()
        site_authority(folder)
    port, back = free_port(), free_port()
    known = {
        "DicomAlwaysAllowMove": True,
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(ours / "server.pem"),
        "DicomTlsPrivateKey": str(ours / "server.key"),
        "DicomTlsTrustedCertificates": str(ours / "ca.pem"),
        "DicomModalities": {
            "priors": {"AET": "RD_PRIORS", "Host": "localhost", "Port": back, "UseDicomTls": True}
        },
    }
    with orthanc(program("Orthanc"), tmp_path, dicom_port=port, more=known) as pacs:
        study = _load(pacs, 0, _STUDIES["oldest"])
        client = ClientTlsSection(ca=ours / "ca.pem", cert=ours / "client.pem", key=ours / "client.key")
        move = partial(
            move_study,
            Peer("ORTHANC", "localhost", port),
            study,
            receiver(house, "RD_PRIORS"),
            calling_ae_title="RADDRAFT",
            tls=client_tls(client),
        )
        for authority, count in ((other, 0), (ours, 1)):
            files = TlsFiles(authority / "server.pem", authority / "server.key", authority / "ca.pem")
            to = MoveDestination("RD_PRIORS", "127.0.0.1", back, server_context(files))
            if count:
                assert move(to=to) == count
            else:
                with pytest.raises(Transient, match="retrieve-failed"):
                    move(to=to)
            assert house.book.account().acknowledged == count
    assert_kept_and_not_read(house, study)
