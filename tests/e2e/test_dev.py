"""A handler file works a moment after it was saved, even if it was broken before."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.e2e.process_tree import ran, started

BROKEN = "def oh no"
HANDLER = """
from ampeco.notifications import HardwareStatus
from handlers import Context, Event, Skip, Timer, handler

@handler("acme.first", calls=["charge-point.reset"])
async def first(event: Event[HardwareStatus | Timer], ctx: Context) -> None:
    if isinstance(event.payload, Timer):
        return
    print("said in passing")
    status = event.payload.hardware_status
    if status == "available":
        raise Skip("nothing to do")
    if status == "preparing":
        await ctx.ampeco.actions.charge_point.reset(event.payload.charge_point_id, "soft")
    if status == "charging":
        ctx.log.info("it.charges", power="plenty")
        ctx.later("cool-down", 0)
    if status == "finishing":
        raise LookupError
"""


def test_a_file_is_loaded_again_whenever_it_changes(tmp: Path) -> None:
    file = tmp / "first.py"
    file.write_text(BROKEN)
    with started("dev", str(file), "--rate", "20", tmp=tmp) as dev:
        dev.says(r"faulty +\S+first.py: SyntaxError")
        dev.says(r"ready +handlers: resend-failed")
        file.write_text(HANDLER)
        dev.says(r"dev +a file has changed")
        dev.says(r"ready +handlers: acme.first, resend-failed")

        acme = r"acme.first  HardwareStatusNotification charge-point:\d"
        dev.says(rf"skipped +{acme}  \(nothing to do\)")
        dev.says(rf"action +{acme}  charge-point.reset: ok")
        dev.says(rf"log +{acme}  it.charges power='plenty'")
        dev.says(rf"timer +{acme}  'cool-down' falls due in 0.0 s")
        dev.says(r"done +acme.first  timer charge-point:\d")
        dev.says(rf"done +{acme}\n")
        dev.says(rf"retry +{acme}  attempt 1 failed \(LookupError\), again in \S+ s\n +{file}:\d+ in first")
        dev.says("said in passing")

        dev.ask_to_end(signal.SIGINT)
        assert dev.ends() == 0
        dev.leaves_nothing()
    assert dev.stderr == ""
    assert list(dev.tmp.iterdir()) == []


def test_it_takes_python_files_only(tmp: Path) -> None:
    (tmp / "notes.txt").write_text("")
    refused = ran("dev", str(tmp / "notes.txt"), tmp=tmp)
    assert refused.process.returncode == 2
    assert "is not a Python file" in refused.stderr


EVENT_FILE = """
from ampeco.notifications import HardwareStatus
from handlers import Context, Event, handler

@handler("acme.only")
async def only(event: Event[HardwareStatus], ctx: Context) -> None:
    raise LookupError(f"no charge point {event.payload.charge_point_id} here")
"""
BODY = '{"notification": "HardwareStatusNotification", "chargePointId": 4711, "hardwareStatus": "available"}'


def test_a_file_is_sent_as_an_event_and_again_at_a_key_and_errors_are_shown_with_their_text(
    tmp: Path,
) -> None:
    """The data are invented and the machine is one's own."""
    file, body = tmp / "only.py", tmp / "body.json"
    file.write_text(EVENT_FILE)
    body.write_text(BODY)
    with started("dev", str(file), "--event", str(body), tmp=tmp, keyboard=True) as dev:
        dev.says(r"sent body.json, answered 202")
        failed = r"retry +acme.only  HardwareStatusNotification charge-point:4711  attempt 1 failed "
        dev.says(failed + r"\(LookupError: no charge point 4711 here\)")
        dev.press("r")
        dev.says(r"sent HardwareStatusNotification charge-point:4711 again, answered 202")
        body.write_text(BODY.replace("4711", "12"))
        dev.says(r"a file has changed")
        dev.says(r"\(LookupError: no charge point 12 here\)")
        body.write_text(BODY.replace("Notification", "Notifcation"))
        dev.says(r"unknown type 'HardwareStatusNotifcation'; did you mean 'HardwareStatusNotification'\?")
        dev.ask_to_end(signal.SIGINT)
        assert dev.ends() == 0
        dev.leaves_nothing()
    assert dev.stderr == ""


def test_a_redis_of_ones_own_is_refused_with_words(tmp: Path) -> None:
    file = tmp / "only.py"
    file.write_text(EVENT_FILE)
    refused = ran("dev", str(file), tmp=tmp, AWR_REDIS_URL="redis://127.0.0.1:1")
    assert refused.process.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "`dev` has a store of its own" in refused.stderr
