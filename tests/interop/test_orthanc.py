"""Orthanc as the PACS: it routes every object it gets to RadDraft and keeps what comes back."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.promises.installation import free_port, installation
from training.phantoms.dicom import VARIANTS, write_phantom

# Routed without any exception, our own results included: a loop would show as more objects than there should be.
_ROUTE_EVERYTHING = """
function OnStoredInstance(instanceId, tags, metadata)
  SendToModality(instanceId, "raddraft")
end
"""


@pytest.fixture
def orthanc_ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def start_orthanc(
    program: Callable[[str], Path], tmp_path: Path, orthanc_ports: tuple[int, int]
) -> Iterator[Callable[[int], httpx.Client]]:
    executable = program("Orthanc")
    running: list[subprocess.Popen[bytes]] = []

    def start(raddraft_port: int) -> httpx.Client:
        http_port, dicom_port = orthanc_ports
        (tmp_path / "route.lua").write_text(_ROUTE_EVERYTHING)
        config = {
            "StorageDirectory": str(tmp_path / "pacs"),
            "IndexDirectory": str(tmp_path / "pacs"),
            "LuaScripts": [str(tmp_path / "route.lua")],
            "HttpPort": http_port,
            "DicomPort": dicom_port,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowStore": True,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "UnknownSopClassAccepted": True,
            "DicomModalities": {"raddraft": ["RADDRAFT", "127.0.0.1", raddraft_port]},
        }
        (tmp_path / "orthanc.json").write_text(json.dumps(config))
        with (tmp_path / "orthanc.log").open("wb") as log:
            running.append(
                subprocess.Popen(
                    [executable, tmp_path / "orthanc.json"], stdout=log, stderr=log, cwd=tmp_path
                )
            )
        client = httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=30)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                client.get("/system")
                return client
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError("Orthanc did not start")

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


def test_orthanc_routes_a_study_and_gets_its_results_back_once(
    start_orthanc: Callable[[int], httpx.Client], orthanc_ports: tuple[int, int], tmp_path: Path
) -> None:
    destination = f"""
[[destinations]]
name = "pacs"
type = "dicom"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {orthanc_ports[1]}
"""
    with installation(destination) as site:
        site.start()
        pacs = start_orthanc(site.node_port)
        write_phantom(tmp_path / "phantom.dcm", 9_100_000, VARIANTS[0], size_px=512)
        assert pacs.post("/instances", content=(tmp_path / "phantom.dcm").read_bytes()).is_success
        site.wait_until(lambda: site.all_done(1), 240, "the study to be done")
        # Orthanc has routed our own results to us by then, or does so now: they end as such and start nothing.
        site.wait_until(lambda: site.account().states["ignored"] == 3, 60, "our own results to be ignored")
        instances = pacs.get("/instances?expand").json()
        modalities = Counter(
            pacs.get(f"/instances/{instance['ID']}/content/0008-0060").text.strip() for instance in instances
        )
        assert modalities == {"DX": 1, "SR": 1, "PR": 1, "OT": 1}
        assert len(pacs.get("/studies").json()) == 1
        account = site.account()
        assert account.balanced, account.as_json()
        assert account.states["analysed"] == 1
        assert account.deliveries["delivered"] == sum(account.deliveries.values())
