"""A folder of phantoms: `images/*.png` (8-bit grayscale) and `truth.jsonl`, one line per phantom.

`truth.jsonl` is the sidecar of exact boxes that dense pre-training reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from training.phantoms.dicom import WIDER_VARIANTS, phantom_dataset
from training.phantoms.kinds import EDITION, Kind
from training.phantoms.phantom import FractionBox, TrueDevice, TrueFinding, Truth, displayed
from training.phantoms.subjects import draw_subject, subject_of

TRUTH_FILE = "truth.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One phantom of a folder: the image's path relative to it, and the truth."""

    image: str
    truth: Truth


class OtherEdition(ValueError):
    """A collection that another version of the phantoms drew."""


def write_collection(
    out: Path,
    *,
    count: int,
    first_seed: int,
    size_px: int,
    others_share: float = 0.0,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Render phantoms `first_seed .. first_seed + count - 1` into `out`.

    `others_share` of them are mirrored, lateral or no chest, a third each.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + count)
    render = partial(_render_one, out, size_px, others_share)
    with (out / TRUTH_FILE).open("w", encoding="utf-8") as lines:
        for done, line in enumerate(_rendered(render, seeds, processes), start=1):
            lines.write(line + "\n")
            if progress:
                progress(done)


def write_dicom_collection(
    out: Path,
    *,
    count: int,
    first_seed: int,
    size_px: int,
    others_share: float = 0.0,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write phantoms as DICOM, in turn in each of `WIDER_VARIANTS`.

    `truth.jsonl` names each file as its image and adds its SOP Instance UID; PNGs are not written.
    """
    (out / "dicom").mkdir(parents=True, exist_ok=True)
    write = partial(_write_dicom, out, size_px, others_share)
    seeds = range(first_seed, first_seed + count)
    with (out / TRUTH_FILE).open("w", encoding="utf-8") as lines:
        for done, line in enumerate(_rendered(write, seeds, processes), start=1):
            lines.write(line + "\n")
            if progress:
                progress(done)


def _write_dicom(out: Path, size_px: int, others_share: float, seed: int) -> str:
    variant = WIDER_VARIANTS[seed % len(WIDER_VARIANTS)]
    dataset, truth = phantom_dataset(seed, variant, size_px, subject=subject_of(seed, others_share))
    name = f"dicom/{seed:08d}.dcm"
    dataset.save_as(out / name, enforce_file_format=True)
    record = {"image": name, "sop_instance_uid": str(dataset.SOPInstanceUID), **to_json(truth)}
    return json.dumps(record, separators=(",", ":"))


def _rendered(render: Callable[[int], str], seeds: Iterable[int], processes: int) -> Iterator[str]:
    if processes == 1:
        yield from map(render, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(render, seeds, chunksize=32)


def _render_one(out: Path, size_px: int, others_share: float, seed: int) -> str:
    pixels, truth = draw_subject(seed, size_px, subject_of(seed, others_share))
    name = f"images/{seed:08d}.png"
    Image.fromarray(displayed(pixels)).save(out / name, compress_level=1)
    return json.dumps({"image": name, **to_json(truth)}, separators=(",", ":"))


def to_json(truth: Truth) -> dict[str, Any]:
    """Truth as plain JSON values; boxes to four decimals."""
    record: dict[str, Any] = {
        "seed": truth.seed,
        "edition": EDITION,
        "view": truth.view,
        "mirrored": truth.mirrored,
        "labels": list(truth.labels),
        "findings": [
            {
                "label": finding.label.value,
                "side": finding.side,
                "zone": finding.zone,
                "form": finding.form,
                "boxes": [_rounded(box) for box in finding.boxes],
            }
            for finding in truth.findings
        ],
        "regions": {name: _rounded(box) for name, box in truth.regions.items()},
    }
    if truth.devices:
        record["devices"] = [
            {
                "form": device.form,
                "side": device.side,
                "place": device.place,
                "tip": [round(edge, 4) for edge in device.tip],
                "box": _rounded(device.box),
            }
            for device in truth.devices
        ]
    return record


def _rounded(box: FractionBox) -> list[float]:
    return [round(edge, 4) for edge in box]


def from_json(record: dict[str, Any]) -> Truth:
    """Truth read back from `to_json`'s values; raises OtherEdition where they are another's."""
    # Collections of before the second edition say nothing of it.
    if record.get("edition", 1) != EDITION:
        raise OtherEdition(f"phantoms of another edition than {EDITION}: draw them again")
    findings = tuple(
        TrueFinding(
            Kind(found["label"]), found["side"], found["zone"], found["form"],
            tuple(_box(box) for box in found["boxes"]),
        )
        for found in record["findings"]
    )  # fmt: skip
    devices = tuple(
        TrueDevice(
            told["form"], told["side"], told["place"], (told["tip"][0], told["tip"][1]), _box(told["box"])
        )
        for told in record.get("devices", ())
    )
    regions = {name: _box(box) for name, box in record["regions"].items()}
    return Truth(record["seed"], findings, regions, record["view"], record["mirrored"], devices)


def _box(values: list[float]) -> FractionBox:
    x1, y1, x2, y2 = values
    return (x1, y1, x2, y2)


def read_collection(folder: Path) -> Iterator[Entry]:
    """Entries of a folder, in the order they were written."""
    with (folder / TRUTH_FILE).open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield Entry(record["image"], from_json(record))
