"""`ask` and `chat`: a conversation with the model about one image, without a network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clinical import CheckStatus
from service.cli.common import ConfigOption, JsonOption, print_json
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from clinical import Box
    from imaging import DisplayedImage, Flavour
    from inference import Answer, CheckedSentence, Known, Model

ImageArgument = Annotated[Path, typer.Argument(help="A DICOM file or a picture.")]
OverlayOption = Annotated[
    Path | None, typer.Option("--overlay", help="PNG that gets the image with the boxes of the last answer.")
]
_PICTURES = (".png", ".jpg", ".jpeg")
_LEAVE = ("", "exit", "quit")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ask)
    app.command()(chat)


def ask(
    path: ImageArgument,
    question: str,
    overlay: OverlayOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the model one question about one image."""
    from inference import checked_stream

    settings = load_settings(config)
    model, displayed = _opened(settings, path)
    deadline_s = settings.model.read_timeout_s
    known = _known(model, displayed, deadline_s)
    stream = model.ask_stream(displayed, question, deadline_s=deadline_s)
    answer, checked = _listen(checked_stream(stream, [question], known), quiet=as_json)
    model.close()
    _draw(overlay, displayed, question, checked, model)
    if as_json:
        shown = {"text": _text(checked), "boxes_px": _boxes(checked), "sentences": checked}
        print_json({**asdict(answer), **shown})
        return
    _say_concerns(checked)
    if model.identity.statement:
        typer.echo(model.identity.statement, err=True)


def chat(path: ImageArgument, overlay: OverlayOption = None, config: ConfigOption = None) -> None:
    """Talk with the model about one image, one question a line; an empty line ends it."""
    from inference import checked_stream

    settings = load_settings(config)
    model, displayed = _opened(settings, path)
    if model.identity.statement:
        typer.echo(model.identity.statement, err=True)
    deadline_s = settings.model.read_timeout_s
    conversation = model.open_conversation(
        displayed, most_turns=settings.chat.max_turns, most_tokens=settings.chat.max_tokens
    )
    known = _known(model, displayed, deadline_s)
    try:
        while (question := _next_question()) is not None:
            before = [question, *(text for turn in reversed(conversation.history) for text in reversed(turn))]
            stream = conversation.ask_stream(question, deadline_s=deadline_s)
            _, checked = _listen(checked_stream(stream, before, known))
            _say_concerns(checked)
            _draw(overlay, displayed, question, checked, model)
    finally:
        model.close()


def _opened(settings: Settings, path: Path) -> tuple[Model, DisplayedImage]:
    from imaging import load_displayed
    from service.reading_worker import decode_limits, site_model

    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}")
    is_picture = path.suffix.lower() in _PICTURES
    model = site_model(settings)
    flavour = model.manifest.display
    displayed = (
        _picture(path, flavour) if is_picture else load_displayed(path, decode_limits(settings), flavour)
    )
    return model, displayed


def _picture(path: Path, flavour: Flavour) -> DisplayedImage:
    import numpy as np
    from PIL import Image

    from imaging import DisplayedImage

    try:
        with Image.open(path) as picture:
            pixels = np.array(picture.convert("L"))
            # Taken as it is, whatever the model was trained on.
            return DisplayedImage(pixels, ("picture",), flavour=flavour, for_model=pixels)
    except OSError as error:
        raise typer.BadParameter(f"{path} is no picture that can be read") from error


def _next_question() -> str | None:
    """A line of standard input; None at its end or where the user leaves."""
    try:
        line = input("> ").strip()
    except EOFError:
        return None
    return None if line.lower() in _LEAVE else line


def _known(model: Model, displayed: DisplayedImage, deadline_s: float) -> Known:
    """What the checks compare the answers with: what the model calls present on this image."""
    from inference import Known

    rows, columns = displayed.pixels.shape
    return Known(model.manifest.labels, model.called_present(displayed, deadline_s=deadline_s), rows, columns)


def _listen(
    sentences: Generator[CheckedSentence, None, Answer], *, quiet: bool = False
) -> tuple[Answer, list[CheckedSentence]]:
    """Print each sentence of an answer as soon as it is checked."""
    checked: list[CheckedSentence] = []
    while True:
        try:
            checked.append(next(sentences))
        except StopIteration as end:
            if not quiet:
                typer.echo()
            return end.value, checked
        if not quiet:
            typer.echo((" " if len(checked) > 1 else "") + checked[-1].shown, nl=False)


def _text(checked: Sequence[CheckedSentence]) -> str:
    return " ".join(sentence.shown for sentence in checked)


def _boxes(checked: Sequence[CheckedSentence]) -> list[Box]:
    return [box for sentence in checked for box in sentence.boxes_px]


def _say_concerns(checked: Sequence[CheckedSentence]) -> None:
    for number, box in enumerate(_boxes(checked), start=1):
        typer.echo(
            f"box {number}: x {box.x0:.0f} to {box.x1:.0f}, y {box.y0:.0f} to {box.y1:.0f} px", err=True
        )
    for check in (check for sentence in checked for check in sentence.checks):
        if check.status in (CheckStatus.WARN, CheckStatus.FAIL):
            typer.echo(f"{check.name} {check.status.value}: {check.evidence}", err=True)


def _draw(
    overlay: Path | None,
    displayed: DisplayedImage,
    question: str,
    checked: Sequence[CheckedSentence],
    model: Model,
) -> None:
    if overlay is None:
        return
    from reporting import answer_png

    overlay.write_bytes(answer_png(displayed, question, _text(checked), _boxes(checked), model.identity))
