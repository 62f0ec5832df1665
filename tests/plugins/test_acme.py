"""A third party's plugin: built, installed into a clean environment, tested and run there from end to end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ampeco.notifications import HardwareStatus, SessionUpdate
from ampeco.simulator.testing import Box
from commands.demo_stack import free_port
from handlers.testing import event_of
from tests.harness import soon
from tests.meta.repository import ROOMS, copy_to
from tests.plugins.installed import Installed, installed

ACME = Path(__file__).parent / "acme"
TOKEN = "simulated-tenant-token"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return installed(tmp_path_factory.mktemp("installed") / "all", ACME)


# -- installed


def test_its_own_tests_pass_where_it_is_installed(environment: Installed, tmp_path: Path) -> None:
    """They use the kit from the wheel: no source of ours is on the path."""
    copy = copy_to(tmp_path / "acme", ACME)
    (copy / "src").rename(copy / "elsewhere")
    done = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=copy)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
    program = "import handlers, acme_charging.handlers as plugin; print(handlers.__file__, plugin.__file__)"
    found = environment.run("python", "-c", program, cwd=tmp_path)
    assert all("/venv/lib/" in file for file in found.stdout.split()), found


def test_its_handlers_are_found_by_the_entry_point(environment: Installed, tmp_path: Path) -> None:
    done = environment.run("ampeco-receiver", "handlers", "check", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["handlers"]}
    assert {"acme.billing", "acme.fault-reset", "acme.overstay", "acme.session-register"} < rows.keys()
    assert {rows[name]["source"] for name in rows if name.startswith("acme.")} == {"acme-charging"}


class BillingTarget:
    """A billing system on a port."""

    def __init__(self) -> None:
        self.bills: list[Any] = []
        target = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target.bills.append(json.loads(body))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def started(environment: Installed, *words: str, log: Path, **environ: str) -> Iterator[Path]:
    """A command of the environment as long as the block lasts; the file of what it says."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            [str(environment.bin / "ampeco-receiver"), *words],
            cwd=log.parent,
            env={**environment.environ, **environ},
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()[-5_000:]


def rows(database: Path) -> dict[str, float]:
    if not database.exists():
        return {}
    with (
        contextlib.closing(sqlite3.connect(database)) as opened,
        contextlib.suppress(sqlite3.OperationalError),
    ):
        return dict(opened.execute("SELECT id, energy_wh FROM sessions").fetchall())
    return {}


def test_it_works_from_end_to_end(environment: Installed, tmp_path: Path) -> None:
    """Notifications come in, and each handler has its effect: in SQLite, at the HTTP target, and at AMPECO."""
    target, database, port = BillingTarget(), tmp_path / "acme.sqlite", free_port()
    simulator_log = tmp_path / "simulator.log"
    with (
        contextlib.closing(target),
        started(environment, "simulator", "--port", "0", log=simulator_log),
    ):
        soon(
            lambda: re.search(r"The simulator is at \S+,", simulator_log.read_text()) is not None, within_s=60
        )
        found = re.search(r"The simulator is at (\S+),", simulator_log.read_text())
        assert found is not None
        settings = {
            "AWR_TENANT_URL": found[1],
            "AWR_API_TOKEN": TOKEN,
            "AWR_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "AWR_PORT": str(port),
            "AWR_ADMIN_PORT": str(free_port()),
            "AWR_DATA_DIR": str(tmp_path / "data"),
            "AWR_HANDLERS_ALLOW": "acme.billing,acme.fault-reset,acme.overstay,acme.session-register",
            "ACME_DATABASE": str(database),
            "ACME_BILLING_URL": target.url,
        }
        with (
            contextlib.closing(Box(found[1], TOKEN)) as box,
            started(environment, "run", log=tmp_path / "run.log", **settings),
        ):
            soon(lambda: bool(box.state()["subscriptions"]), within_s=90)
            box.seed("charge-points", 12, hardware_status="faulted")
            box.seed("evses", 121, hardware_status="finishing")
            box.seed("users", 5001, balance=100)
            fault = event_of(HardwareStatus, charge_point_id=12, evse_id=121, hardware_status="faulted")
            box.send(fault.type, json.loads(fault.raw))
            for energy in (500, 501):
                session = {"id": "7", "user_id": 5001, "evse_id": 121, "energy": energy}
                finished = event_of(SessionUpdate, session=session)
                box.send(finished.type, json.loads(finished.raw))
            wanted = ["charge-point.reset", "user.apply-custom-fee"]
            soon(lambda: sorted(each["operation"] for each in box.actions()) == wanted, within_s=60)
            soon(lambda: rows(database) == {"7": 501.0}, within_s=60)
            soon(lambda: len(target.bills) == 1, within_s=60)
            assert target.bills[0]["session"] == "7"


# -- what it may import


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_imports_nothing_of_ours_but_handlers_and_ampeco(tmp_path: Path) -> None:
    done = contracts(copy_to(tmp_path / "acme", ACME))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["eventlog.log", "workers.delivery.attempt", "handlers.testing"])
def test_the_contract_breaks_at_any_other_import(module: str, tmp_path: Path) -> None:
    copy = copy_to(tmp_path / "acme", ACME)
    with (copy / "src/acme_charging/register.py").open("a") as file:
        file.write(f"\nimport {module}\n")
    done = contracts(copy)
    assert done.returncode == 1
    assert f"acme_charging.register -> {module.partition('.')[0]}" in done.stdout


def test_the_contract_names_every_room_that_is_not_for_plugins() -> None:
    (contract,) = tomllib.loads((ACME / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert set(ROOMS) - {"ampeco", "handlers"} < set(contract["forbidden_modules"])


# -- its tests notice what is wrong

MUTATIONS = {
    "a dry run writes": ("if not ctx.dry_run:", "if True:"),
    "an action is not declared": ('calls=["charge-point.reset"]', "calls=[]"),
    "another action than the declared one": ('calls=["user.apply-custom-fee"]', 'calls=["user.add-balance"]'),
    "the filter says the contrary": (
        "hardware_status == Hardware.FAULTED",
        "hardware_status != Hardware.FAULTED",
    ),
    "the filter lets everything pass": ('status == "finished"', 'status != ""'),
    "no filter": ("lifespan=billing, where=is_finished", "lifespan=billing"),
    "the effect is not once-only": ('await ctx.once("bill", post, per="entity")', "await post()"),
    "no conformance": ('await ctx.once("bill", post, per="entity")', "await post()"),
    "nothing": ("", ""),
}
TESTED = {"no conformance": "tests/test_conformance.py", "nothing": "tests"}
"""What is run, where it is not `tests/test_handlers.py`."""


@pytest.fixture(scope="module")
def of_mutants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """How the plugin's tests end for each mutation; two run at a time."""
    folder = tmp_path_factory.mktemp("mutants")

    def tested(wrong: str) -> subprocess.CompletedProcess[str]:
        copy = copy_to(folder / wrong.replace(" ", "-"), ACME)
        file = copy / "src/acme_charging/handlers.py"
        before, after = MUTATIONS[wrong]
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                TESTED.get(wrong, "tests/test_handlers.py"),
            ],
            cwd=copy,
            env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    with ThreadPoolExecutor(2) as two:
        return dict(zip(MUTATIONS, two.map(tested, MUTATIONS), strict=True))


def test_its_tests_pass_where_nothing_is_changed(
    of_mutants: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    """Else the tests below would pass for another reason."""
    done = of_mutants["nothing"]
    assert done.returncode == 0, done.stdout[-3_000:]


@pytest.mark.parametrize("wrong", [name for name in MUTATIONS if name != "nothing"])
def test_its_tests_fail_when_the_handler_is_wrong(
    wrong: str, of_mutants: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    done = of_mutants[wrong]
    assert done.returncode == 1, done.stdout[-3_000:]
    assert " failed" in done.stdout
