"""Two listener processes on one port receive the same study at once; one of them is killed in the middle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from pydicom.uid import CTImageStorage

from clinical import Transient
from dicom_node import Peer, send_objects
from tests.dicom_node.crafted import as_file, crafted_dataset
from tests.promises.installation import installation


def test_two_listeners_account_for_one_study_though_one_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADDRAFT_NODE__PROCESSES", "2")
    # Not ours to read: what is looked at here is the receiving alone.
    contents = [as_file(crafted_dataset(sop_class_uid=CTImageStorage, Modality="CT")) for _ in range(20)]
    with installation() as site:
        site.start()
        assert site.process is not None
        children = psutil.Process(site.process.pid).children()
        listeners = [child for child in children if "node" in child.cmdline()]
        assert len(listeners) == 2
        peer = Peer("RADDRAFT", "127.0.0.1", site.node_port)

        def acknowledged(number: int) -> bool:
            if number == 15:
                listeners[0].kill()
            try:
                (result,) = send_objects([contents[number % 20]], peer, calling_ae_title="MODALITY")
            except Transient:
                return False
            return result.status == 0x0000

        with ThreadPoolExecutor(4) as senders:
            answers = list(senders.map(acknowledged, range(40)))
        # Every object went twice; what one listener took to its grave came again to the other.
        again = [number for number in range(20) if not (answers[number] or answers[number + 20])]
        assert all(acknowledged(number) for number in again)
        # A file the killed one had not committed yet has no row: it is adopted when it is old, or at the next start.
        site.stop()
        site.start()
        account = site.account()
        assert account.balanced, account.problems
        assert account.states["ignored"] == 20
        assert account.acknowledged >= sum(answers) + len(again)
