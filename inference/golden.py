"""A checkpoint's own answers about a few images, and whether a package still gives them.

They are made where the checkpoint is (`training.export.parity`) and may be kept beside a package, so that it can be
checked again on the machine and provider that serve it, where there is neither checkpoint nor torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from inference.manifest import MANIFEST_FILE, open_package
from inference.model import Model

GOLDEN_FILE = "golden.npz"
# Largest difference of a token's log-probability, in nats, and largest lead a token may have in the checkpoint over the
# one the package writes instead. Greedy tokens of fp32 must be equal.
TOLERANCES: Mapping[str, float] = MappingProxyType(
    {"fp32": 1e-3, "fp16": 0.1, "bf16": 0.4, "int8": 0.5, "int4": 2.0}
)


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    """What the checkpoint answers to one question about one image.

    Attributes
    ----------
    image
        Index into the images.
    tokens, log_probabilities
        Greedy, without the end of turn, at most `longest` of them.
    candidates
        For each step the likeliest tokens and their log-probabilities; one step more than tokens where the answer ended
        by itself.
    """

    image: int
    question: str
    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    candidates: tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True, slots=True)
class Golden:
    """Images and the answers about them.

    Attributes
    ----------
    images
        uint8 (rows, columns).
    longest
        Tokens of an answer at most.
    ends
        Tokens that end an answer.
    """

    images: tuple[NDArray[np.uint8], ...]
    answers: tuple[GoldenAnswer, ...]
    longest: int
    ends: tuple[int, ...]

    def save(self, package: Path) -> None:
        """Keep them in a package folder; the manifest then names their digest. Identity of the package stays."""
        arrays = {f"image_{index}": image for index, image in enumerate(self.images)}
        answers = [asdict(answer) for answer in self.answers]
        document = json.dumps({"longest": self.longest, "ends": self.ends, "answers": answers})
        text = np.frombuffer(document.encode("utf-8"), dtype=np.uint8)
        np.savez_compressed(package / GOLDEN_FILE, document=text, **arrays)  # type: ignore[arg-type]
        path = package / MANIFEST_FILE
        manifest = json.loads(path.read_text(encoding="utf-8")) | {
            "golden_sha256": _sha256(package / GOLDEN_FILE)
        }
        path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Parity:
    """What a comparison found.

    Attributes
    ----------
    unequal_answers
        Answers with other greedy tokens than the checkpoint's.
    largest_difference
        Between the log-probabilities of tokens both wrote, up to where an answer differs.
    largest_lead
        Of the checkpoint's token over the one the package wrote instead, where an answer first differs: small where
        both were about equally likely. Infinite where the package's is none of the checkpoint's likeliest.
    """

    answers: int
    tokens: int
    unequal_answers: int
    largest_difference: float
    largest_lead: float
    precision: str

    @property
    def tolerance(self) -> float:
        """Of the package's precision, in nats."""
        return TOLERANCES[self.precision]

    @property
    def holds(self) -> bool:
        """Whether everything is within the tolerance; in fp32 every token must be equal as well."""
        if self.precision == "fp32" and self.unequal_answers:
            return False
        return max(self.largest_difference, self.largest_lead) <= self.tolerance

    @property
    def sentence(self) -> str:
        """What was found, in one line."""
        return (
            f"{self.answers} answers, {self.tokens} tokens: {self.unequal_answers} answers differ; log-probabilities "
            f"differ by at most {self.largest_difference:.1e}, where an answer differs the checkpoint's token leads by "
            f"at most {self.largest_lead:.1e} ({self.precision} allows {self.tolerance:g}"
            f"{' and no other token' if self.precision == 'fp32' else ''})"
        )

    def as_json(self) -> dict[str, Any]:
        """What was found, as numbers."""
        return {**asdict(self), "tolerance": self.tolerance, "holds": self.holds}


def load_golden(package: str | Path) -> Golden | None:
    """The answers kept in a package, or None where none are.

    Raises
    ------
    Permanent
        ``package-damaged`` where their digest is not the manifest's; and as `open_package`.
    """
    opened = open_package(package)
    if not opened.manifest.golden_sha256:
        return None
    path = opened.folder / GOLDEN_FILE
    if not path.is_file() or _sha256(path) != opened.manifest.golden_sha256:
        raise Permanent("package-damaged", f"{path} is missing or has other bytes than the manifest says")
    with np.load(path, allow_pickle=False) as arrays:
        document = json.loads(arrays["document"].tobytes())
        images = tuple(arrays[f"image_{index}"] for index in range(len(arrays.files) - 1))
    answers = tuple(map(_answer, document["answers"]))
    return Golden(images, answers, int(document["longest"]), tuple(document["ends"]))


def compare(golden: Golden, model: Model) -> Parity:
    """Ask the package what the checkpoint was asked."""
    tokens = unequal = 0
    difference = lead = 0.0
    for index, image in enumerate(golden.images):
        expected = [answer for answer in golden.answers if answer.image == index]
        said = model.answers(image, [(answer.question, ()) for answer in expected])
        for theirs, ours in zip(expected, said, strict=True):
            written = ours.tokens[: golden.longest]
            common = _common(theirs.tokens, written)
            tokens += len(theirs.tokens)
            pairs = zip(theirs.log_probabilities[:common], ours.log_probabilities[:common], strict=True)
            difference = max(difference, *(abs(a - b) for a, b in pairs), 0.0)
            if written != theirs.tokens:
                unequal += 1
                lead = max(lead, _lead(theirs, common, written, golden.ends))
    return Parity(len(golden.answers), tokens, unequal, difference, lead, model.identity.precision)


def _common(one: Iterable[int], other: Iterable[int]) -> int:
    """Tokens before the first that differs."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _lead(theirs: GoldenAnswer, at: int, written: tuple[int, ...], ends: tuple[int, ...]) -> float:
    """Lead of the checkpoint's token over what the package wrote instead at position `at`, in nats."""
    if at >= len(theirs.candidates):
        return 0.0  # the checkpoint was cut off by the limit where the package ended its turn
    known = theirs.candidates[at]
    # A package that ended its turn wrote one of the tokens that end it; the likeliest of them counts.
    wanted = ends if at >= len(written) else (written[at],)
    return min((known[0][1] - chance for token, chance in known if token in wanted), default=float("inf"))


def _answer(entry: dict[str, Any]) -> GoldenAnswer:
    return GoldenAnswer(
        image=int(entry["image"]),
        question=str(entry["question"]),
        tokens=tuple(entry["tokens"]),
        log_probabilities=tuple(entry["log_probabilities"]),
        candidates=tuple(tuple((int(t), float(p)) for t, p in step) for step in entry["candidates"]),
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
