"""Repeated attempts are alone; first attempts share."""

from __future__ import annotations

from threading import Barrier, Event, Thread

import pytest

from service.crowd import Crowd

_PATIENCE_S = 10.0


def test_first_attempts_are_together() -> None:
    crowd, inside = Crowd(), Barrier(3)

    def enter() -> None:
        with crowd.together():
            inside.wait(_PATIENCE_S)

    threads = [Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    # Passing this barrier needs both threads inside at the same time.
    inside.wait(_PATIENCE_S)
    for thread in threads:
        thread.join(_PATIENCE_S)
        assert not thread.is_alive()


def test_a_repeated_attempt_waits_until_everybody_has_left_and_keeps_newcomers_out() -> None:
    crowd, order = Crowd(), list[str]()
    first_in, first_may_leave = Event(), Event()
    alone_in, alone_may_leave = Event(), Event()

    def first() -> None:
        with crowd.together():
            first_in.set()
            first_may_leave.wait(_PATIENCE_S)
            order.append("first leaves")

    def repeated() -> None:
        with crowd.alone():
            order.append("repeated enters")
            alone_in.set()
            alone_may_leave.wait(_PATIENCE_S)
            order.append("repeated leaves")

    def newcomer() -> None:
        with crowd.together():
            order.append("newcomer enters")

    threads = [Thread(target=first), Thread(target=repeated), Thread(target=newcomer)]
    threads[0].start()
    assert first_in.wait(_PATIENCE_S)
    threads[1].start()
    first_may_leave.set()
    assert alone_in.wait(_PATIENCE_S)
    threads[2].start()
    alone_may_leave.set()
    for thread in threads:
        thread.join(_PATIENCE_S)
        assert not thread.is_alive()
    assert order == ["first leaves", "repeated enters", "repeated leaves", "newcomer enters"]


def test_a_failure_inside_lets_the_next_one_in() -> None:
    crowd = Crowd()
    for enter in (crowd.alone, crowd.together, crowd.alone):
        with pytest.raises(RuntimeError), enter():
            raise RuntimeError
    with crowd.together(), crowd.together():
        pass
