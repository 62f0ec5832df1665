"""Each command that a document names exists, with these options and objects; no link leads to a missing heading."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

import pytest

from tests.meta import generated, manifests, named_commands
from tests.meta.documents import anchors
from tests.meta.repository import ROOT

EVERY = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in generated.documents()]
DEPLOY = ROOT / "deploy"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")


def commands_of(path: Path, program: str) -> list[list[str]]:
    return [
        words
        for words in named_commands.named(path.read_text())
        if (words[0] == "kubectl") == (program == "kubectl")
    ]


@cache
def objects() -> frozenset[tuple[str, str]]:
    """Kind and name of all that the production overlay and the Jobs make."""
    documents = manifests.rendered(DEPLOY / "overlays" / "production")
    for job in DEPLOY.glob("components/*/job.yaml"):
        documents += manifests.documents_of(job.read_text())
    return frozenset((one["kind"], one["metadata"]["name"]) for one in documents)


@pytest.mark.parametrize("path", EVERY)
def test_commands_of_ours_exist_with_these_options(path: Path) -> None:
    found = map(named_commands.fault_of_ours, commands_of(path, "ours"))
    assert [fault for fault in found if fault] == []


@needs_kubectl
@pytest.mark.parametrize("path", EVERY)
def test_commands_of_kubectl_have_options_and_objects_that_exist(path: Path) -> None:
    def is_there(kind: str, name: str) -> bool:
        return (kind, name) in objects()

    faults = [named_commands.fault_of_kubectls(words, is_there) for words in commands_of(path, "kubectl")]
    assert [fault for fault in faults if fault] == []


@pytest.mark.parametrize("path", EVERY)
def test_links_lead_to_headings(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    lost = []
    for target in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", prose):
        file, _, anchor = target.partition("#")
        page = path.parent / file if file else path
        if not file.startswith("http") and page.suffix == ".md" and anchor not in anchors(page.read_text()):
            lost.append(target)
    assert lost == []


def test_the_runbook_names_enough_to_be_tested() -> None:
    runbook = DEPLOY / "RUNBOOK.md"
    assert len(commands_of(runbook, "ours")) > 30
    assert len(commands_of(runbook, "kubectl")) > 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Call `dead retri --yes`.", "no command 'retri'"),
        ("Call `ampeco-receiver statsu`.", "no command 'statsu'"),
        ("Call `dead\nretry --handlr NAME`.", "No such option"),
        ("Call `handlers retire NAME OTHER --yes`.", "is too much"),
        ("Call `handlers retire --yes=NAME OTHER`.", "does not take a value"),
        ("```console\n$ ampeco-receiver events list \\\n>   --nonsense\n```\n", "No such option"),
        ("```console\n$ kubectl exec deploy/x -- ampeco-receiver doctr\n```\n", "no command 'doctr'"),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, said: str) -> None:
    faults = [
        named_commands.fault_of_ours(words) for words in named_commands.named(text) if words[0] != "kubectl"
    ]
    assert said in "\n".join(faults)


@needs_kubectl
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`kubectl scale deployment --replica=0 -l a=b`", "unknown flag: --replica"),
        ("`kubectl exec deploy/other -- ampeco-receiver doctor`", "no deploy/other in the manifests"),
    ],
)
def test_a_wrong_command_of_kubectl_is_found(text: str, said: str) -> None:
    (words,) = (words for words in named_commands.named(text) if words[0] == "kubectl")
    assert said in named_commands.fault_of_kubectls(words, lambda kind, name: False)
