"""The tables in the documents that are made from the code, between `<!-- generated: NAME -->` and `<!-- end -->`.

`python -m tests.meta.generated` (`make generate`) rewrites them; `make check` only compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tests.meta import observability
from tests.meta.repository import ROOT

if TYPE_CHECKING:
    import click
    from pydantic_settings import BaseSettings

_MARK = re.compile(r"^<!-- (?:generated: (?P<name>\S+)|(?P<end>end)) -->\n", re.MULTILINE)


def settings() -> str:
    """Every AWR_ setting."""
    from receiver.settings import markdown_table

    return markdown_table()


def commands() -> str:
    """Every command with its options, as `--help` has them."""
    import click

    from commands import main as group

    rows = ["| command | does |", "|---|---|"]

    def walk(command: click.Command, words: list[str], context: click.Context) -> None:
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, [*words, name], click.Context(child, parent=context))
            if not command.invoke_without_command:
                return
        pieces = [piece for parameter in command.params for piece in _usage(parameter)]
        help_text = (command.help or "").partition("\n\n")[0].replace("\n", " ")
        usage = " ".join([*words, *pieces]).replace("|", "\\|")
        rows.append(f"| `{usage}` | {help_text} |")

    walk(group, [], click.Context(group))
    return "\n".join(rows) + "\n"


def _usage(parameter: click.Parameter) -> list[str]:
    import click

    if isinstance(parameter, click.Argument):
        return [parameter.make_metavar(click.Context(click.Command("x")))]
    assert isinstance(parameter, click.Option)
    if parameter.hidden or parameter.name in ("help", "version"):
        return []
    number = isinstance(parameter.type, (click.types.IntParamType, click.types.FloatParamType))
    value = (
        ""
        if parameter.is_flag
        else f" {parameter.metavar or ('N' if number else str(parameter.name).upper())}"
    )
    return [f"[{parameter.opts[-1]}{value}]"]


def errors() -> str:
    """Every class of error that a call to AMPECO can raise."""
    from ampeco.errors import ApiError

    rows = ["| error | `reason` | when |", "|---|---|---|"]

    def walk(kind: type[ApiError], depth: int) -> None:
        said = (kind.__doc__ or "").partition("\n")[0].rstrip(".")
        rows.append(f"| {'&emsp;' * depth}`{kind.__name__}` | `{kind.reason}` | {said} |")
        for child in kind.__subclasses__():
            if child.__module__ == kind.__module__:  # tests have errors of their own
                walk(child, depth + 1)

    walk(ApiError, 0)
    return "\n".join(rows) + "\n"


def habits() -> str:
    """The switches of the simulator."""
    from ampeco.simulator.switches import markdown_table

    return markdown_table()


def scenarios() -> str:
    """The scenarios that are shipped."""
    from ampeco.simulator.fleet.scenario_files import markdown_table

    return markdown_table()


def echoes() -> str:
    """Which notifications show what a call has done."""
    from ampeco.reflections import markdown_table

    return markdown_table()


def internal_events() -> str:
    """Every internal event with the fields of its payload."""
    from handlers.internal import PAYLOADS, InternalPayload

    rows = ["| type | payload | fields | when |", "|---|---|---|---|"]
    for name, payload in PAYLOADS.items():
        own = [field for field in payload.model_fields if field not in InternalPayload.model_fields]
        said = (payload.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ").rstrip(".")
        rows.append(f"| `{name}` | `{payload.__name__}` | {', '.join(f'`{one}`' for one in own)} | {said} |")
    return "\n".join(rows) + "\n"


def notify_settings() -> str:
    """The settings of the built-in handler `notify`."""
    from handlers.builtin.notify import NotifySettings

    return _of_plugin(NotifySettings)


def forward_settings() -> str:
    """The settings of the built-in handler `webhook-forward`."""
    from handlers.builtin.webhook_forward import ForwardSettings

    return _of_plugin(ForwardSettings)


def _of_plugin(settings: type[BaseSettings]) -> str:
    prefix = str(settings.model_config.get("env_prefix"))
    rows = ["| name | default | meaning |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        if field.validation_alias is not None:
            continue  # a setting of the service
        default = field.default
        if isinstance(default, tuple):
            default = "all but `receiver.started`" if default else ""
        shown = default if isinstance(default, str) and default.startswith("all") else f"`{default}`"
        shown = "-" if default in (None, "", {}, ()) else shown
        rows.append(f"| `{prefix}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


def metrics() -> str:
    """Every metric."""
    return observability.metrics_table()


TABLES: Mapping[str, Callable[[], str]] = {
    "metrics": metrics,
    "habits": habits,
    "scenarios": scenarios,
    "settings": settings,
    "commands": commands,
    "errors": errors,
    "echoes": echoes,
    "internal-events": internal_events,
    "notify-settings": notify_settings,
    "forward-settings": forward_settings,
}


FILES: Mapping[Path, Callable[[], str]] = {
    observability.RULE: observability.prometheus_rule,
    observability.DASHBOARD: observability.dashboard,
}
"""Files that are made as a whole."""


def documents() -> list[Path]:
    """Every document for people: at the top of the repository and in its rooms."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/**/*.md")]
    return sorted({path for path in found if path.relative_to(ROOT).parts[0] not in ("build", "dist")})


def names(text: str) -> list[str]:
    """The tables a document asks for."""
    return [name for name, _, _ in _places(text)]


def rewritten(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The document with every table as the code has it now.

    Raises:
        ValueError: a mark without its partner, or of a table that does not exist.
    """
    pieces, last = [], 0
    for name, start, stop in _places(text):
        if name not in tables:
            raise ValueError(f"no table is called {name}; there are {', '.join(sorted(tables))}")
        pieces += [text[last:start], "\n", tables[name]().strip("\n"), "\n\n"]
        last = stop
    return "".join([*pieces, text[last:]])


def _places(text: str) -> Iterator[tuple[str, int, int]]:
    open_mark: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        if mark["end"] is not None and open_mark is not None:
            yield open_mark["name"], open_mark.end(), mark.start()
            open_mark = None
        elif mark["end"] is None and open_mark is None:
            open_mark = mark
        else:
            raise ValueError(f"the mark {mark[0].strip()} has no partner")
    if open_mark is not None:
        raise ValueError(f"the mark {open_mark[0].strip()} has no <!-- end -->")


def main() -> None:
    """Rewrite what is out of date and say so."""
    for path in documents():
        text = path.read_text()
        now = rewritten(text)
        if now != text:
            path.write_text(now)
            print(f"rewrote {path.relative_to(ROOT)}")
    for path, make in FILES.items():
        if not path.exists() or path.read_text() != make():
            path.write_text(make())
            print(f"rewrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
