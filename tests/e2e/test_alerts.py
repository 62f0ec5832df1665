"""Each fault of a deployment raises its alert, and the alert clears when the fault is over.

Real processes are scraped in both states. The scrapes become the series of `promtool test rules`. One deployment
lives through all faults, since processes take seconds to start.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampeco.simulator.testing import tenant_in_a_box
from commands.demo_stack import free_port
from eventlog.connection.embedded import EmbeddedServer
from tests.door import TOKEN, door
from tests.e2e import alert_handlers
from tests.e2e.alert_scenes import NUMBER, OLD_TOKEN, Scene, key_id, signed_environ
from tests.e2e.alert_series import Fault, State, promtool_file
from tests.e2e.process_tree import started

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool (Debian's package prometheus)"
)
FAULTS = {  # alert -> the fault that has to raise it
    "AwrHandlerNotServed": "no workers",
    "AwrNotReady": "no receivers",
    "AwrHandlerFailing": "handler failing",
    "AwrHandlerBehind": "backlog",
    "AwrRedisAway": "Redis away",
    "AwrRedisEvicts": "evicting",
    "AwrNotRegistered": "subscription lost",
    "AwrTokenRefused": "token refused",
    "AwrSignaturesRefused": "signatures refused",
    "AwrSilent": "silence",
    "AwrLogFull": "log full",
    "AwrDeadLettersRising": "dead letters rising",
    "AwrOldKeyInUse": "key old",
}


@pytest.fixture
def scene(tmp_path: Path, prefix: str) -> Iterator[Scene]:
    with (
        EmbeddedServer(tmp_path / "valkey", appendfsync="always") as server,
        tenant_in_a_box(token=TOKEN) as box,
        door(server.url, prefix, signed_environ(box)) as front,
    ):
        made = Scene(server, box, front, prefix)
        made.declare()
        yield made


@contextlib.contextmanager
def worker(scene: Scene, tmp: Path) -> Iterator[None]:
    port = free_port()
    environ = {
        "AWR_REDIS_URL": scene.server.url,
        "AWR_KEY_PREFIX": scene.prefix,
        "AWR_LANES": "4",
        "AWR_REGISTER": "off",
        "AWR_HANDLERS_ALLOW": "mail",
        "AWR_ADMIN_PORT": str(port),
    }
    with started("worker", "--load", str(alert_handlers.__file__), tmp=tmp, **environ) as running:
        scene.when(awr_handler_served=1)
        scene.pods["worker"] = port
        yield
        running.ask_to_end()
        running.ends()


def test_each_fault_raises_its_alert_and_the_alert_clears(scene: Scene, tmp: Path, tmp_path: Path) -> None:
    scene.append_of_old()
    idle = scene.lasting(
        awr_handler_served=0, awr_handler_waiting_age_seconds=lambda age: age > 300, awr_registered=1
    )
    with worker(scene, tmp):
        faults = provoked(scene, idle)
    assert {fault.alert for fault in faults} == FAULTS.keys()
    file = tmp_path / "alerts_test.yaml"
    file.write_text(promtool_file(faults))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def provoked(scene: Scene, idle: State) -> list[Fault]:
    """Provoke the faults one after another, and scrape before, during and after each."""
    begun = scene.when(awr_handler_waiting_age_seconds=0, awr_deliveries_total__done=NUMBER, awr_ready=1)
    scene.post("fine")
    healthy = State(begun, scene.when(awr_deliveries_total__done=2 * NUMBER))
    faults = [
        Fault("AwrHandlerNotServed", healthy, idle, healthy),
        Fault("AwrHandlerBehind", healthy, idle, healthy),
    ]

    scene.post("fine", key="token-that-no-receiver-knows", status=401)
    unknown = {"awr_events_refused_total__signature-mismatch": float(NUMBER)}
    faults.append(
        Fault("AwrSignaturesRefused", healthy, State(healthy.second, scene.when(**unknown)), healthy)
    )

    scene.lose_subscription()  # and read later: the registration is checked every five seconds
    scene.post("fails")
    scene.post("hopeless")
    failing = State(
        healthy.second, scene.when(awr_deliveries_total__dead=NUMBER, awr_deliveries_total__done=3 * NUMBER)
    )
    scene.post("fine")
    worked = State(failing.second, scene.when(awr_deliveries_total__done=4 * NUMBER))
    faults += [
        Fault("AwrHandlerFailing", healthy, failing, worked),
        Fault("AwrDeadLettersRising", healthy, failing, worked),
    ]

    lost = scene.lasting(awr_registered=0)
    refused = State(healthy.second, scene.when(awr_registration_failed_checks_total__forbidden=bool))
    scene.allow_subscribing()

    scene.be_silent()
    silent = scene.lasting(awr_silent=1)
    scene.post("fine")
    scene.listen_now()
    faults.append(Fault("AwrSilent", healthy, silent, scene.lasting(awr_silent=0)))

    scene.fill()
    full = scene.lasting(awr_log_full=1)
    scene.evict()
    evicting = State(full.second, scene.when(awr_redis_evicted_keys_total=lambda keys: keys > 0))
    scene.make_room()
    roomy = scene.lasting(awr_log_full=0, awr_ready=1)
    faults += [
        Fault("AwrLogFull", healthy, full, roomy),
        Fault("AwrRedisEvicts", healthy, evicting, roomy),
    ]

    registered = scene.lasting(awr_registered=1)
    faults += [
        Fault("AwrNotRegistered", healthy, lost, registered),
        Fault("AwrTokenRefused", healthy, refused, registered),
    ]

    key = f"awr_events_verified_total__{key_id(OLD_TOKEN)}"
    before = scene.when(awr_ready=1)
    scene.post("fine")
    scene.post("fine", key=OLD_TOKEN)
    rotating = State(before, scene.when(**{key: NUMBER}))
    scene.post("fine")
    rotated = State(
        rotating.second, scene.when(**{f"awr_events_verified_total__{key_id(TOKEN)}": 7 * NUMBER})
    )
    faults.append(Fault("AwrOldKeyInUse", healthy, rotating, rotated, lasts_min=200))

    scene.server.kill()
    away = scene.lasting(awr_redis_up=0, awr_ready=0)
    scene.server.start()
    faults.append(Fault("AwrRedisAway", healthy, away, scene.lasting(awr_redis_up=1, awr_ready=1)))

    scene.stop_receiver()
    faults.append(Fault("AwrNotReady", healthy, scene.lasting(awr_redis_up=1), healthy))
    return faults
