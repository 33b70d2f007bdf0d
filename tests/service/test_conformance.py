"""The conformance statement says what a real negotiation shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_role
from pynetdicom.presentation import build_context

from dicom_node import Listener, ListenerSettings, Peer, PosixSpool
from dicom_node.commitment import PUSH_MODEL_CLASS_UID
from service.conformance import conformance_statement
from tests.dicom_node.raw_scu import associated
from tests.dicom_node.sqlite_ledger import SqliteLedger

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance-statement.md"


def _listed(heading: str) -> list[str]:
    """UIDs in the table below one heading of the document."""
    section = _DOCUMENT.read_text().split(heading, 1)[1].split("\n#", 1)[0]
    return re.findall(r"\| ([0-9.]+) \|$", section, re.MULTILINE)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    listener = Listener(
        ListenerSettings(port=0, drain_s=1.0),
        PosixSpool(tmp_path / "spool"),
        SqliteLedger(tmp_path / "ledger.sqlite"),
    )
    listener.start()
    yield Peer("RADDRAFT", "127.0.0.1", listener.port)
    listener.stop()


def test_the_document_is_what_the_code_says() -> None:
    assert _DOCUMENT.read_text() == conformance_statement(), (
        "write it anew: python -m service.conformance > docs/conformance-statement.md"
    )


def test_every_listed_storage_class_is_accepted(peer: Peer) -> None:
    classes = _listed("#### Storage SOP classes")
    assert len(classes) > 100
    for start in range(0, len(classes), 128):
        group = classes[start : start + 128]
        with associated(peer, [(uid, [ExplicitVRLittleEndian]) for uid in group]) as association:
            assert {str(context.abstract_syntax) for context in association.accepted_contexts} == set(group)
            assert association.acceptor.maximum_length == 131072
            assert f"{association.acceptor.maximum_length} bytes" in _DOCUMENT.read_text()
            assert str(association.acceptor.implementation_class_uid) in _DOCUMENT.read_text()


def test_every_listed_transfer_syntax_is_accepted(peer: Peer) -> None:
    syntaxes = _listed("#### Transfer syntaxes of storage")
    assert len(syntaxes) > 20
    contexts = [(ComputedRadiographyImageStorage, [uid]) for uid in syntaxes]
    with associated(peer, contexts) as association:
        accepted = [str(context.transfer_syntax[0]) for context in association.accepted_contexts]
        assert sorted(accepted) == sorted(syntaxes)


def test_services_that_are_not_listed_are_not_accepted(peer: Peer) -> None:
    worklist, find, move = (
        "1.2.840.10008.5.1.4.31",
        "1.2.840.10008.5.1.4.1.2.2.1",
        "1.2.840.10008.5.1.4.1.2.2.2",
    )
    with associated(peer, [(uid, [ExplicitVRLittleEndian]) for uid in (worklist, find, move)]) as association:
        assert association.accepted_contexts == []


@pytest.mark.parametrize("they_are_scp", [False, True])
def test_storage_commitment_is_accepted_in_either_role(peer: Peer, they_are_scp: bool) -> None:
    ae = AE("PACS")
    role = build_role(PUSH_MODEL_CLASS_UID, scu_role=not they_are_scp, scp_role=they_are_scp)
    contexts = [build_context(PUSH_MODEL_CLASS_UID, ExplicitVRLittleEndian)]
    association = ae.associate(peer.host, peer.port, contexts, ae_title=peer.ae_title, ext_neg=[role])
    try:
        (context,) = association.accepted_contexts
        assert bool(context.as_scp) == they_are_scp
    finally:
        association.release()
