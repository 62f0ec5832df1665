"""The command line: names, exit codes, and nothing that takes long to import.

Each command lives in a module of its own, loaded when it is asked for. This is the one place where the rooms
are put together: what a command needs of them, its module imports inside the function.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 Redis or AMPECO unreachable.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from commands.shadowing import foreign_file

if TYPE_CHECKING:
    from receiver.settings import Settings

# Name of the command -> its module and function.
COMMANDS = {
    "demo": "commands.demo:demo",
    "dev": "commands.dev:dev",
    "run": "commands.run:run",
    "serve": "commands.serve:serve",
    "worker": "commands.worker:worker",
    "simulator": "commands.simulator:simulator",
    "explain": "commands.explain:explain",
    "events": "commands.events:events",
    "handlers": "commands.handlers:handlers",
    "dead": "commands.dead:dead",
    "settings": "commands.settings:settings",
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is used, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        if (found := foreign_file()) is not None:
            click.echo(f"ampeco-receiver: {found}", err=True)  # before anything of our rooms is imported
            sys.exit(2)
        try:
            code = super().main(*args, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = 2
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "ampeco-receiver"
            code = _fail(2, f"{error.format_message()} See {where} --help.")
        except click.ClickException as error:
            code = _fail(error.exit_code, error.format_message())
        except (click.Abort, KeyboardInterrupt):
            code = 130
        except Exception as error:  # noqa: BLE001 - unknown errors are raised again
            code = _fail(_exit_code(error), _line_of(error))
        sys.exit(code if isinstance(code, int) else 0)


def _exit_code(error: Exception) -> int:
    """Return the exit code of an error; an unknown error is raised again."""
    from redis.exceptions import AskError, ConnectionError, RedisError, TimeoutError  # noqa: A004

    import ampeco.errors
    from eventlog.connection.reasons import REFUSED, reason_of
    from eventlog.errors import ChangeRefused, LogMismatch, UnknownName
    from receiver.errors import SettingsError, Unreachable

    if isinstance(error, (SettingsError, LogMismatch, UnknownName, AskError)):
        return 2
    if isinstance(error, ChangeRefused):
        return 1
    if isinstance(error, RedisError) and reason_of(error).slug in REFUSED:
        return 2
    if isinstance(error, (Unreachable, ConnectionError, TimeoutError, ampeco.errors.Unreachable)):
        return 3
    raise error


def _line_of(error: Exception) -> str:
    """Return the one line that a user reads."""
    from redis.exceptions import AskError, RedisError

    from eventlog.connection.reasons import REFUSED, reason_of
    from eventlog.ownership import one_node

    if isinstance(error, AskError):  # MOVED and ASK, which only a client that follows no slot sees
        return str(one_node())
    if isinstance(error, RedisError) and (reason := reason_of(error)).slug in REFUSED:
        lacking = f" ({reason.permission})" if reason.permission else ""
        return f"AWR_REDIS_URL: {reason.slug}{lacking}; {reason.hint}"
    return str(error)


def _fail(code: int, message: str) -> int:
    from commands.output import print_line

    print_line(f"ampeco-receiver: {message}", err=True)
    return code


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Receives AMPECO.CHARGE notifications and runs your handlers on them.",
)
@click.version_option(package_name="ampeco-receiver", message="%(version)s")
def main() -> None:
    """Entry point of `ampeco-receiver` and `awr`."""


def prepare(*, need: Iterable[str] = (), defaults: Mapping[str, str] | None = None) -> Settings:
    """Read the settings, set up logging, and set the prefix of RQ's keys. Every command calls it first.

    Args:
        need: settings the command cannot do without.
        defaults: defaults of this command that differ from the general ones.
    """
    from receiver import logging
    from receiver.settings import load

    settings = load(os.environ, need=need, defaults=defaults)
    logging.configure(settings.log_format, settings.log_level)
    # RQ reads this once, when it is imported.
    os.environ["RQ_KEY_PREFIX"] = f"{settings.key_prefix}rq"
    _use_login(settings)
    return settings


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
    from eventlog.connection.embedded import EmbeddedServer
    from receiver.errors import SettingsError

    url = EmbeddedServer(settings.data_dir).url
    if Path(url.removeprefix("unix://")).exists():
        return url
    raise SettingsError(
        "AWR_REDIS_URL",
        f"is not set, and no `run` is active in {settings.data_dir}",
        "set it, or start `ampeco-receiver run` first",
    )
