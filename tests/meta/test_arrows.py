"""Imports follow the data, and the contracts that say so do break when they should."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.repository import MODULES, ROOT, copy_to

# Module -> what it imports, which contract forbids it, and the line of the report that has to say so.
FORBIDDEN = {
    "ampeco/bad_web.py": ("starlette.responses", "ampeco.bad_web -> starlette"),
    "ampeco/bad_redis.py": ("redis.asyncio", "ampeco.bad_redis -> redis"),
    "ampeco/bad_rq.py": ("rq", "ampeco.bad_rq -> rq"),
    "ampeco/bad_server.py": ("uvicorn", "ampeco.bad_server -> uvicorn"),
    "ampeco/simulator/bad_redis.py": ("redis", "ampeco.simulator.bad_redis -> redis"),
    "ampeco/bad_up.py": ("handlers.declaration", "ampeco.bad_up -> handlers.declaration"),
    "ampeco/bad_log.py": ("eventlog.log", "ampeco.bad_log -> eventlog.log"),
    "eventlog/bad_vendor.py": ("ampeco.errors", "eventlog.bad_vendor -> ampeco.errors"),
    "eventlog/bad_plugin.py": ("handlers.declaration", "eventlog.bad_plugin -> handlers.declaration"),
    "eventlog/bad_up.py": ("workers.config", "eventlog.bad_up -> workers.config"),
    "eventlog/bad_web.py": ("starlette.responses", "eventlog.bad_web -> starlette"),
    "eventlog/connection/bad_up.py": ("eventlog.log", "eventlog.connection.bad_up -> eventlog.log"),
    "eventlog/operation/bad_up.py": (
        "eventlog.inspection.tail",
        "eventlog.operation.bad_up -> eventlog.inspection.tail",
    ),
    "handlers/bad_up.py": ("eventlog.errors", "handlers.bad_up -> eventlog.errors"),
    "handlers/bad_redis.py": ("redis", "handlers.bad_redis -> redis"),
    "handlers/testing/bad_web.py": ("uvicorn", "handlers.testing.bad_web -> uvicorn"),
    "handlers/builtin/bad_kit.py": ("handlers.testing", "handlers.builtin.bad_kit -> handlers.testing"),
    "workers/bad_kit.py": ("handlers.testing.events", "workers.bad_kit -> handlers.testing.events"),
    "commands/bad_kit.py": ("handlers.testing", "commands.bad_kit -> handlers.testing"),
    "eventlog/bad_kit.py": ("pytest_ampeco.plugin", "eventlog.bad_kit -> pytest_ampeco.plugin"),
    "workers/bad_up.py": ("receiver.bad_plugin", "workers.bad_up -> receiver.bad_plugin"),
    "workers/bad_web.py": ("starlette.responses", "workers.bad_web -> starlette"),
    "workers/once/bad_up.py": (
        "workers.delivery.outcomes",
        "workers.once.bad_up -> workers.delivery.outcomes",
    ),
    "workers/delivery/bad_up.py": ("workers.drain.drain", "workers.delivery.bad_up -> workers.drain.drain"),
    "workers/drain/bad_up.py": ("workers.process.worker", "workers.drain.bad_up -> workers.process.worker"),
    "receiver/bad_plugin.py": ("handlers.declaration", "receiver.bad_plugin -> handlers.declaration"),
    "receiver/bad_drain.py": ("workers.drain", "receiver.bad_drain -> workers.drain"),
    "receiver/bad_detour.py": ("workers.fine_relay", "receiver.bad_detour -> workers.fine_relay"),
    "receiver/bad_console.py": ("console.page", "receiver.bad_console -> console.page"),
    "console/bad_server.py": ("uvicorn", "console.bad_server -> uvicorn"),
    "console/bad_plugin.py": ("handlers.declaration", "console.bad_plugin -> handlers.declaration"),
    "console/bad_neighbour.py": ("receiver.settings", "console.bad_neighbour -> receiver.settings"),
    "console/pages/bad_up.py": ("console.application", "console.pages.bad_up -> console.application"),
    "console/sessions_bad.py": ("commands.fine_root", "console.sessions_bad -> commands.fine_root"),
    "receiver/bad_command.py": ("commands.fine_root", "receiver.bad_command -> commands.fine_root"),
}
ALLOWED = {
    "ampeco/simulator/fine_web.py": "starlette.responses",
    "ampeco/simulator/fine_server.py": "uvicorn",
    "eventlog/operation/fine_log.py": "eventlog.log",
    "handlers/fine_vendor.py": "ampeco",
    "handlers/testing/fine_worker.py": "workers.delivery.attempt",
    "handlers/testing/fine_log.py": "eventlog.record",
    "pytest_ampeco/fine_kit.py": "handlers.testing",
    "workers/fine_relay.py": "handlers.declaration",
    "workers/fine_log.py": "eventlog",
    "workers/drain/fine_down.py": "workers.once.step",
    "receiver/fine_log.py": "eventlog",
    "receiver/fine_vendor.py": "ampeco",
    "console/pages/fine_log.py": "eventlog.inspection.overview",
    "commands/fine_console.py": "console.application",
    "commands/fine_root.py": "workers.process",
    "commands/fine_plugin.py": "handlers.declaration",
}


def _lint(folder: Path, modules: dict[str, str]) -> subprocess.CompletedProcess[str]:
    copy_to(folder)
    for module, imported in modules.items():
        (folder / module).write_text(f"import {imported}\n")
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_allow_what_the_design_allows(tmp_path: Path) -> None:
    done = _lint(tmp_path / "copy", ALLOWED)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_contracts_break_at_every_import_against_the_arrow(tmp_path: Path) -> None:
    done = _lint(
        tmp_path / "copy", ALLOWED | {module: imported for module, (imported, _) in FORBIDDEN.items()}
    )
    assert done.returncode == 1
    assert " 0 kept" in done.stdout
    assert [line for _, line in FORBIDDEN.values() if f"- {line} (l.1)" not in _narrow(done.stdout)] == []
    allowed = [module.removesuffix(".py").replace("/", ".") for module in ALLOWED]
    blamed = [name for name in allowed if f"\n- {name} ->" in _narrow(done.stdout)]
    assert blamed == []


def _narrow(report: str) -> str:
    return "\n".join(" ".join(line.split()) for line in report.splitlines())


def _reads_environment(source: str) -> list[int]:
    """Lines that read the environment; setting a variable for a library does not."""
    lines = []
    tree = ast.parse(source)
    written = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            if {alias.name for alias in node.names} & {"environ", "environb", "getenv", "getenvb"}:
                lines.append(node.lineno)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr in ("environ", "environb", "getenv", "getenvb")
            and id(node) not in written
        ):
            lines.append(node.lineno)
    return lines


def test_only_settings_and_the_command_line_read_the_environment() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in MODULES
        if path.name != "settings.py" and ROOT / "commands" not in path.parents
        for line in _reads_environment(path.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import os\nx = os.environ['A']", [2]),
        ("import os\nx = os.environ.get('A')", [2]),
        ("import os\nx = dict(os.environ)", [2]),
        ("import os\nx = os.getenv('A')", [2]),
        ("from os import environ", [1]),
        ("import os\nos.environ['RQ_KEY_PREFIX'] = 'a'", []),
        ("import os\nos.getpid()", []),
    ],
)
def test_reading_the_environment_is_recognised(source: str, lines: list[int]) -> None:
    assert _reads_environment(source) == lines
