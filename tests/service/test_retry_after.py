"""A destination that asks us to stay away is left alone for as long, within reason."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from clinical import Transient
from service.book.circuits import CircuitRule
from service.book.database import reading
from service.book.leases import LeaseKeeper
from service.book.states import DeliveryState
from service.book.tables import DeliveryRow
from service.clock import now_utc
from service.delivery_task import LONGEST_RETRY_AFTER_S, DeliveryDesk, RetryRule
from service.destinations import Destination, Sent
from tests.service.hospital import drafted, opened, received


@pytest.mark.parametrize(
    ("asked_s", "wait_s"),
    [(None, 8.0), (1.0, 8.0), (900.0, 900.0), (1e9, LONGEST_RETRY_AFTER_S)],
)
def test_the_next_attempt_waits_as_long_as_the_destination_asked(
    tmp_path: Path, asked_s: float | None, wait_s: float
) -> None:
    def send(lease: object, content: bytes) -> Sent:
        raise Transient("http-429", "slow down", retry_after_s=asked_s)

    with opened(tmp_path) as house:
        (delivery,) = drafted(house, received(house, tmp_path), {"ehr": DeliveryState.PENDING})
        desk = DeliveryDesk(
            house.book.engine,
            house.results,
            {"ehr": Destination("ehr", frozenset({"fhir"}), send)},
            RetryRule(first_delay_s=8.0),
            CircuitRule(),
            LeaseKeeper(house.book.engine, lease_s=60),
            "worker",
        )
        before = now_utc()
        desk.deliver(delivery)
        with reading(house.book.engine) as session:
            due = session.get_one(DeliveryRow, delivery).due_at_utc
        assert due is not None
        # The rule's own delay is shortened at random, by half at most.
        least = wait_s if wait_s > 8.0 else wait_s / 2
        assert due - before >= timedelta(seconds=least)
        assert due - now_utc() <= timedelta(seconds=wait_s)
