"""The command line: names, exit codes, and nothing that takes long to import.

Each command lives in a module of its own, loaded when it is asked for. This is the one place where the rooms
are put together: what a command needs of them, its module imports inside the function.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 Redis or AMPECO unreachable.
"""

from __future__ import annotations

from commands import interruption  # isort: split

import importlib
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from commands import failures, redis_telemetry
from commands.shadowing import foreign_file
from commands.standard_streams import open_missing

if TYPE_CHECKING:
    from receiver.settings import Settings

# Name of the command -> its module and function, and the first sentence of its help.
COMMANDS = {
    "demo": ("commands.demo:demo", "Show everything at work on this machine."),
    "dev": ("commands.dev:dev", "Try handler files against a simulated tenant."),
    "run": ("commands.run:run", "Serve a real tenant on one machine."),
    "serve": (
        "commands.serve:serve",
        "Serve the webhook: verify, append to the log, keep the registration right.",
    ),
    "worker": ("commands.worker:worker", "Run the handlers of the installed plugins."),
    "simulator": ("commands.simulator:simulator", "Serve a tenant in a box."),
    "registration": (
        "commands.registration:registration",
        "Show, change and remove our notification subscription at AMPECO.",
    ),
    "explain": (
        "commands.explain:explain",
        "Explain what happened to an event, or to an entity such as session:4711.",
    ),
    "events": ("commands.events:events", "Inspect the events in the log."),
    "handlers": ("commands.handlers:handlers", "List handlers, and change their position in the log."),
    "dead": ("commands.dead:dead", "Inspect dead letters, and retry or discard them."),
    "gaps": ("commands.gaps:gaps", "List gaps, and ask AMPECO to send again what failed."),
    "quarantine": (
        "commands.quarantine:quarantine",
        "Inspect signed bodies that could not be read, and retry or discard them.",
    ),
    "console": ("commands.console:console", "Serve the pages for operators, alone."),
    "audit": ("commands.audit:audit", "Show who changed what by hand."),
    "status": (
        "commands.status:status",
        "Show the state of the deployment on one screen, and what needs a person now.",
    ),
    "doctor": (
        "commands.doctor.command:doctor",
        "Check Redis, tenant, registration, callback URL and workers: one line each, with the fix.",
    ),
    "settings": ("commands.settings:settings", "Show the resolved settings; secrets are masked."),
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is used, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Be the program: the same as `main`, and the process ends after it."""
        try:
            interruption.end_where_it_would_be_lost()
            self.main(*args, **kwargs)
        except KeyboardInterrupt:  # just before the work began, or just after it
            sys.exit(failures.INTERRUPTED)
        finally:
            interruption.end_at_once()

    def main(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> NoReturn:
        open_missing()
        try:
            code = self._run(sys.argv[1:] if args is None else args, *rest, **kwargs)
            code = failures.written_out(code)
        except KeyboardInterrupt:
            code = failures.INTERRUPTED
        sys.exit(code)

    def _run(self, words: Sequence[str], *rest: Any, **kwargs: Any) -> int:
        failures.speak_any_text()
        if (found := foreign_file()) is not None:
            click.echo(f"ampeco-receiver: {found}", err=True)  # before anything of our rooms is imported
            return 2
        if (found := failures.unreadable(words)) is not None:
            return failures.fail(2, found)
        try:
            code = super().main([*words], *rest, **{**kwargs, "standalone_mode": False})
        except SystemExit as end:
            code = end.code
        except click.Abort:
            code = failures.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - an error ends the command with one line
            code = failures.failed(error)
        return code if isinstance(code, int) else 0


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Receives AMPECO.CHARGE notifications and runs your handlers on them.",
)
@click.version_option(package_name="ampeco-receiver", message="%(version)s")
def main() -> None:
    """Entry point of `ampeco-receiver` and `awr`."""


def prepare(
    *, need: Iterable[str] = (), defaults: Mapping[str, str] | None = None, logs: bool = True
) -> Settings:
    """Read the settings, set up logging, and set the prefix of RQ's keys. Every command calls it first.

    Args:
        need: settings the command cannot do without.
        defaults: defaults of this command that differ from the general ones.
        logs: False for a command that logs nothing of its own. Then structlog is imported for a library's first line.
    """
    from receiver.settings import load

    settings = load(os.environ, need=need, defaults=defaults)
    set_up(settings, logs=logs)
    return settings


def set_up(settings: Settings, *, logs: bool = True) -> None:
    """Set up what depends on the settings; `logs` as for `prepare`."""
    from receiver.chatty import hush

    if logs:
        _set_up_logging(settings)
    else:
        logging.basicConfig(handlers=[_LogsLater(settings)], level=settings.log_level.upper(), force=True)
        hush()
    # RQ reads this once, when it is imported.
    os.environ["RQ_KEY_PREFIX"] = f"{settings.key_prefix}rq"
    _use_login(settings)


def _set_up_logging(settings: Settings) -> None:
    from receiver.logging import configure

    configure(settings.log_format, settings.log_level)


class _LogsLater(logging.Handler):
    """Sets up logging when the first line is logged."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def emit(self, record: logging.LogRecord) -> None:
        _set_up_logging(self._settings)
        logging.getLogger().handle(record)


def _use_login(settings: Settings) -> None:
    """Let new connections to Redis use the login as it is then, where it can change."""
    from eventlog.connection import credentials

    file = settings.secrets_dir / "AWR_REDIS_URL" if settings.secrets_dir is not None else None
    if settings.redis_credentials is not None:
        credentials.use(credentials.load(settings.redis_credentials))
    elif file is not None and file.is_file():
        credentials.follow(file)


def store_url(settings: Settings) -> str:
    """Return the URL of the configured Redis, else of the embedded server of a running `run`."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    from eventlog.connection.embedded import EmbeddedServer, EmbeddedServerError
    from receiver.errors import SettingsError
    from receiver.settings_checks import data_folder

    folder = data_folder(settings)
    server = EmbeddedServer(folder)
    try:
        if server.runs:
            return server.url
    except EmbeddedServerError as error:
        raise SettingsError("AWR_DATA_DIR", str(error), "choose a folder of this user") from None
    raise SettingsError(
        "AWR_REDIS_URL",
        f"is not set, and no `run` is active in {folder}",
        "set it, or start `ampeco-receiver run` first",
    )


redis_telemetry.refuse()
interruption.raise_again()
