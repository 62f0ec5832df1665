"""The image as buildah builds and runs it, on a base made from this machine's Python; and a team's image on top.

It needs buildah and root, and the wheels of the lock from the index that pip is configured with.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.demo_stack import free_port
from tests.door import Reply, read_reply, signed_head
from tests.meta.repository import ROOT
from tests.watched import Server

pytestmark = [
    pytest.mark.skipif(
        shutil.which("buildah") is None, reason="image not built: needs buildah (apt-get install buildah)"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="image not built: buildah needs root for chroot isolation"),
]

OURS, TEAMS = "localhost/ampeco-receiver:test", "localhost/acme:test"
KEY = "key-of-the-image-test"
PLUGIN = ROOT / "tests" / "plugins" / "acme"
WHEELS_NEED = ("libgcc_s.so.1", "libpthread.so.0", "librt.so.1", "libdl.so.2", "libutil.so.1")
PIP = """#!/usr/local/bin/python3
from pip._internal.cli.main import main
raise SystemExit(main())
"""


class Buildah:
    """buildah with a store of its own, so that nothing of this machine is touched."""

    def __init__(self, folder: Path) -> None:
        self._options = [
            *("buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run")),
            *("--storage-driver", "vfs"),
        ]

    def command(self, *words: str) -> list[str]:
        return [*self._options, *words]

    def __call__(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"buildah {words}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done.stdout

    def build(self, tag: str, recipe: Path, context: Path, **arguments: str) -> None:
        given = [word for name, text in arguments.items() for word in ("--build-arg", f"{name}={text}")]
        self(
            *("bud", "--isolation", "chroot", "--layers=false", "--pull-never", *given),
            *("-f", str(recipe), "-t", tag, str(context)),
        )

    def run(self, container: str, *words: str) -> str:
        return self("run", "--isolation", "chroot", container, "--", *words)


def libraries(*binaries: Path) -> set[Path]:
    """The shared libraries that these files load, with the loader, and those that wheels count on."""
    said = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    loaded = {Path(found) for found in re.findall(r"(/\S+) \(0x", said)}
    (libc,) = (found for found in loaded if found.name == "libc.so.6")
    return loaded | {libc.with_name(name) for name in WHEELS_NEED if libc.with_name(name).exists()}


def python_alone(folder: Path) -> Path:
    """Write the file system of a base image: this machine's Python, its pip, a shell, and the locked wheels."""
    prefix, short = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_paths(vars={"installed_base": str(prefix)})["stdlib"])
    target = folder / "usr/local/lib" / short
    shutil.copytree(
        library,
        target,
        ignore=shutil.ignore_patterns(
            *(
                "test",
                "idlelib",
                "tkinter",
                "config-*",
                "site-packages",
                "pydoc_data",
                "lib2to3",
                "*.opt-?.pyc",
            )
        ),
    )
    (target / "site-packages").mkdir()
    (bundled,) = (library / "ensurepip" / "_bundled").glob("pip-*.whl")
    shutil.unpack_archive(bundled, target / "site-packages", "zip")
    binaries = folder / "usr/local/bin"
    binaries.mkdir(parents=True)
    interpreter = Path(sys.executable).resolve()
    shutil.copy(interpreter, binaries / short)
    (binaries / "python3").symlink_to(short)
    (binaries / "pip").write_text(PIP)
    (binaries / "pip").chmod(0o755)
    shell = folder / "bin" / "sh"
    shell.parent.mkdir()
    shutil.copy(Path("/bin/sh").resolve(), shell)
    extensions = [*target.glob("lib-dynload/*.so")]
    loader = Path(sysconfig.get_config_var("LIBDIR") or "")
    for found in libraries(interpreter, Path("/bin/sh"), *extensions):
        place = folder / "usr/local/lib" / found.name if loader in found.parents else folder / str(found)[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, place)
    for name in ("tmp", "etc", "proc", "dev", "sys"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\n")
    wheels(folder / "wheels")
    return folder


def wheels(folder: Path) -> None:
    """Fetch the wheels of both locks, as the build would."""
    locks = [ROOT / "deploy" / name for name in ("requirements.lock", "build-requirements.lock")]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary",
        ":all:",
        "--require-hashes",
    ]
    for lock in locks:
        done = subprocess.run(
            [*command, "--dest", folder, "--requirement", lock], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"image not built: pip cannot fetch the wheels of {lock.name}")


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """buildah, with our image built on the stand-in for its base."""
    folder = tmp_path_factory.mktemp("image")
    tool = Buildah(folder)
    context = folder / "base"
    context.mkdir()
    with tarfile.open(context / "root.tar", "w") as archive:
        archive.add(python_alone(folder / "root"), arcname=".")
    # pip finds the wheels here instead of at an index: the recipe itself stays as it is.
    (context / "Containerfile").write_text(
        "FROM scratch\nADD root.tar /\n"
        "ENV PATH=/usr/local/bin:/bin LD_LIBRARY_PATH=/usr/local/lib PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels"
        " PIP_NO_COMPILE=1\n"
    )
    tool.build("localhost/base:test", context / "Containerfile", context)
    shutil.rmtree(folder / "root")
    tool.build(
        OURS,
        ROOT / "deploy" / "Containerfile",
        ROOT,
        BASE="localhost/base:test",
        VERSION="1.2.3",
        REVISION="abc",
    )
    try:
        yield tool
    finally:
        tool("rm", "--all")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A server on a port, since the user of the image may not open our sockets."""
    server = Server(tmp_path, port=free_port())
    (tmp_path / "server.conf").write_text(
        f"dir {tmp_path}\nport {server.port}\nbind 127.0.0.1\nappendonly yes\nappendfsync always\n"
    )
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.close()


def test_the_image_says_what_it_is_and_takes_a_signed_event(
    buildah: Buildah, redis_url: str, tmp_path: Path
) -> None:
    config = json.loads(buildah("inspect", "--type", "image", OURS))["OCIv1"]["config"]
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == (
        "10001:10001",
        ["ampeco-receiver"],
        ["serve"],
    )
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.revision"] == "abc"
    assert labels["org.opencontainers.image.base.name"] == "localhost/base:test"

    container = buildah("from", "--pull-never", OURS).strip()
    bill = buildah.run(
        container, "/opt/ampeco-receiver/bin/python", "-c",
        "import json; print(json.load(open('/opt/ampeco-receiver/sbom.cdx.json'))['metadata']['component']['name'])",
    )  # fmt: skip
    assert bill.strip() == "ampeco-receiver"
    port, admin = free_port(), free_port()
    settings = {
        "AWR_REDIS_URL": redis_url,
        "AWR_REGISTER": "off",
        "AWR_SIGNING_KEYS": KEY,
        "AWR_PORT": str(port),
        "AWR_ADMIN_PORT": str(admin),
    }
    given = [word for name, text in settings.items() for word in ("--env", f"{name}={text}")]
    words = buildah.command(
        "run", "--isolation", "chroot", *given, container, "--", *config["Entrypoint"], "serve"
    )
    said = tmp_path / "serve.log"
    with said.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        wait_until_ready(admin, process, said)
        body = json.dumps({"notification": "cdr.received", "cdrId": 1}).encode()
        assert post(port, body).status == 202
        assert post(port, body, key="another").status == 401
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def test_a_teams_image_has_its_plugin_and_our_versions(buildah: Buildah, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    source = shutil.copytree(PLUGIN, tmp_path / "acme")
    subprocess.run([*pip, "--wheel-dir", tmp_path / "wheels", source], check=True, capture_output=True)
    buildah.build(TEAMS, ROOT / "deploy" / "teams" / "example" / "Containerfile", tmp_path, BASE=OURS)
    container = buildah("from", "--pull-never", TEAMS).strip()
    listed = buildah.run(container, "ampeco-receiver", "handlers", "check")
    assert "acme." in listed
    assert "resend-failed" in listed
    config = json.loads(buildah("inspect", "--type", "image", TEAMS))["OCIv1"]["config"]
    assert (config["User"], config["Entrypoint"]) == ("10001:10001", ["ampeco-receiver"])


def wait_until_ready(admin: int, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, said.read_text(errors="replace")
            assert time.monotonic() < deadline, "the container was not ready in time"
            time.sleep(0.2)


def post(port: int, body: bytes, *, key: str = KEY) -> Reply:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(signed_head(body, key=key) + body)
        return read_reply(connection)
