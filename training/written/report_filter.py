"""Reports without what one image cannot show: comparisons, history, views, measurements of earlier examinations.

RadVLM filtered its reports by a language model in the same way; where nothing is left, the report is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from training.written.author import Author

DROPPED = "None"
_DROPPED_FILE = "dropped.txt"
_PROMPT = """\
You prepare chest radiograph reports for training a model that sees one frontal image and nothing else.
Rewrite the report below so that it states only what this single image can show.
- Leave out every comparison with an earlier examination and every word of change: interval, unchanged, new,
  improved, worsened, stable, again, persistent.
- Leave out the clinical history, the indication, the technique, the view, names, dates, and whom the result was told.
- Leave out what only a lateral view or another examination can show.
- Keep every finding and every denial otherwise word for word; add nothing, do not interpret, do not shorten.
- Correct spelling, and write in ordinary upper and lower case.
Answer with the report alone. If nothing is left, answer with the one word None.

Report:
"""


@dataclass(frozen=True, slots=True)
class Filtered:
    """How many reports were written, how many dropped, and how many had been done before."""

    written: int
    dropped: int
    done_before: int


def filter_reports(
    reports: Iterable[tuple[str, str]],
    author: Author,
    out: Path,
    *,
    radvlm_compat: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Filtered:
    """Write `KEY.txt` into `out` for each (key, report); a stopped run goes on where it was.

    A report is dropped where the answer is the one word None; `radvlm_compat` drops it wherever the answer has
    that word in it, as the reference does.
    """
    out.mkdir(parents=True, exist_ok=True)
    dropped_path = out / _DROPPED_FILE
    dropped = set(dropped_path.read_text(encoding="utf-8").split()) if dropped_path.exists() else set()
    written = newly_dropped = before = 0
    with dropped_path.open("a", encoding="utf-8") as dropped_keys:
        for count, (key, report) in enumerate(reports, start=1):
            target = out / f"{key}.txt"
            if key in dropped or target.exists():
                before += 1
            elif _is_dropped(answer := author.write(_PROMPT + report), radvlm_compat):
                dropped_keys.write(key + "\n")
                dropped_keys.flush()
                newly_dropped += 1
            else:
                _write_whole(target, answer)
                written += 1
            if progress:
                progress(count)
    return Filtered(written, newly_dropped, before)


def _is_dropped(answer: str, radvlm_compat: bool) -> bool:
    if radvlm_compat:
        return DROPPED in answer
    return not answer or answer.strip(" .\"'").lower() == DROPPED.lower()


def _write_whole(target: Path, text: str) -> None:
    fresh = target.with_suffix(".part")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, target)
