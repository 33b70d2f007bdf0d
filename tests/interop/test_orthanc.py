"""Orthanc as the PACS: it routes every object it gets to RadDraft and keeps what comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.promises.far_ends import dicom_destination, orthanc
from tests.promises.installation import free_port, installation
from training.phantoms.dicom import VARIANTS, write_phantom

# Routed without any exception, our own results included: a loop would show as more objects than there should be.
_ROUTE_EVERYTHING = """
function OnStoredInstance(instanceId, tags, metadata)
  SendToModality(instanceId, "raddraft")
end
"""


def test_orthanc_routes_a_study_and_gets_its_results_back_once(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    pacs_port = free_port()
    with (
        installation(dicom_destination("pacs", "ORTHANC", pacs_port)) as site,
        orthanc(
            program("Orthanc"),
            tmp_path,
            lua=_ROUTE_EVERYTHING,
            raddraft_port=site.node_port,
            dicom_port=pacs_port,
        ) as pacs,
    ):
        site.start()
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
