"""What every broken day must end with: each study delivered, and each face of it once."""

from __future__ import annotations

from tests.promises.installation import Installation

# One object per face and version of a Draft.
OBJECTS = [
    "01_sr.dcm",
    "02_pr.dcm",
    "03_sc.dcm",
    "04_summary.dcm",
    "05_narrative.dcm",
    "06_pdf.dcm",
]


def assert_all_delivered_once(site: Installation, acknowledged: int) -> None:
    """Wait for the end of every study; then each has one version, with one object of each kind, everywhere."""
    site.wait_until(lambda: site.all_done(acknowledged), 240, "every study to be done")
    account = site.account()
    assert account.balanced, account.as_json()
    assert account.acknowledged >= acknowledged
    assert account.states["analysed"] == acknowledged
    assert account.deliveries["delivered"] == sum(account.deliveries.values())
    versions = sorted(site.results.glob("*/v*"))
    assert len(versions) == acknowledged
    for version in versions:
        names = sorted(path.name for path in version.iterdir())
        assert [n for n in names if n.endswith(".dcm")] == OBJECTS
        assert "fhir_bundle.json" in names
