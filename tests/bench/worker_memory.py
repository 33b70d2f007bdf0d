"""Peak memory of a reading worker under load beside what it is bounded by.

``python -m tests.bench.worker_memory [--package embedded] [--studies 12] [--in-flight 2] [--size-px 2304]`` reads
phantom studies of full-size images as the worker does, that many at once, and prints the peak of this process. The
broker's and the book's libraries are not loaded here; `tests.bench.service_bench` measures whole processes with the
embedded model. Images are decoded in processes of their own, bounded by `decode.memory_bytes`, which do not count.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imaging import DecodeLimits
from inference import Model, load_model, open_package
from service.study_reading import ImageFile, ReadingTerms, read_study
from tests.bench.memory import forget_own_peak, peak_rss_bytes, rss_bytes
from training.phantoms.dicom import VARIANTS, write_phantom

_FIRST_SEED = 9_100_000
# What the worker keeps for answers written at once; `service.reading_worker` takes the larger.
_FEWEST_SLOTS = 4


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """Bytes.

    Attributes
    ----------
    libraries
        Of the process before the model was loaded.
    weights
        Size of the package's files.
    cache
        Most that keys and values may come to hold.
    images
        One decoded image for each study in flight.
    loaded, peak
        Resident, after loading and at its highest.
    """

    libraries: int
    weights: int
    cache: int
    images: int
    loaded: int
    peak: int

    @property
    def rest(self) -> int:
        """What none of the named parts accounts for: what one run of a graph needs, prepacked weights."""
        return self.peak - self.libraries - self.weights - self.cache - self.images


def measure(
    package: str, studies: int, in_flight: int, size_px: int, threads: int | None = None
) -> WorkerMemory:
    """Read `studies` of one image each, `in_flight` at once."""
    opened = open_package(package)
    weights = sum((opened.folder / name).stat().st_size for name in opened.manifest.files)
    with _written(studies, size_px) as paths:
        forget_own_peak()  # drawing phantoms takes more than reading them
        libraries = rss_bytes(os.getpid())
        model = load_model(package, slots=max(in_flight, _FEWEST_SLOTS), threads=threads)
        loaded = rss_bytes(os.getpid())
        with ThreadPoolExecutor(in_flight) as pool:
            list(pool.map(lambda path: _read(model, path), paths))
        model.close()
    images = in_flight * size_px * size_px
    peak = peak_rss_bytes(os.getpid())
    return WorkerMemory(libraries, weights, model.cache_bytes, images, loaded, peak)


def _read(model: Model, path: Path) -> None:
    terms = ReadingTerms(DecodeLimits(timeout_s=120), 3600, "0" * 64, "bench")
    read_study("1.2.3", 1, [ImageFile(f"1.2.{path.stem}", path)], model, terms, keep_displayed=False)


@contextmanager
def _written(studies: int, size_px: int) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.dcm" for number in range(studies)]
        for number, path in enumerate(paths):
            write_phantom(path, _FIRST_SEED + number, VARIANTS[number % len(VARIANTS)], size_px)
        yield paths


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="peak memory of a reading worker under load")
    parser.add_argument("--package", default="embedded", help='folder, or "embedded"')
    parser.add_argument("--studies", type=int, default=12)
    parser.add_argument("--in-flight", type=int, default=2, help="as model.studies_in_flight")
    parser.add_argument("--size-px", type=int, default=2304, help="side of an image; 2304 is 5.3 megapixels")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    found = measure(given.package, given.studies, given.in_flight, given.size_px, given.threads)
    for name in ("libraries", "weights", "cache", "images", "rest", "loaded", "peak"):
        print(f"{name:<10} {getattr(found, name) / 2**20:9.1f} MiB")


if __name__ == "__main__":
    main()
