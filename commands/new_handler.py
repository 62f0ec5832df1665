"""`handlers new`: write the code of a handler and its test, alone or as a distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commands.options import HandlerName


class _NotificationType(click.ParamType[str]):
    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from commands.scaffold import kind_of

        try:
            kind_of(value)
        except LookupError as error:
            self.fail(str(error.args[0]), param, ctx)
        return str(value)


@click.command()
@click.argument("name", type=HandlerName())
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for both files, or for the folder of the distribution.",
)
@click.option(
    "--type",
    "notification_type",
    metavar="TYPE",
    type=_NotificationType(),
    default="session.start.stop.notification",
    show_default=True,
    help="The notification type that it handles.",
)
@click.option(
    "--package", is_flag=True, help="Write a distribution with an entry point, settings, tests and CI."
)
def new(name: str, folder: Path, notification_type: str, package: bool) -> None:
    """Write the code of a new handler, and a passing test."""
    from commands import scaffold

    kind = scaffold.kind_of(notification_type)
    if package:
        folder /= scaffold.distribution_name(name)
        texts = scaffold.package_files(name, kind)
        hint = f'cd {folder} && pip install -e ".[dev]" && pytest'
    else:
        texts = scaffold.module_files(name, kind)
        hint = f"ampeco-receiver dev {folder / next(iter(texts))}"
    files = {folder / path: text for path, text in texts.items()}
    for path in files:
        if path.exists():
            raise click.ClickException(f"{path} already exists; choose another name or --folder")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        click.echo(str(path))
    click.echo(f"try it: {hint}", err=True)
