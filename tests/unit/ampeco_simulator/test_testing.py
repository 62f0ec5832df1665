"""The simulator as a fixture of another project's tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ampeco.simulator.testing import tenant_in_a_box

_THEIRS = """
import httpx2

def test_an_action_is_seen(tenant_in_a_box):
    box = tenant_in_a_box
    answer = httpx2.post(
        f"{box.url}/public-api/actions/charge-point/v1.0/7/unlock/71",
        headers={"Authorization": f"Bearer {box.token}"}, trust_env=False,
    )
    assert answer.json() == {"success": True}
    assert [action["operation"] for action in box.actions()] == ["charge-point.unlock"]
    assert [call["status"] for call in box.calls(operation="charge-point.unlock")] == [202]
"""


def test_a_plugin_author_gets_a_fixture(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["ampeco.simulator.pytest_plugin"]\n')
    (tmp_path / "test_theirs.py").write_text(_THEIRS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:valkey",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_two_boxes_know_nothing_of_each_other() -> None:
    with tenant_in_a_box(token="one") as one, tenant_in_a_box(token="two") as two:
        one.change_habits(listings="page")
        one.start(charge_points=3, rate=1)
        assert one.wait(lambda state: state["scenario"]["running"])["scenario"]["charge_points"] == 3
        assert two.state()["scenario"]["running"] is False


def test_objects_exist_that_were_seeded(ampeco_tenant):
    box = ampeco_tenant
    assert box.seed("users", 7, balance=12.5)["id"] == 7
    assert box.seed("users", 7, first_name="Ada") == {"id": 7, "balance": 12.5, "firstName": "Ada"}
    box.seed("users/7/notes", 1, note="Pays late")
    with box.sync_client() as client:
        user = client.resources.users.read(7)
        assert (user.balance, user.first_name) == (12.5, "Ada")
        assert [user.id for user in client.resources.users.list()] == ["7"]


def test_a_seed_that_names_no_object_is_refused(ampeco_tenant):
    with pytest.raises(ValueError, match="refuses objects/users"):
        ampeco_tenant._ask("PUT", "objects/users", {})
