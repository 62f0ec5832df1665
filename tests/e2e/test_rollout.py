"""A new version replaces the one before it under load, and is rolled back: nothing is refused, lost or overtaken.

Both versions run as the manifests say (`pods.py`). The old one is the code before the last change of the log's
scripts, where the history of this repository is at hand. Without it, both run this code, with handlers of two
versions.
"""

from __future__ import annotations

import http.client
import io
import json
import shutil
import subprocess
import tarfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ampeco.signature import SIGNATURE_HEADER, SigningKey, sign
from eventlog.connection.embedded import EmbeddedServer
from tests.door import PATH, TOKEN
from tests.e2e.pods import Deployment, Image, mount_secrets
from tests.harness import soon
from tests.meta.manifests import written
from tests.meta.repository import ROOT

RATE, THREADS, ENTITIES = 300, 12, 120
HANDLERS = """# version {version}
import json, os
import handlers
from handlers import Context, Event, Raw, handler

assert handlers.__file__.startswith({code!r}), "the code of another version"

FILE = os.open({record!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@handler("recorder", on=["SessionUpdateNotification"], start="oldest")
async def recorder(event: Event[Raw], ctx: Context) -> None:
    line = [{version!r}, event.key, event.payload.data["n"]]
    os.write(FILE, json.dumps(line).encode() + b"\\n")
"""


class Proxy:
    """What stands before the receivers: it keeps connections to the endpoints that it knows, and sends in turn.

    Attributes:
        accepted: how many events of each entity were accepted; they are numbered from 1.
        faults: everything that a sender saw other than 202.
    """

    def __init__(self, endpoints: Callable[[], list[int]]) -> None:
        self._endpoints = endpoints
        self._key = SigningKey.of(TOKEN)
        self._stop = threading.Event()
        self.accepted: dict[str, int] = defaultdict(int)
        self.faults: list[str] = []
        self.seconds = 0.0
        self._threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(THREADS)]

    def __enter__(self) -> Proxy:
        self._begun_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._begun_s

    def _send(self, number: int) -> None:
        connections: dict[int, http.client.HTTPConnection] = {}
        sent = 0
        while not self._stop.wait(max(0.0, self._begun_s + sent * THREADS / RATE - time.monotonic())):
            ports = self._endpoints()
            port = ports[sent % len(ports)]
            for gone in connections.keys() - set(ports):
                connections.pop(gone).close()
            connection = connections.setdefault(
                port, http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            )
            entity = f"{1 + number + THREADS * (sent % (ENTITIES // THREADS))}"
            sent += 1
            self._post(connection, entity)
        for connection in connections.values():
            connection.close()

    def _post(self, connection: http.client.HTTPConnection, entity: str) -> None:
        n = self.accepted[entity] + 1
        session = {"id": entity, "status": "active"}
        body = json.dumps({"notification": "SessionUpdateNotification", "n": n, "session": session}).encode()
        headers = {"content-type": "application/json", SIGNATURE_HEADER: sign(body, self._key)}
        try:
            connection.request("POST", PATH, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.faults.append(repr(error))
            connection.close()
            return
        if answer.status == 202:
            self.accepted[entity] = n
        else:
            self.faults.append(str(answer.status))


def earlier_code(folder: Path) -> Path:
    """The code before the last change of the log's scripts; this code where Git does not know it."""
    if shutil.which("git") is None:
        return ROOT
    git = ("git", "-C", str(ROOT))
    named = subprocess.run(
        [*git, "rev-list", "-1", "--first-parent", "HEAD", "--", "eventlog/scripts"],
        capture_output=True,
        text=True,
    )
    packed = subprocess.run(
        [*git, "archive", f"{named.stdout.strip()}^", "--", ".", ":!tests"], capture_output=True
    )
    if named.returncode or packed.returncode:
        return ROOT
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> tuple[Image, Image]:
    """The old and the new one."""
    made = []
    for version, code in (("old", earlier_code(tmp_path / "earlier")), ("new", ROOT)):
        file = tmp_path / f"recorder_{version}.py"
        record = tmp_path / "record.jsonl"
        file.write_text(HANDLERS.format(version=version, code=f"{code}/", record=str(record)))
        made.append(Image(version, code, file))
    return made[0], made[1]


@pytest.fixture
def deployments(tmp_path: Path, tmp: Path) -> Iterator[tuple[Deployment, Deployment]]:
    """Receivers and workers of the base, with what an overlay has to add."""
    documents = written(ROOT / "deploy" / "base")
    changes = {
        "AWR_TENANT_URL": "https://tenant.example",
        "AWR_PUBLIC_URL": "https://hooks.example",
        "AWR_REGISTER": "off",
        "AWR_DURABILITY": "everysec",
        "AWR_HANDLERS_ALLOW": "recorder",
    }
    with EmbeddedServer(tmp_path / "valkey") as server:
        secrets = mount_secrets(tmp / "secrets", {"AWR_API_TOKEN": TOKEN, "AWR_REDIS_URL": server.url})
        receivers = Deployment(documents, "ampeco-receiver", changes, secrets, tmp)
        workers = Deployment(documents, "ampeco-receiver-worker", changes, secrets, tmp)
        try:
            yield receivers, workers
        finally:
            receivers.close()
            workers.close()


def test_a_rollout_and_its_roll_back_under_load_refuse_lose_and_overtake_nothing(
    deployments: tuple[Deployment, Deployment], images: tuple[Image, Image], tmp_path: Path
) -> None:
    receivers, workers = deployments
    old, new = images
    receivers.start(old)
    workers.start(old)
    with Proxy(receivers.endpoints) as proxy:
        workers.roll_out(new)  # workers first, as the runbook says
        receivers.roll_out(new)
        receivers.roll_out(old)  # receivers first
        workers.roll_out(old)
    sent = sum(proxy.accepted.values())
    assert proxy.faults == []
    assert sent >= 0.5 * RATE * proxy.seconds, "there was almost no load"

    def handled() -> list[tuple[str, str, int]]:
        return [tuple(json.loads(line)) for line in (tmp_path / "record.jsonl").read_bytes().splitlines()]

    soon(lambda: len({line[1:] for line in handled()}) >= sent, every_s=0.2)
    versions, numbers = [], defaultdict(list)
    for version, key, n in handled():
        versions.append(version)
        if n not in numbers[key]:  # an attempt may be repeated, as ever
            numbers[key].append(n)
    assert (versions[0], set(versions), versions[-1]) == ("old", {"old", "new"}, "old")
    expected = {f"session:{key}": list(range(1, n + 1)) for key, n in proxy.accepted.items()}
    assert numbers.keys() == expected.keys()
    assert [key for key in expected if numbers[key] != expected[key]] == [], "lost or overtaken"
    left = (*receivers.past, *workers.past)
    assert [pod.exit_code for pod in left] == [0] * 8, "each ended by itself within its grace time"
    assert {pod.restarts for pod in (*left, *receivers.pods, *workers.pods)} == {0}
