"""What each role of the production overlay is given: the token, its times to stop, and its addresses."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.meta import manifests
from tests.meta.manifests import Document
from tests.meta.test_manifests import DEPLOY, PRODUCTION, ROLES_SECRETS
from tests.meta.test_observability import needs_promtool

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")

JOBS = {
    "doctor": ["doctor"],
    "registration-apply": ["registration", "apply", "--yes"],
    "registration-remove": ["registration", "remove", "--yes"],
}
GUIDE = (DEPLOY / "README.md").read_text()


@pytest.fixture(scope="module")
def production() -> list[Document]:
    return manifests.rendered(PRODUCTION)


def with_components(folder: Path, *names: str) -> list[Document]:
    """The production overlay with more components."""
    shutil.copytree(DEPLOY, folder / "deploy")
    path = folder / "deploy" / "overlays" / "production" / "kustomization.yaml"
    more = "".join(f"  - ../../components/{name}\n" for name in names)
    path.write_text(path.read_text().replace("components:\n", f"components:\n{more}"))
    return manifests.rendered(path.parent)


def pod_of(documents: list[Document], name: str) -> Document:
    found: Document = dict(manifests.pods(documents))[name]["spec"]
    return found


def secrets_of(documents: list[Document], name: str) -> list[str]:
    (volume,) = (v for v in pod_of(documents, name)["volumes"] if v["name"] == "secrets")
    return [source["secret"]["name"] for source in volume["projected"]["sources"]]


def variables_of(documents: list[Document], name: str) -> dict[str, str]:
    """What the process of a pod gets: the ConfigMap, and over it the container's own."""
    (container,) = pod_of(documents, name)["containers"]
    maps = {manifests.name_of(d): d["data"] for d in documents if d["kind"] == "ConfigMap"}
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= maps[f"ConfigMap/{source['configMapRef']['name']}"]
    return found | {one["name"]: one["value"] for one in container["env"]}


def shown_in_the_guide() -> list[Document]:
    """The YAML documents of deploy/README.md."""
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    return [document for block in blocks for document in manifests.documents_of(block)]


def test_each_role_has_a_secret_of_its_own_and_the_exposed_one_has_no_token(
    production: list[Document],
) -> None:
    assert secrets_of(production, "Deployment/ampeco-receiver") == ["ampeco-receiver-keys"]
    assert secrets_of(production, "Deployment/ampeco-receiver-registration") == [
        "ampeco-receiver-registration"
    ]
    for workers in ("worker", "worker-example"):
        assert secrets_of(production, f"Deployment/ampeco-receiver-{workers}") == ["ampeco-receiver-secrets"]
    said = dict(re.findall(r"^\| `(ampeco-receiver-[a-z]+)` \|[^|]*\| ([^|]*) \|", GUIDE, re.MULTILINE))
    assert {f"Secret/{name}" for name in said} == set(ROLES_SECRETS)
    assert [name for name, keys in said.items() if "`AWR_SIGNING_KEYS`" in keys] == ["ampeco-receiver-keys"]
    assert "AWR_API_TOKEN" not in said["ampeco-receiver-keys"]


def test_receivers_start_without_a_token_and_only_one_process_registers(
    production: list[Document], tmp_path: Path
) -> None:
    from receiver.settings import demand, load, serving_needs

    receiver = variables_of(production, "Deployment/ampeco-receiver")
    (tmp_path / "AWR_SIGNING_KEYS").write_text("a-key-of-the-subscription")
    (tmp_path / "AWR_REDIS_URL").write_text("redis://redis.example/0")
    settings = load(receiver | {"AWR_SECRETS_DIR": str(tmp_path)})
    demand(settings, serving_needs(settings))
    assert settings.registration == "off"

    (watch,) = pod_of(production, "Deployment/ampeco-receiver-registration")["containers"]
    assert watch["args"] == ["registration", "watch"]
    assert "AWR_REGISTER" not in variables_of(production, "Deployment/ampeco-receiver-registration")
    assert [port["name"] for port in watch["ports"]] == ["admin"]
    (deployment,) = (
        d for d in production if manifests.name_of(d) == "Deployment/ampeco-receiver-registration"
    )
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_no_service_reaches_the_process_with_the_token(production: list[Document]) -> None:
    labels = dict(manifests.pods(production))["Deployment/ampeco-receiver-registration"]["metadata"]["labels"]
    services = [d["spec"]["selector"] for d in production if d["kind"] == "Service"]
    assert services
    assert [selector for selector in services if selector.items() <= labels.items()] == []


def test_every_pod_has_time_to_stop(production: list[Document]) -> None:
    """The time before the signal counts, too. A worker has to finish what a handler began."""
    from commands.processes import SERVE_STOP_S

    for name, pod in manifests.pods(production, ("Deployment",)):
        (container,) = pod["spec"]["containers"]
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        left = pod["spec"]["terminationGracePeriodSeconds"] - before
        needed = 30 + 10 + 7 if "worker" in name else SERVE_STOP_S
        assert left > needed, name
    receiver = pod_of(production, "Deployment/ampeco-receiver")["containers"][0]
    assert receiver["lifecycle"]["preStop"]["sleep"]["seconds"] >= 15, "balancers of clouds take that long"


def test_every_variable_is_a_setting(production: list[Document]) -> None:
    from receiver.settings import FIELDS

    for name, pod in manifests.pods(production):
        if "envFrom" in pod["spec"]["containers"][0]:
            given = {key for key in variables_of(production, name) if key.startswith("AWR_")}
            assert given - FIELDS.keys() == set()


def test_pods_prefer_different_zones_and_are_not_the_first_to_go(production: list[Document]) -> None:
    for name, pod in manifests.pods(production, ("Deployment",)):
        assert pod["spec"]["priorityClassName"] == "ampeco-receiver"
        if name.endswith("registration"):  # one pod
            continue
        keys = {c["topologyKey"] for c in pod["spec"]["topologySpreadConstraints"]}
        assert keys == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_jobs_take_image_and_settings_of_the_overlay(tmp_path: Path) -> None:
    documents = with_components(tmp_path, *JOBS)
    assert [fault for check in manifests.CHECKS for fault in check(documents)] == []
    assert list(manifests.reference_faults(documents, elsewhere=ROLES_SECRETS)) == []
    (receiver,) = pod_of(documents, "Deployment/ampeco-receiver")["containers"]
    for component, args in JOBS.items():
        name = f"Job/ampeco-receiver-{component}"
        (container,) = pod_of(documents, name)["containers"]
        assert (container["args"], container["image"]) == (args, receiver["image"])
        # The token that subscribes must be the one that the watch has.
        assert secrets_of(documents, name) == ["ampeco-receiver-registration"]


def test_jobs_of_a_deployment_with_one_secret_take_that(tmp_path: Path) -> None:
    """As the guide begins: base, and no registration apart from the receivers."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy" / "overlays" / "dev" / "kustomization.yaml"
    path.write_text(
        path.read_text() + "components:\n" + "".join(f"  - ../../components/{one}\n" for one in JOBS)
    )
    documents = manifests.rendered(path.parent)
    assert list(manifests.reference_faults(documents)) == []
    for component in JOBS:
        (secret,) = secrets_of(documents, f"Job/ampeco-receiver-{component}")
        assert secret.startswith("ampeco-receiver-secrets")


def test_a_cluster_without_ipv4(tmp_path: Path) -> None:
    documents = with_components(tmp_path, "ipv6")
    for name in ("ampeco-receiver", "ampeco-receiver-worker", "ampeco-receiver-registration"):
        variables = variables_of(documents, f"Deployment/{name}")
        assert (variables["AWR_HOST"], variables["AWR_ADMIN_HOST"]) == ("::", "::")


def test_the_proxy_bounds_bodies_and_passes_no_upgrade(production: list[Document]) -> None:
    from receiver.settings import load

    (ingress,) = (d for d in production if d["kind"] == "Ingress")
    notes = ingress["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/proxy-body-size"] == "1m"
    assert load({}).max_body_bytes == 1 << 20
    assert notes["nginx.ingress.kubernetes.io/connection-proxy-header"] == "keep-alive"
    route = yaml.safe_load((DEPLOY / "components" / "gateway" / "route.yaml").read_text())
    (rule,) = route["spec"]["rules"]
    removed = [f["requestHeaderModifier"]["remove"] for f in rule["filters"]]
    assert removed == [["Upgrade"]]
    (policy,) = (d for d in shown_in_the_guide() if d.get("kind") == "BackendTrafficPolicy")
    assert policy["spec"]["targetRefs"][0]["name"] == route["metadata"]["name"]
    assert policy["spec"]["requestBuffer"] == {"limit": "1Mi"}


def test_namespaces_enforce_the_restricted_standard(production: list[Document]) -> None:
    (namespace,) = (d for d in production if d["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    inside = [d for d in production if d["kind"] not in ("Namespace", "PriorityClass")]
    assert {d["metadata"]["namespace"] for d in inside} == {namespace["metadata"]["name"]}


def scaling_queries(documents: list[Document]) -> list[str]:
    (scaled,) = (d for d in documents if d["kind"] == "ScaledObject")
    return [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]


def test_workers_are_scaled_by_what_waits_in_the_namespace_of_the_overlay(tmp_path: Path) -> None:
    """A copy of the overlay gets a namespace of its own, in one line."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy" / "overlays" / "production" / "kustomization.yaml"
    path.write_text(path.read_text().replace("namespace: ampeco-receiver\n", "namespace: acme\n"))
    documents = manifests.rendered(path.parent)
    inside = [d for d in documents if d["kind"] not in ("Namespace", "PriorityClass")]
    assert {d["metadata"]["namespace"] for d in inside} == {"acme"}
    assert [d["metadata"]["name"] for d in documents if d["kind"] == "Namespace"] == ["acme"]
    for query in scaling_queries(documents):
        assert set(re.findall(r'namespace="([^"]*)"', query)) == {"acme"}, query


@needs_promtool
def test_workers_are_scaled_by_each_handler_once_however_many_pods_report_it(
    production: list[Document], tmp_path: Path
) -> None:
    """promtool evaluates the queries over two pods that say the same of the log."""
    age, waiting = scaling_queries(production)
    handlers = {
        "mail": (40, 2_000, 0, 0),
        "sync": (10, 300, 0, 0),
        "retrying": (0, 0, 0, 0),
        "paused": (9_000, 70_000, 1, 0),
        "held": (5_000, 80_000, 0, 1),
    }
    names = (
        *("awr_handler_waiting_age_seconds", "awr_handler_waiting"),
        *("awr_handler_paused", "awr_handler_held"),
    )
    series = [
        {
            "series": f'{name}{{namespace="ampeco-receiver", pod="{pod}", handler="{handler}"}}',
            "values": str(value),
        }
        for handler, values in handlers.items()
        for name, value in zip(names, values, strict=True)
        for pod in ("a", "b")
    ]
    expected = [
        {"expr": query, "eval_time": "0m", "exp_samples": [{"labels": "{}", "value": value}]}
        for query, value in ((age, 40), (waiting, 2_300))
    ]
    file = tmp_path / "scaling_test.yaml"
    file.write_text(yaml.safe_dump({"tests": [{"input_series": series, "promql_expr_test": expected}]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_external_secrets_bring_what_each_role_mounts() -> None:
    """Their kind has no schema here; so what the guide shows is compared with the roles."""
    shown = [one for one in shown_in_the_guide() if one.get("kind") == "ExternalSecret"]
    assert {f"Secret/{one['metadata']['name']}" for one in shown} == set(ROLES_SECRETS)
    for one in shown:
        assert one["apiVersion"] == "external-secrets.io/v1"
        assert one["spec"]["secretStoreRef"]["name"]
        assert one["spec"]["dataFrom"][0]["extract"]["key"]


def test_the_redis_of_the_example_is_one_that_receivers_accept() -> None:
    """Size, policy and durability fit what the production overlay says."""
    from eventlog.connection import sentinel

    documents = manifests.documents_of((DEPLOY / "redis" / "example.yaml").read_text())
    config, servers, sentinels = documents
    group = sentinels["spec"]["redisSentinelConfig"]["masterGroupName"]
    lines = dict(line.split(" ", 1) for line in config["data"]["redis-additional.conf"].splitlines())
    assert (lines["appendonly"], lines["appendfsync"]) == ("yes", "always")
    assert lines["maxmemory-policy"] == "noeviction"
    assert int(lines["min-replicas-to-write"]) >= 1
    (config_map,) = (d for d in manifests.rendered(PRODUCTION) if d["kind"] == "ConfigMap")
    settings = config_map["data"]
    most = int(lines["maxmemory"].removesuffix("gb")) << 30
    assert int(settings["AWR_LOG_MAX_BYTES"]) <= 0.8 * most
    assert settings["AWR_DURABILITY"] == f"replicated:{lines['min-replicas-to-write']}"
    spec = servers["spec"]
    assert spec["clusterSize"] >= 3
    assert int(spec["kubernetesConfig"]["resources"]["limits"]["memory"].removesuffix("Gi")) << 30 > most
    volume = spec["storage"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    assert int(volume.removesuffix("Gi")) << 30 >= 3 * most
    assert sentinels["spec"]["redisSentinelConfig"]["redisReplicationName"] == servers["metadata"]["name"]

    page = (DEPLOY / "redis" / "README.md").read_text()
    by_operator, by_service = re.findall(r"AWR_REDIS_URL=(\S+)", page)
    sentinel.check(by_operator)
    assert by_operator.endswith(f"/{group}")
    assert by_service.startswith("rediss://")
