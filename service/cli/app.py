"""`raddraft`: the commands, thin over what does the work."""

from __future__ import annotations

import sys
from importlib import import_module

import typer
from rich.console import Console

from clinical import RadDraftError
from service.cli import (
    agreement,
    audit,
    configuration,
    conformance,
    conversation,
    delivery,
    drift,
    models,
    network,
    operations,
    preview,
    reading,
    reconcile,
    roles,
    rules,
)
from service.logs import set_up_logging
from service.settings import ConfigurationError

_BAD_USE = 2
# Typer's usage errors share this base, which it does not export by name.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_FAILED = 1


def build_app() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="raddraft",
        help="Drafts chest X-ray reports with grounded findings beside the PACS; a human signs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in (
        roles,
        reading,
        conversation,
        network,
        operations,
        delivery,
        agreement,
        conformance,
        preview,
    ):
        module.register(app)
    app.add_typer(models.app, name="model", help="Models: what is installed, what it knows.")
    app.add_typer(configuration.app, name="config", help="The configuration: check it, print it.")
    app.add_typer(audit.app, name="audit", help="Who did what: list it, verify that nothing was changed.")
    app.add_typer(drift.app, name="drift", help="Whether images of each device stay what they were.")
    app.add_typer(reconcile.app, name="reconcile", help="Reports that wait for their patient.")
    app.add_typer(rules.app, name="rules", help="Routing rules: try new ones on what has come.")
    # The one arrow into training: its commands import it (and torch) only when they run.
    app.add_typer(
        import_module("service.cli.train").app, name="train", help="Phantoms, training, evaluation."
    )
    app.callback(invoke_without_command=True)(_version)
    return app


def _version(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        from raddraft import __version__ as VERSION

        typer.echo(VERSION)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run() -> None:
    """Run the command line: errors in one line, bad use exits 2, failures exit 1."""
    set_up_logging()
    command = typer.main.get_command(build_app())
    try:
        status = command.main(standalone_mode=False)
    except _UsageError as error:
        _say(str(getattr(error, "message", error)))
        sys.exit(_BAD_USE)
    except ConfigurationError as error:
        _say(error.message)
        sys.exit(_BAD_USE)
    except RadDraftError as error:
        _say(str(error))
        sys.exit(_FAILED)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(_FAILED)
    sys.exit(status if isinstance(status, int) else 0)


def _say(line: str) -> None:
    Console(stderr=True, highlight=False).print(f"raddraft: {line}", markup=False, soft_wrap=True)
