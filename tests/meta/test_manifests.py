"""The manifests under deploy/: valid, consistent, and in step with the settings and the version."""

import copy
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.meta import manifests, observability
from tests.meta.manifests import Document
from tests.meta.repository import ROOT

DEPLOY = ROOT / "deploy"
BASE, DEV = DEPLOY / "base", DEPLOY / "overlays" / "dev"
PRODUCTION = DEPLOY / "overlays" / "production"
OPERATORS_SECRET = frozenset({"Secret/ampeco-receiver-secrets"})
ROLES_SECRETS = OPERATORS_SECRET | {"Secret/ampeco-receiver-keys", "Secret/ampeco-receiver-registration"}

written = pytest.param(manifests.written, id="written")
rendered = pytest.param(
    manifests.rendered,
    id="rendered",
    marks=pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine"),
)
both_ways = pytest.mark.parametrize("read", [written, rendered])
needs_kubectl = pytest.mark.parametrize(
    "read", [rendered]
)  # components and patches are beyond the plain reader
Read = Callable[[Path], list[Document]]


@both_ways
@pytest.mark.parametrize("folder", [BASE, DEV], ids=["base", "dev"])
@pytest.mark.parametrize("check", manifests.CHECKS, ids=lambda check: check.__name__)
def test_manifests_have_no_faults(check: manifests.Check, folder: Path, read: Read) -> None:
    assert list(check(read(folder))) == []


@needs_kubectl
@pytest.mark.parametrize("check", manifests.CHECKS, ids=lambda check: check.__name__)
def test_the_production_overlay_has_no_faults(check: manifests.Check, read: Read) -> None:
    assert list(check(read(PRODUCTION))) == []


@needs_kubectl
def test_the_production_overlay_works_with_the_gateway_api_too(read: Read, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    overlay = tmp_path / "deploy" / "overlays" / "production" / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("components/ingress", "components/gateway"))
    documents = read(overlay.parent)
    assert "HTTPRoute" in {document["kind"] for document in documents}
    assert [fault for check in manifests.CHECKS for fault in check(documents)] == []


@needs_kubectl
def test_the_production_overlay_leaves_only_secrets_to_the_operator(read: Read, tmp_path: Path) -> None:
    from receiver.settings import load

    documents = read(PRODUCTION)
    assert list(manifests.reference_faults(documents, elsewhere=ROLES_SECRETS)) == []
    assert all(document["kind"] != "Secret" for document in documents)
    environments = _environments(documents, tmp_path)
    assert set(environments) == {
        "Deployment/ampeco-receiver",
        "Deployment/ampeco-receiver-registration",
        "Deployment/ampeco-receiver-worker",
        "Deployment/ampeco-receiver-worker-example",
    }
    for environment in environments.values():
        load(environment, need={"AWR_TENANT_URL", "AWR_PUBLIC_URL"})


@needs_kubectl
def test_the_workers_of_a_team_are_apart_from_the_others(read: Read) -> None:
    documents = read(PRODUCTION)
    ours, theirs = (
        next(d for d in documents if manifests.name_of(d) == f"Deployment/ampeco-receiver-{name}")
        for name in ("worker", "worker-example")
    )
    label = "app.kubernetes.io/component"
    labels = [d["spec"]["template"]["metadata"]["labels"][label] for d in (ours, theirs)]
    assert labels == ["worker", "worker-example"]
    args = theirs["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["worker", "--queue", "example"]
    assert theirs["spec"]["replicas"] == 2, "the autoscaler of our workers does not touch theirs"


@needs_kubectl
def test_admin_ports_are_for_prometheus_and_the_console_only(read: Read) -> None:
    policies = [d for d in read(PRODUCTION) if d["kind"] == "NetworkPolicy"]
    opened = [
        (rule.get("from"), policy["spec"]["podSelector"]["matchLabels"])
        for policy in policies
        for rule in policy["spec"]["ingress"]
        if {"port": "admin"} in rule["ports"]
    ]
    [(sources, pods)] = opened
    assert pods == {"app.kubernetes.io/name": "ampeco-receiver"}
    assert sources == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
        {"podSelector": {"matchLabels": {"ampeco-receiver/console": "true"}}},
    ]
    assert all({"Ingress", "Egress"} & set(policy["spec"]["policyTypes"]) for policy in policies)


def test_metrics_that_scale_workers_exist() -> None:
    (scaled,) = manifests.documents_of((DEPLOY / "components" / "autoscaling" / "workers.yaml").read_text())
    queries = [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    assert all("awr_" in query for query in queries)
    assert [name for query in queries for name in observability.unknown_metrics(query)] == []


def test_the_gateway_passes_the_get_by_which_doctor_checks_the_callback_url() -> None:
    route = yaml.safe_load((DEPLOY / "components" / "gateway" / "route.yaml").read_text())
    methods = [match.get("method", "GET") for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert methods
    assert set(methods) == {"GET"}, "a GET must come to the receiver, which answers it 405"


@both_ways
def test_base_leaves_only_the_secret_to_the_operator(read: Read) -> None:
    assert list(manifests.reference_faults(read(BASE), elsewhere=OPERATORS_SECRET)) == []
    assert all(document["kind"] != "Secret" for document in read(BASE))


@both_ways
def test_dev_overlay_brings_everything_it_refers_to(read: Read) -> None:
    assert list(manifests.reference_faults(read(DEV))) == []


def test_every_file_is_used() -> None:
    """No test would check a manifest that no kustomization names."""
    for kustomization in DEPLOY.rglob("kustomization.yaml"):
        text = kustomization.read_text()
        unused = [f.name for f in kustomization.parent.iterdir() if f != kustomization and f.name not in text]
        assert unused == []


def test_image_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    documents = manifests.written(BASE) + manifests.written(DEPLOY / "components" / "doctor")
    images = {c["image"] for _, pod in manifests.pods(documents) for c in pod["spec"]["containers"]}
    assert images == {f"ampeco-receiver:{version}"}


def test_worker_has_time_to_finish_the_longest_handler() -> None:
    """DESIGN: longest `timeout_s` (30 by default) + 10 s."""
    grace = {name: pod["spec"]["terminationGracePeriodSeconds"] for name, pod in manifests.pods(_base())}
    assert grace["Deployment/ampeco-receiver-worker"] >= 40


def test_every_setting_named_in_deploy_exists() -> None:
    from receiver.settings import FIELDS

    texts = {path: path.read_text() for path in DEPLOY.rglob("*") if path.is_file()}
    named = {
        name: path for path, text in texts.items() for name in re.findall(r"\bAWR_[A-Z][A-Z_]*[A-Z]\b", text)
    }
    assert "AWR_TENANT_URL" in named
    assert {name: str(path) for name, path in named.items() if name not in FIELDS} == {}


def _environments(documents: list[Document], folder: Path) -> dict[str, dict[str, str]]:
    """What each pod of ours would see, its secret files laid out under `folder`."""
    held = {
        manifests.name_of(d): manifests.values_of(d)
        for d in documents
        if d["kind"] in ("ConfigMap", "Secret")
    }
    environments = {}
    for name, pod in manifests.pods(documents):
        (container,) = pod["spec"]["containers"]
        if "envFrom" not in container:  # Redis
            continue
        environment = {e["name"]: e["value"] for e in container["env"]}
        for source in container["envFrom"]:
            environment |= held[f"ConfigMap/{source['configMapRef']['name']}"]
        (volume,) = (v for v in pod["spec"]["volumes"] if v["name"] == "secrets")
        (mount,) = (m for m in container["volumeMounts"] if m["name"] == "secrets")
        assert environment["AWR_SECRETS_DIR"] == mount["mountPath"]
        secrets = folder / name.replace("/", "-")
        secrets.mkdir()
        for source in volume["projected"]["sources"]:
            for file, text in held.get(f"Secret/{source['secret']['name']}", {}).items():
                (secrets / file).write_text(text)
        environments[name] = environment | {"AWR_SECRETS_DIR": str(secrets)}
    return environments


@both_ways
def test_pods_of_the_dev_overlay_get_settings_that_load(read: Read, tmp_path: Path) -> None:
    from receiver.settings import load

    environments = _environments(read(DEV), tmp_path)
    assert set(environments) == {"Deployment/ampeco-receiver", "Deployment/ampeco-receiver-worker"}
    needed = {"AWR_TENANT_URL", "AWR_PUBLIC_URL", "AWR_REDIS_URL", "AWR_API_TOKEN", "AWR_SIGNING_KEYS"}
    for name, pod in manifests.pods(read(DEV)):
        if name in environments:
            settings = load(environments[name], need=needed)
            ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
            assert ports == {"http": settings.port, "admin": settings.admin_port} or ports == {
                "admin": settings.admin_port
            }


def test_base_alone_is_refused_for_want_of_a_tenant(tmp_path: Path) -> None:
    from receiver.errors import SettingsError
    from receiver.settings import load

    for environment in _environments(_base(), tmp_path).values():
        with pytest.raises(SettingsError, match="AWR_TENANT_URL"):
            load(environment)


@both_ways
def test_overlay_of_the_operators_guide_works(read: Read, tmp_path: Path) -> None:
    """The one in deploy/README.md, put where it says."""
    from receiver.settings import load

    guide = (DEPLOY / "README.md").read_text()
    (overlay,) = (b for b in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "kind: Kustomization" in b)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    folder = tmp_path / "deploy" / "overlays" / "acme"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(overlay)

    documents = read(folder)
    for check in manifests.CHECKS:
        assert list(check(documents)) == []
    assert list(manifests.reference_faults(documents, elsewhere=OPERATORS_SECRET)) == []
    for environment in _environments(documents, tmp_path).values():
        load(environment, need={"AWR_TENANT_URL", "AWR_PUBLIC_URL"})


@both_ways
def test_the_doctor_is_a_job_of_an_overlay(read: Read, tmp_path: Path) -> None:
    """It gets settings, secrets and image of the overlay, and has time for all of its checks."""
    from commands.doctor.examination import CHECK_S, CHECKS
    from receiver.settings import load

    shutil.copytree(DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy" / "overlays" / "dev" / "kustomization.yaml"
    path.write_text(path.read_text() + "components:\n  - ../../components/doctor\n")
    documents = read(path.parent)
    for check in manifests.CHECKS:
        assert list(check(documents)) == []
    assert list(manifests.reference_faults(documents)) == []
    (job,) = [document for document in documents if document["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    receiver = _receiver(documents)["spec"]["template"]["spec"]["containers"][0]
    assert (container["args"], container["image"]) == (["doctor"], receiver["image"])
    assert job["spec"]["activeDeadlineSeconds"] > CHECK_S * len(CHECKS)
    load(_environments(documents, tmp_path)["Job/ampeco-receiver-doctor"], need={"AWR_REDIS_URL"})


def _base() -> list[Document]:
    return manifests.written(BASE)


def _receiver(documents: list[Document]) -> Document:
    return next(d for d in documents if manifests.name_of(d) == "Deployment/ampeco-receiver")


def _service(documents: list[Document]) -> Document:
    return next(d for d in documents if d["kind"] == "Service")


def _pod(documents: list[Document]) -> Document:
    spec: Document = _receiver(documents)["spec"]["template"]["spec"]
    return spec


_OURS = {"app.kubernetes.io/name": "ampeco-receiver"}


def _added(version: str, kind: str, **spec: object) -> Document:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "added"}, "spec": spec}


def test_schemas_of_three_versions_are_asked() -> None:
    versions = manifests.newest_versions()
    assert len({version.rpartition(".")[0] for version in versions}) == 3


@pytest.mark.parametrize(
    ("check", "said", "break_it"),
    [
        pytest.param(
            manifests.schema_faults,
            "replicaz",
            lambda d: _receiver(d)["spec"].update(replicaz=2),
            id="unknown field",
        ),
        pytest.param(
            manifests.schema_faults,
            "'two' is not of type",
            lambda d: _receiver(d)["spec"].update(replicas="two"),
            id="wrong type",
        ),
        pytest.param(
            manifests.schema_faults,
            "'name' is a required property",
            lambda d: _pod(d)["containers"][0].pop("name"),
            id="missing field",
        ),
        pytest.param(
            manifests.selector_faults,
            "Deployment/ampeco-receiver: its selector",
            lambda d: _receiver(d)["spec"]["template"]["metadata"]["labels"].pop(
                "app.kubernetes.io/component"
            ),
            id="pods without the label",
        ),
        pytest.param(
            manifests.selector_faults,
            "Service/ampeco-receiver: its selector",
            lambda d: _service(d)["spec"]["selector"].update({"app.kubernetes.io/component": "door"}),
            id="service that selects nothing",
        ),
        pytest.param(
            manifests.selector_faults,
            "matches the pods of 2 workloads",
            lambda d: _service(d)["spec"]["selector"].pop("app.kubernetes.io/component"),
            id="service that selects workers too",
        ),
        pytest.param(
            manifests.port_faults,
            "asks port status",
            lambda d: _pod(d)["containers"][0]["livenessProbe"]["httpGet"].update(port="status"),
            id="probe of no port",
        ),
        pytest.param(
            manifests.port_faults,
            "no readinessProbe",
            lambda d: _pod(d)["containers"][0].pop("readinessProbe"),
            id="no probe",
        ),
        pytest.param(
            manifests.port_faults,
            "gives away the admin port",
            lambda d: _service(d)["spec"]["ports"][0].update(targetPort=9090),
            id="admin port in the service",
        ),
        pytest.param(
            manifests.port_faults,
            "listens on web",
            lambda d: _service(d)["spec"]["ports"][0].update(targetPort="web"),
            id="service of no port",
        ),
        pytest.param(
            manifests.port_faults,
            "write AWR_ variables",
            lambda d: _service(d)["metadata"].update(name="awr-door"),
            id="service called awr",
        ),
        pytest.param(
            manifests.pod_faults,
            "enableServiceLinks",
            lambda d: _pod(d).pop("enableServiceLinks"),
            id="service links",
        ),
        pytest.param(
            manifests.pod_faults,
            "runAsUser above 0",
            lambda d: _pod(d)["securityContext"].update(runAsUser=0),
            id="root",
        ),
        pytest.param(
            manifests.pod_faults,
            "runs as the pod's user",
            lambda d: _pod(d)["containers"][0]["securityContext"].update(runAsUser=0),
            id="root in one container",
        ),
        pytest.param(
            manifests.pod_faults,
            "readOnlyRootFilesystem",
            lambda d: _pod(d)["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
            id="writable root",
        ),
        pytest.param(
            manifests.pod_faults,
            "fsGroup that may read it",
            lambda d: _pod(d)["securityContext"].pop("fsGroup"),
            id="unreadable secret files",
        ),
        pytest.param(
            manifests.reference_faults,
            "refers to Secret/ampeco-receiver-secrets",
            lambda d: None,
            id="secret of nobody",
        ),
        pytest.param(
            manifests.reference_faults,
            "refers to ConfigMap/other",
            lambda d: _pod(d)["containers"][0]["envFrom"][0]["configMapRef"].update(name="other"),
            id="config map of nobody",
        ),
        pytest.param(
            manifests.reference_faults,
            "mounts tmp, which is not a volume",
            lambda d: _pod(d)["volumes"].pop(),
            id="mount of no volume",
        ),
        pytest.param(
            manifests.budget_faults,
            "2 disruption budgets cover its pods",
            lambda d: d.append(_added("policy/v1", "PodDisruptionBudget", selector={"matchLabels": _OURS})),
            id="two budgets for a pod",
        ),
        pytest.param(
            manifests.budget_faults,
            "0 disruption budgets cover its pods",
            lambda d: d.remove(next(b for b in d if b["kind"] == "PodDisruptionBudget")),
            id="a pod without a budget",
        ),
        pytest.param(
            manifests.traffic_faults,
            "scales Deployment/other, which is not there",
            lambda d: d.append(
                _added("autoscaling/v2", "HorizontalPodAutoscaler", scaleTargetRef={"name": "other"})
            ),
            id="scaling nothing",
        ),
        pytest.param(
            manifests.traffic_faults,
            "sets replicas, too",
            lambda d: d.append(
                _added("keda.sh/v1alpha1", "ScaledObject", scaleTargetRef={"name": "ampeco-receiver-worker"})
            ),
            id="two owners of a number",
        ),
        pytest.param(
            manifests.traffic_faults,
            "sends to port 81 of Service/ampeco-receiver, which it has not",
            lambda d: d.append(
                _added(
                    "gateway.networking.k8s.io/v1",
                    "HTTPRoute",
                    rules=[{"backendRefs": [{"name": "ampeco-receiver", "port": 81}]}],
                )
            ),
            id="route to no port",
        ),
        pytest.param(
            manifests.traffic_faults,
            "no chosen pod has a port metrics",
            lambda d: d.append(
                _added(
                    "monitoring.coreos.com/v1",
                    "PodMonitor",
                    selector={"matchLabels": _OURS},
                    podMetricsEndpoints=[{"port": "metrics"}],
                )
            ),
            id="scraping no port",
        ),
        pytest.param(
            manifests.schema_faults,
            "PodMonitor/added: spec.podMetricsEndpoints is missing",
            lambda d: d.append(
                _added("monitoring.coreos.com/v1", "PodMonitor", selector={"matchLabels": {}})
            ),
            id="custom resource without a field",
        ),
    ],
)
def test_a_broken_manifest_is_caught(
    check: manifests.Check, said: str, break_it: Callable[[list[Document]], object]
) -> None:
    broken = copy.deepcopy(_base())
    break_it(broken)
    assert said in "\n".join(check(broken))


def test_a_kustomization_with_a_field_the_plain_reader_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [], "patches": [{"path": "x.yaml"}]})
    )
    with pytest.raises(ValueError, match="patches"):
        manifests.written(tmp_path)
