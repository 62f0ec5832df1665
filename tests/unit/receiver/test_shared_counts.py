"""The metrics of several processes together: what only the parent knows comes from the parent."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from receiver.shared_counts import exposition


@pytest.mark.parametrize(("ready", "redis_up"), [(True, True), (False, True), (False, False)])
def test_the_parent_says_whether_redis_answered_and_all_are_ready(
    tmp_path: Path, ready: bool, redis_up: bool
) -> None:
    text = exposition(str(tmp_path), ready=ready, redis_up=redis_up).decode()
    found = {family.name: family.samples[0].value for family in text_string_to_metric_families(text)}
    assert found == {"awr_ready": ready, "awr_redis_up": redis_up}
