"""Peers of other makers that several files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.fhir_engine.engine import FhirEngine, Store, running_engine
from tests.interop.hl7_peer.peer import FOLDER as HL7_PEER
from tests.interop.node_packages import require


@pytest.fixture(scope="session")
def fhir_engine(program: Callable[[str], Path]) -> Iterator[FhirEngine]:
    """Medplum's FHIR engine; one for each process that runs tests."""
    node, npm = program("node"), program("npm")
    require(npm, Path(__file__).parent / "fhir_engine")
    with running_engine(node) as engine:
        yield engine


@pytest.fixture
def far_store(fhir_engine: FhirEngine) -> Iterator[Store]:
    """An empty FHIR repository for one test."""
    store = fhir_engine.store()
    yield store
    store.close()


@pytest.fixture(scope="session")
def hl7_node(program: Callable[[str], Path]) -> Path:
    """Node with node-hl7-server installed."""
    require(program("npm"), HL7_PEER)
    return program("node")
