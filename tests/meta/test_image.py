"""The image's recipe, as far as it can be checked without building it: what it copies, locks, runs and runs as."""

import re
import shlex
import tomllib

from packaging.requirements import Requirement

from tests.meta import manifests
from tests.meta.repository import ROOT

RECIPE = (ROOT / "deploy" / "Containerfile").read_text().replace("\\\n", " ")
STEPS = [tuple(line.split(maxsplit=1)) for line in RECIPE.splitlines() if re.match(r"[A-Z]+ ", line)]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _steps(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def _locked(name: str) -> dict[str, str]:
    lock = (ROOT / name).read_text()
    assert "--hash=sha256:" in lock
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock, re.MULTILINE))


def test_everything_it_copies_is_there_and_reaches_the_build() -> None:
    lines = (ROOT / ".containerignore").read_text().splitlines()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    assert lines.index("console/pictures") > lines.index("!console")  # the last line that fits decides
    sources = {s for copy in _steps("COPY") if "--from" not in copy for s in shlex.split(copy)[:-1]}
    assert {
        "ampeco",
        "eventlog",
        "handlers",
        "workers",
        "receiver",
        "console",
        "commands",
        "deploy/requirements.lock",
        "deploy/sbom.cdx.json",
    } <= sources
    assert sources == let_through
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_runs_the_command_without_a_shell_as_the_user_of_the_manifests() -> None:
    assert _steps("ENTRYPOINT") == ['["ampeco-receiver"]']
    assert _steps("CMD") == ['["serve"]']
    assert "ampeco-receiver" in PROJECT["scripts"]
    (user,) = _steps("USER")
    pods = [
        pod["spec"]["securityContext"]
        for _, pod in manifests.pods(manifests.written(ROOT / "deploy" / "base"))
    ]
    assert {f"{pod['runAsUser']}:{pod['runAsGroup']}" for pod in pods} == {user}


def test_every_installation_checks_hashes_or_asks_no_index() -> None:
    installs = re.findall(r"pip\s[^&]*?\b(?:install|wheel)\b[^&]*", " ".join(_steps("RUN")))
    assert len(installs) == 4
    assert [i for i in installs if "--require-hashes" not in i and "--no-index --no-deps" not in i] == []


def test_locks_agree_and_the_image_has_no_demo() -> None:
    developers, image = _locked("requirements.lock"), _locked("deploy/requirements.lock")
    assert {name: version for name, version in image.items() if developers.get(name) != version} == {}
    needed = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert needed - image.keys() == set()
    demo = {Requirement(text).name for text in PROJECT["optional-dependencies"]["demo"]}
    assert demo & image.keys() == set()
    assert _locked("deploy/build-requirements.lock").items() <= developers.items()


def test_it_says_what_it_is() -> None:
    assert f"VERSION={PROJECT['version']}" in _steps("ARG")
    (labels,) = _steps("LABEL")
    for name, argument in (
        ("version", "VERSION"),
        ("revision", "REVISION"),
        ("source", "SOURCE"),
        ("base.name", "BASE"),
    ):
        assert f'org.opencontainers.image.{name}="${{{argument}}}"' in labels
