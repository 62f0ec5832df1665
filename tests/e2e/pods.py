"""Pods of our manifests as processes of this machine, and a rollout as a Deployment controller does it.

What a container gets and how long it may take comes from the manifests: arguments, environment, secret files, probes,
`preStop`, grace time, surge. Only addresses differ, since all pods share one machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commands.demo_stack import free_port
from tests.meta.manifests import Document, values_of

ENDPOINTS_LAG_S = 2.0
"""For so long, proxies still send requests to a pod that leaves."""


class Image:
    """What a container runs: code, and a handler file that only workers load."""

    def __init__(self, name: str, code: Path, handlers: Path) -> None:
        self.name, self.code, self.handlers = name, code, handlers


def mount_secrets(folder: Path, values: Mapping[str, str], *, day: str = "2026_11_29") -> Path:
    """Write files as a kubelet does, or change them: links into `..data`, which is a link to a folder with a date."""
    dated, link = folder / f"..{day}", folder / "..data_tmp"
    dated.mkdir(parents=True)
    for name, value in values.items():
        (dated / name).write_text(f"{value}\n")
    link.symlink_to(dated.name)
    link.rename(folder / "..data")
    for name in values:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    return folder


class Pod:
    """One container of a Deployment's template. It starts in the constructor.

    Attributes:
        is_ready: what the last readiness probe found.
        restarts: how often the kubelet would have restarted it.
        exit_code: of the container; None while it runs, or when it had to be killed.
    """

    def __init__(
        self, template: Document, config: Mapping[str, str], image: Image, secrets: Path, tmp: Path
    ) -> None:
        (self._spec,) = template["spec"]["containers"]
        self._grace_s = float(template["spec"]["terminationGracePeriodSeconds"])
        self.ports = {port["name"]: free_port() for port in self._spec["ports"]}
        folder = tmp / f"{self._spec['name']}-{self.ports['admin']}"
        folder.mkdir()
        self.log = folder / "log"
        loads = ["--load", str(image.handlers)] if self._spec["args"] == ["worker"] else []
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "commands", *self._spec["args"], *loads],
                env=self._environ(config, image, secrets, folder),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.is_ready = False
        self.is_leaving = False
        self.restarts = 0
        self.exit_code: int | None = None
        self._gone = threading.Event()
        self._probing = threading.Thread(target=self._probe, daemon=True)
        self._probing.start()

    def _environ(
        self, config: Mapping[str, str], image: Image, secrets: Path, folder: Path
    ) -> dict[str, str]:
        places = {mount["name"]: mount["mountPath"] for mount in self._spec["volumeMounts"]}
        given = {one["name"]: one["value"] for one in self._spec["env"]}
        here = {places["secrets"]: str(secrets)}
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(image.code),
            "TMPDIR": str(folder),
            **config,
            **{name: here.get(value, value) for name, value in given.items()},
            "AWR_HOST": "127.0.0.1",
            "AWR_ADMIN_HOST": "127.0.0.1",
            "AWR_PORT": str(self.ports.get("http", 0)),
            "AWR_ADMIN_PORT": str(self.ports["admin"]),
        }

    def leave(self) -> None:
        """End it as a kubelet does: preStop, SIGTERM, and SIGKILL after the grace time."""
        self.is_leaving = True
        deadline_s = time.monotonic() + self._grace_s
        time.sleep(self._spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
        self.process.terminate()
        try:
            self.exit_code = self.process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.close()
        self._gone.set()

    def close(self) -> None:
        """End it at once."""
        self._gone.set()
        self.process.kill()
        self.process.wait(60)
        self._probing.join(60)

    def _probe(self) -> None:
        if not self._passes("startupProbe", self._spec["startupProbe"]["failureThreshold"]):
            return
        failed = 0
        while not self._gone.is_set():
            self.is_ready = self._answers("readinessProbe")
            failed = 0 if self._answers("livenessProbe") else failed + 1
            self.restarts += failed == self._spec["livenessProbe"]["failureThreshold"]
            self._gone.wait(self._spec["readinessProbe"]["periodSeconds"])

    def _passes(self, probe: str, times: int) -> bool:
        for _ in range(times):
            if self._answers(probe):
                return True
            if self._gone.wait(self._spec[probe]["periodSeconds"]):
                return False
        self.restarts += 1
        return False

    def _answers(self, probe: str) -> bool:
        asked = self._spec[probe]["httpGet"]
        url = f"http://127.0.0.1:{self.ports[asked['port']]}{asked['path']}"
        try:
            with urllib.request.urlopen(url, timeout=self._spec[probe].get("timeoutSeconds", 1)) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Deployment:
    """Pods of one Deployment.

    Attributes:
        pods: those that run; `past`: those that have left.
    """

    def __init__(
        self, documents: Iterable[Document], name: str, changes: Mapping[str, str], secrets: Path, tmp: Path
    ) -> None:
        found = list(documents)
        self._spec: dict[str, Any] = _one(found, "Deployment", name)["spec"]
        self._template = self._spec["template"]
        (container,) = self._template["spec"]["containers"]
        self._config: dict[str, str] = {}
        for source in container["envFrom"]:
            self._config |= values_of(_one(found, "ConfigMap", source["configMapRef"]["name"]))
        self._config |= changes
        self._secrets, self._tmp = secrets, tmp
        self.pods: list[Pod] = []
        self.past: list[Pod] = []
        self._leaving: list[threading.Thread] = []

    def start(self, image: Image) -> None:
        """Start all replicas."""
        self.pods = [self._new(image) for _ in range(self._spec["replicas"])]
        for pod in self.pods:
            _ready(pod)

    def roll_out(self, image: Image) -> None:
        """Replace each pod: one more, ready, then one less, so that none is ever missing."""
        for old in list(self.pods):
            fresh = self._new(image)
            _ready(fresh)
            self.pods.append(fresh)
            self._let_go(old)
        for thread in self._leaving:
            thread.join()

    def endpoints(self) -> list[int]:
        """Public ports to which proxies send requests now."""
        return [pod.ports["http"] for pod in list(self.pods) if pod.is_ready]

    def close(self) -> None:
        """End what is left."""
        for pod in (*self.pods, *self.past):
            if pod.process.poll() is None:
                pod.close()

    def _let_go(self, pod: Pod) -> None:
        self.past.append(pod)

        def leave() -> None:
            threading.Timer(ENDPOINTS_LAG_S, self.pods.remove, [pod]).start()
            pod.leave()

        self._leaving.append(threading.Thread(target=leave))
        self._leaving[-1].start()

    def _new(self, image: Image) -> Pod:
        return Pod(self._template, self._config, image, self._secrets, self._tmp)


def _ready(pod: Pod) -> None:
    deadline_s = time.monotonic() + 120
    while not pod.is_ready:
        assert pod.process.poll() is None, pod.log.read_text()
        assert time.monotonic() < deadline_s, pod.log.read_text()
        time.sleep(0.05)


def _one(documents: Iterable[Document], kind: str, name: str) -> Document:
    return next(one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name)
