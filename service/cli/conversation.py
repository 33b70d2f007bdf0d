"""`ask` and `chat`: a conversation with the model about one image, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import ConfigOption, JsonOption, print_json
from service.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Generator

    from imaging import DisplayedImage
    from inference import Answer, Model

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
    settings = load_settings(config)
    model, displayed = _opened(settings, path)
    answer = model.ask(displayed, question, deadline_s=settings.model.read_timeout_s)
    model.close()
    _draw(overlay, displayed, question, answer, model)
    if as_json:
        print_json(answer)
        return
    typer.echo(answer.text)
    _say_boxes(answer)
    if model.identity.statement:
        typer.echo(model.identity.statement, err=True)


def chat(path: ImageArgument, overlay: OverlayOption = None, config: ConfigOption = None) -> None:
    """Talk with the model about one image, one question a line; an empty line ends it."""
    settings = load_settings(config)
    model, displayed = _opened(settings, path)
    if model.identity.statement:
        typer.echo(model.identity.statement, err=True)
    conversation = model.open_conversation(displayed)
    try:
        while (question := _next_question()) is not None:
            stream = conversation.ask_stream(question, deadline_s=settings.model.read_timeout_s)
            answer = _print_pieces(stream)
            _say_boxes(answer)
            _draw(overlay, displayed, question, answer, model)
    finally:
        model.close()


def _opened(settings: Settings, path: Path) -> tuple[Model, DisplayedImage]:
    from imaging import load_displayed
    from service.reading_worker import decode_limits, site_model

    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}")
    is_picture = path.suffix.lower() in _PICTURES
    displayed = _picture(path) if is_picture else load_displayed(path, decode_limits(settings))
    return site_model(settings), displayed


def _picture(path: Path) -> DisplayedImage:
    import numpy as np
    from PIL import Image

    from imaging import DisplayedImage

    try:
        with Image.open(path) as picture:
            return DisplayedImage(np.array(picture.convert("L")), ("picture",))
    except OSError as error:
        raise typer.BadParameter(f"{path} is no picture that can be read") from error


def _next_question() -> str | None:
    """A line of standard input; None at its end or where the user leaves."""
    try:
        line = input("> ").strip()
    except EOFError:
        return None
    return None if line.lower() in _LEAVE else line


def _print_pieces(stream: Generator[str, None, Answer]) -> Answer:
    while True:
        try:
            typer.echo(next(stream), nl=False)
        except StopIteration as end:
            typer.echo()
            answer: Answer = end.value
            return answer


def _say_boxes(answer: Answer) -> None:
    for number, box in enumerate(answer.boxes_px, start=1):
        typer.echo(
            f"box {number}: x {box.x0:.0f} to {box.x1:.0f}, y {box.y0:.0f} to {box.y1:.0f} px", err=True
        )


def _draw(
    overlay: Path | None, displayed: DisplayedImage, question: str, answer: Answer, model: Model
) -> None:
    if overlay is None:
        return
    from reporting import answer_png

    overlay.write_bytes(answer_png(displayed, question, answer.text, answer.boxes_px, model.identity))
