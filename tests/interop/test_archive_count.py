"""How many objects an archive of another maker says a study has: by C-FIND, over TLS too, and by QIDO-RS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from clinical import Transient
from dicom_node.tls import TlsFiles, server_context
from service.archive_counting import counter_of
from service.settings import ArchiveSection
from tests.authorities import site_authority
from tests.dicom_node.crafted import as_file, crafted_dataset
from tests.promises.far_ends import orthanc
from tests.promises.installation import free_port

pytestmark = pytest.mark.interop
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def stored_study(pacs: httpx.Client, images: int) -> str:
    """A study of so many images in the archive; its UID."""
    first = crafted_dataset()
    for number in range(images):
        image = crafted_dataset()
        image.StudyInstanceUID, image.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
        image.PatientID, image.InstanceNumber = "COUNTED", number + 1
        pacs.post("/instances", content=as_file(image)).raise_for_status()
    return str(first.StudyInstanceUID)


@contextmanager
def tls_front(pacs: httpx.Client, authority: Path) -> Iterator[str]:
    """What stands before an archive's HTTP and asks its callers for a certificate; its address."""

    class Relay(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = pacs.get(self.path, headers={"Accept": self.headers["Accept"]})
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None: ...

    files = TlsFiles(authority / "server.pem", authority / "server.key", authority / "ca.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        server.socket = server_context(files).wrap_socket(server.socket, server_side=True)
        serving = Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"https://localhost:{server.server_address[1]}/dicom-web"
        finally:
            server.shutdown()
            serving.join()


def authorities(folder: Path) -> tuple[Path, Path]:
    """Ours, and one that nobody has heard of."""
    for name in ("ours", "other"):
        (folder / name).mkdir()
        site_authority(folder / name)
    return folder / "ours", folder / "other"


def test_qido_over_tls_shows_our_certificate_and_checks_the_archive_s(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    if not _PLUGIN.exists():
        pytest.skip("Orthanc has no DICOMweb plugin")
    ours, other = authorities(tmp_path)
    with (
        orthanc(program("Orthanc"), tmp_path, dicom_port=free_port(), plugins=_PLUGIN) as pacs,
        tls_front(pacs, ours) as url,
    ):
        study = stored_study(pacs, 3)

        def count(trusted: Path, shown: Path) -> int | None:
            files = {"ca": trusted / "ca.pem", "cert": shown / "client.pem", "key": shown / "client.key"}
            archive = ArchiveSection.model_validate({"qido_url": url, "tls": files})
            return counter_of(archive, "RADDRAFT")(study)

        assert count(ours, ours) == 3
        for trusted, shown in ((other, ours), (ours, other)):
            with pytest.raises(Transient, match="qido-failed"):
                count(trusted, shown)


def test_an_archive_counts_a_study_by_c_find_and_by_qido(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    port = free_port()
    plugins = _PLUGIN if _PLUGIN.exists() else None
    with orthanc(program("Orthanc"), tmp_path, dicom_port=port, plugins=plugins) as pacs:
        study = stored_study(pacs, 3)
        asked = [ArchiveSection(ae_title="ORTHANC", host="127.0.0.1", port=port)]
        if plugins is not None:
            asked.append(ArchiveSection.model_validate({"qido_url": f"{pacs.base_url}/dicom-web"}))
        for archive in asked:
            count = counter_of(archive, "RADDRAFT")
            assert count(study) == 3
            assert count("1.2.3.4.5") is None


def test_an_archive_that_speaks_tls_is_asked_over_tls_and_its_certificate_is_checked(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    port = free_port()
    ours, other = authorities(tmp_path)
    secured = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(ours / "server.pem"),
        "DicomTlsPrivateKey": str(ours / "server.key"),
        "DicomTlsTrustedCertificates": str(ours / "ca.pem"),
    }
    with orthanc(program("Orthanc"), tmp_path, dicom_port=port, more=secured) as pacs:
        study = stored_study(pacs, 2)

        def archive(authority: Path) -> ArchiveSection:
            files = {"ca": authority / "ca.pem", "cert": ours / "client.pem", "key": ours / "client.key"}
            return ArchiveSection.model_validate(
                {"ae_title": "ORTHANC", "host": "localhost", "port": port, "tls": files}
            )

        assert counter_of(archive(ours), "RADDRAFT")(study) == 2
        with pytest.raises(Transient):
            counter_of(archive(other), "RADDRAFT")(study)
