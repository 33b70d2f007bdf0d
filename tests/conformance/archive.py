"""Orthanc as archive, and OHIF as the viewer in front of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node import Peer, send_objects
from tests.conformance.programs import package_version
from tests.conformance.studies import Study
from tests.conformance.table import Verdict
from tests.interop.ohif.viewer import VIEWER, Viewer, install, running_viewer
from tests.promises.far_ends import orthanc
from tests.promises.installation import free_port

Find = Callable[[str], Path]
_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
# Outlines are drawn in pixels of the viewport, which are larger than the image's where it is shown reduced.
_DRAWN_WITHIN_CANVAS = 2.0
_HELD_WITHIN = 0.01
_IMAGE_NOT_SHOWN = (
    "a source image that its maker sent with a Pixel Spacing of zero, or deflated, is not shown by the viewer at all, "
    "with or without results: boxes drawn over it are not asked for"
)
# Of the series descriptions of reports and of pictures.
_REPORT, _PICTURES = "findings,", "overlay picture"


def archived(find: Find, studies: Sequence[Study]) -> Iterator[Verdict]:
    """Every object stored by C-STORE and by STOW-RS, found by QIDO-RS, read back by WADO-RS; then the viewer."""
    executable, npm, node = find("Orthanc"), find("npm"), find("node")
    chromium = find("chromium")
    with TemporaryDirectory() as folder:
        port = free_port()
        with orthanc(executable, Path(folder), dicom_port=port, plugins=_PLUGIN) as client:
            reader = f"Orthanc {client.get('/system').json()['Version']}"
            web = f"{reader}, DICOMweb plugin {package_version('orthanc-dicomweb')}"
            with running_viewer(node, chromium, install(npm), int(client.base_url.port or 0)) as viewer:
                for study in studies:
                    # One at a time: sources may be the same image in several encodings.
                    yield from _stored(client, Peer("ORTHANC", "127.0.0.1", port), study, reader, web)
                    said = list(seen(viewer, study))
                    if not all(verdict.passed for verdict in said):
                        # Drawing in software loses races on a busy machine; what is wrong is wrong again.
                        said = list(seen(viewer, study))
                    yield from said
                    for held in client.get("/studies").json():
                        client.delete(f"/studies/{held}")


def _stored(client: httpx.Client, peer: Peer, study: Study, reader: str, web: str) -> Iterator[Verdict]:
    send_objects(list(study.images), peer, calling_ae_title="RADDRAFT")
    # Rejections would hide what the viewer is to show; they have an archive's answer of their own below.
    objects = [(kind, path) for kind, path in study.objects if kind != "ko"]
    sent = send_objects([path for _, path in objects], peer, calling_ae_title="RADDRAFT")
    for (kind, path), result in zip(objects, sent, strict=True):
        yield Verdict(
            kind, reader, "C-STORE", study.kind, result.status == 0, problem=f"answered {result.outcome}"
        )
        header = dcmread(path, stop_before_pixels=True)
        found = _found(client, header)
        yield Verdict(kind, web, "QIDO-RS, WADO-RS read-back", study.kind, found, problem="not found")
    for kind, path in study.objects:
        status = _stow(client, path)
        yield Verdict(kind, web, "STOW-RS", study.kind, status == 200, problem=f"answered {status}")
        if kind == "ko":
            header = dcmread(path, stop_before_pixels=True)
            yield Verdict(kind, web, "QIDO-RS, WADO-RS read-back", study.kind, _found(client, header))
            client.delete(f"/instances/{_orthanc_id(client, header)}")


def _orthanc_id(client: httpx.Client, header: Dataset) -> str:
    answer = client.post("/tools/lookup", content=str(header.SOPInstanceUID)).json()
    return str(answer[0]["ID"])


def _stow(client: httpx.Client, path: Path) -> int:
    boundary = "raddraft-boundary"
    body = (
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        + path.read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    return client.post("/dicom-web/studies", content=body, headers=headers).status_code


def _found(client: httpx.Client, header: Dataset) -> bool:
    """Whether the object is listed under its study, and its metadata are those that were sent."""
    uid, study = str(header.SOPInstanceUID), str(header.StudyInstanceUID)
    listed = client.get(
        f"/dicom-web/studies/{study}/instances", params={"SOPInstanceUID": uid, "includefield": "00080060"}
    )
    if listed.status_code != 200 or len(listed.json()) != 1:
        return False
    series = str(header.SeriesInstanceUID)
    metadata = client.get(f"/dicom-web/studies/{study}/series/{series}/instances/{uid}/metadata").json()[0]
    return [_value(metadata, tag) for tag in ("00080016", "00080060", "0008103E")] == [
        str(header.SOPClassUID),
        str(header.Modality),
        str(header.SeriesDescription),
    ]


def _value(metadata: dict[str, Any], tag: str) -> str:
    return str((metadata.get(tag, {}).get("Value") or [""])[0])


def seen(viewer: Viewer, study: Study, shots: Path | None = None) -> Iterator[Verdict]:
    """What the viewer shows of a study's report and of its pictures."""
    reader = f"OHIF {VIEWER.rpartition('@')[2]}, Chromium {viewer.browser}"
    series = [_REPORT] + ([_PICTURES] if study.of("sc") else [])
    names = [f"{study.kind.replace(' ', '-')}-{kind}.png" for kind in ("sr", "sc")][: len(series)]
    report = dcmread(study.of("sr")[0])
    (of_study,) = report.CurrentRequestedProcedureEvidenceSequence
    image = str(of_study.ReferencedSeriesSequence[0].SeriesInstanceUID)
    uid = study.draft.study_instance_uid
    image_shown, answers = viewer.look(uid, image, series, [shots / name for name in names] if shots else ())
    failed: dict[str, Any] = {"errors": ["the study was not shown"]}
    shown, *pictures = [*answers, *([failed] * (len(series) - len(answers)))]
    unseen = not image_shown and all(map(_never_shown, study.images))
    yield _opened("sr", reader, study, shown, _REPORT, (_IMAGE_NOT_SHOWN,) if unseen else ())
    boxes = _boxes_of(report)
    if boxes and "outlines" in shown:
        yield from _drawn(boxes, shown, study, reader, drawable=not unseen)
        yield from _names(shown, study, reader)
    for picture in pictures:
        yield _opened("sc", reader, study, picture, _PICTURES)


def _never_shown(image: Path) -> bool:
    """Whether an image is sent in a way that the viewer is known not to show."""
    header = dcmread(image, stop_before_pixels=True, force=True)
    spacing = header.get("PixelSpacing") or []
    return header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian or 0 in spacing


def _opened(
    face: str, reader: str, study: Study, shown: dict[str, Any], series: str, notes: tuple[str, ...] = ()
) -> Verdict:
    errors = list(shown["errors"])
    opened = not errors and any(series in description for description in shown.get("shown", []))
    problem = "; ".join(errors)[:200] or "not shown"
    return Verdict(face, reader, "opens without an error", study.kind, opened, notes, problem)


def _drawn(
    boxes: list[list[tuple[float, float]]],
    shown: dict[str, Any],
    study: Study,
    reader: str,
    *,
    drawable: bool,
) -> Iterator[Verdict]:
    held = [line for annotation in shown["annotations"] for line in annotation["outlines"]]
    sought = [("annotations at the report's own points", held, _HELD_WITHIN, "another outline")]
    if drawable:
        within = _DRAWN_WITHIN_CANVAS * (shown["reduction"] or 0.0)
        sought.append(("boxes drawn there", shown["outlines"], within, "not drawn"))
    for checks, outlines, within, problem in sought:
        drawn = all(_near(box, outlines, within) for box in boxes)
        yield Verdict("sr", reader, checks, study.kind, drawn, problem=problem)


def _names(shown: dict[str, Any], study: Study, reader: str) -> Iterator[Verdict]:
    labels = [f.label.name for r in study.draft.readings for f in r.present if f.boxes]
    hydrated = shown.get("hydrated") or {}
    held = json.dumps([shown["sets"], shown["annotations"], hydrated.get("annotations", [])])
    named = all(label in held for label in labels)
    beside = all(any(label in text for text in shown["texts"]) for label in labels)
    listed = bool(hydrated) and all(label in json.dumps(hydrated["measurements"]) for label in labels)
    then = bool(hydrated) and all(any(label in text for text in hydrated["texts"]) for label in labels)
    notes = (
        f"the name is {_said(beside)} beside the box before hydration",
        f"hydrated, the name is {_said(then)} beside the box and {_said(listed)} in the measurement's label"
        if hydrated
        else "hydration is not offered",
    )
    yield Verdict(
        "sr", reader, "name of the finding in its data", study.kind, named, notes, "a finding has no name"
    )


def _said(shown: bool) -> str:
    return "shown" if shown else "not shown"


def _boxes_of(report: Dataset) -> list[list[tuple[float, float]]]:
    """Outlines of the Imaging Measurements, column and row."""
    (measurements,) = (
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    found = []
    for element in measurements.iterall():
        if element.keyword == "GraphicData":
            values = [float(value) for value in element.value]
            found.append(list(zip(values[::2], values[1::2], strict=True)))
    return found


def _near(
    box: list[tuple[float, float]], outlines: Sequence[Sequence[Sequence[float]]], within: float
) -> bool:
    """Whether some outline has the box's own corners."""
    return any(
        all(min(math.dist(corner, point[:2]) for point in line) <= within for corner in box)
        for line in outlines
        if line
    )
