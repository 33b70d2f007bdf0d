"""Peers of other makers that several files share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.fhir_engine.engine import FhirEngine, NotInstallable, Store, install, running_engine


@pytest.fixture(scope="session")
def fhir_engine(program: Callable[[str], Path]) -> Iterator[FhirEngine]:
    """Medplum's FHIR engine; one for each process that runs tests."""
    node, npm = program("node"), program("npm")
    try:
        install(npm)
    except NotInstallable as error:
        if os.environ.get("CI"):
            pytest.fail(f"the FHIR engine cannot be installed: {error}", pytrace=False)
        pytest.skip(f"the FHIR engine cannot be installed: {error}")
    with running_engine(node) as engine:
        yield engine


@pytest.fixture
def far_store(fhir_engine: FhirEngine) -> Iterator[Store]:
    """An empty FHIR repository for one test."""
    store = fhir_engine.store()
    yield store
    store.close()
