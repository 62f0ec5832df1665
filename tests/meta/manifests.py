"""Reads the manifests under deploy/ and says what is wrong with them.

`written` puts a kustomization together from its files without any tool, as far as ours go: resources, and
ConfigMaps and Secrets generated from env files and literals. `rendered` asks `kubectl kustomize`. The checks
take the documents of either and yield faults as text; they need neither a cluster nor the network.
"""

import base64
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

Document = dict[str, Any]
Check = Callable[[list[Document]], Iterator[str]]

WORKLOADS = ("Deployment", "StatefulSet")
WITH_PODS = (*WORKLOADS, "Job")
# Fields that have to be there; no schema of these kinds is at hand, and nothing here has run them.
CUSTOM: dict[str, tuple[str, ...]] = {
    "HTTPRoute": ("parentRefs", "rules"),
    "PodMonitor": ("selector", "podMetricsEndpoints"),
    "PrometheusRule": ("groups",),
    "ScaledObject": ("scaleTargetRef", "triggers"),
}
_VERSIONS = 3


def written(folder: Path) -> list[Document]:
    """The documents of a kustomization, from its files alone."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - {
        *("apiVersion", "kind", "namespace", "resources", "components", "replicas", "images"),
        *("configMapGenerator", "secretGenerator"),
    }
    if unknown:
        raise ValueError(
            f"{folder}/kustomization.yaml: cannot read {', '.join(sorted(unknown))} without kubectl"
        )
    documents: list[Document] = []
    for resource in [*kustomization["resources"], *kustomization.get("components", [])]:
        path = folder / resource
        documents += written(path) if path.is_dir() else documents_of(path.read_text())
    for kind, generator in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for entry in kustomization.get(generator, []):
            values = _generated(folder, entry)
            if entry.get("behavior") == "merge":
                _one(documents, kind, entry["name"])["stringData" if kind == "Secret" else "data"].update(
                    values
                )
            else:
                key = "stringData" if kind == "Secret" else "data"
                documents.append(
                    {"apiVersion": "v1", "kind": kind, "metadata": {"name": entry["name"]}, key: values}
                )
    return documents


def rendered(folder: Path) -> list[Document]:
    """The documents of a kustomization as kubectl would apply them."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return documents_of(done.stdout)


def documents_of(text: str) -> list[Document]:
    """The documents of one YAML file."""
    return [document for document in yaml.safe_load_all(text) if document]


def _generated(folder: Path, entry: Document) -> dict[str, str]:
    lines = [line for env in entry.get("envs", []) for line in (folder / env).read_text().splitlines()]
    given = [line for line in lines if line.strip() and not line.startswith("#")] + entry.get("literals", [])
    return dict(line.split("=", 1) for line in given)


def _one(documents: Iterable[Document], kind: str, name: str) -> Document:
    return next(d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name)


def values_of(document: Document) -> dict[str, str]:
    """What a ConfigMap or Secret holds, decoded."""
    encoded = document.get("data", {}) if document["kind"] == "Secret" else {}
    plain = document.get("stringData", {}) if document["kind"] == "Secret" else document.get("data", {})
    return {**{name: base64.b64decode(value).decode() for name, value in encoded.items()}, **plain}


def name_of(document: Document) -> str:
    """How faults call a document: kind/name."""
    return f"{document['kind']}/{document['metadata']['name']}"


def pods(documents: Iterable[Document], kinds: tuple[str, ...] = WITH_PODS) -> Iterator[tuple[str, Document]]:
    """Every pod template with the name of its workload or Job."""
    for document in documents:
        if document["kind"] in kinds:
            yield name_of(document), document["spec"]["template"]


def schema_faults(documents: list[Document]) -> Iterator[str]:
    """What the schemas of the newest Kubernetes versions refuse; of custom kinds, what is missing."""
    for document in documents:
        if (needed := CUSTOM.get(document["kind"])) is not None:
            yield from (
                f"{name_of(document)}: spec.{field} is missing"
                for field in needed
                if not document["spec"].get(field)
            )
            continue
        for version in newest_versions():
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{name_of(document)} in {version}: {'.'.join(map(str, error.path))}: {error.message}"


def newest_versions() -> list[str]:
    """Return the newest patch of each of the newest minor versions, newest first."""
    newest: dict[tuple[int, int], tuple[int, ...]] = {}
    for text in kubernetes_validate.utils.all_versions():
        version = tuple(map(int, text.split(".")))
        newest[version[:2]] = max(version, newest.get(version[:2], version))  # type: ignore[index]
    return [".".join(map(str, newest[minor])) for minor in sorted(newest, reverse=True)[:_VERSIONS]]


def selector_faults(documents: list[Document]) -> Iterator[str]:
    """Selectors that choose no pod: each must be part of some pod's labels, a workload's of its own pods'."""
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(documents)}
    for document in documents:
        name, spec = name_of(document), document.get("spec", {})
        if document["kind"] in WORKLOADS:
            chosen = [spec["selector"]["matchLabels"]]
            pod_spec = spec["template"]["spec"]
            chosen += [
                c["labelSelector"]["matchLabels"] for c in pod_spec.get("topologySpreadConstraints", [])
            ]
            candidates = [labels[name]]
        elif document["kind"] == "PodDisruptionBudget":
            chosen, candidates = [spec["selector"]["matchLabels"]], list(labels.values())
        elif document["kind"] == "Service":
            chosen, candidates = [spec["selector"]], list(labels.values())
        else:
            continue
        for selector in chosen:
            matched = [own for own in candidates if selector.items() <= own.items()]
            if not matched:
                yield f"{name}: its selector {selector} matches no pod"
            elif len(matched) > 1:
                yield f"{name}: its selector {selector} matches the pods of {len(matched)} workloads"


def budget_faults(documents: list[Document]) -> Iterator[str]:
    """Pods that no disruption budget covers, or two: then the drain of their node fails."""
    budgets = [d for d in documents if d["kind"] == "PodDisruptionBudget"]
    for name, pod in pods(documents, WORKLOADS):  # a Job's pod may be evicted
        if name.startswith("StatefulSet/"):  # the Redis of a trial, which has one replica
            continue
        labels = pod["metadata"]["labels"].items()
        covering = [name_of(b) for b in budgets if b["spec"]["selector"]["matchLabels"].items() <= labels]
        if len(covering) != 1:
            yield f"{name}: {len(covering)} disruption budgets cover its pods: {', '.join(covering)}"


def traffic_faults(documents: list[Document]) -> Iterator[str]:
    """Find routes, policies, monitors and autoscalers that name something that is not there."""
    names = {name_of(document) for document in documents}
    templates = [pod for _, pod in pods(documents)]
    for document in documents:
        name, kind, spec = name_of(document), document["kind"], document.get("spec", {})
        if kind in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = spec["scaleTargetRef"]
            scaled = f"{target.get('kind', 'Deployment')}/{target['name']}"
            if scaled not in names:
                yield f"{name}: scales {scaled}, which is not there"
            if any(name_of(d) == scaled and "replicas" in d["spec"] for d in documents):
                yield f"{name}: {scaled} sets replicas, too, so each rollout undoes the scaling"
        for service, port in _backends(document):
            found = next((d for d in documents if name_of(d) == f"Service/{service}"), None)
            if found is None:
                yield f"{name}: sends to Service/{service}, which is not there"
            elif not any(port in (p["name"], p["port"]) for p in found["spec"]["ports"]):
                yield f"{name}: sends to port {port} of Service/{service}, which it has not"
        if kind in ("NetworkPolicy", "PodMonitor"):
            selector = spec["podSelector" if kind == "NetworkPolicy" else "selector"]["matchLabels"]
            chosen = [p for p in templates if selector.items() <= p["metadata"]["labels"].items()]
            if not chosen:
                yield f"{name}: its selector {selector} matches no pod"
            offered = {
                p["name"] for pod in chosen for c in pod["spec"]["containers"] for p in c.get("ports", [])
            }
            asked = [p["port"] for rule in spec.get("ingress", []) for p in rule.get("ports", [])]
            asked += [endpoint["port"] for endpoint in spec.get("podMetricsEndpoints", [])]
            yield from (f"{name}: no chosen pod has a port {port}" for port in asked if port not in offered)


def _backends(document: Document) -> Iterator[tuple[str, str | int]]:
    spec = document.get("spec", {})
    if document["kind"] == "Ingress":
        for rule in spec["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield service["name"], service["port"].get("name") or service["port"]["number"]
    if document["kind"] == "HTTPRoute":
        for rule in spec["rules"]:
            for backend in rule["backendRefs"]:
                yield backend["name"], backend["port"]


def port_faults(documents: list[Document]) -> Iterator[str]:
    """Find ports on which nothing listens, admin ports in a Service, and Services that would set AWR_ variables."""
    offered: dict[str, list[Document]] = {}
    for name, pod in pods(documents, WORKLOADS):
        for container in pod["spec"]["containers"]:
            ports = container["ports"]
            offered.setdefault(name, []).extend(ports)
            known = {p["name"] for p in ports} | {p["containerPort"] for p in ports}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"{name}: no {probe}"
                    continue
                target = container[probe].get("httpGet") or container[probe].get("tcpSocket")
                if target and target["port"] not in known:
                    yield f"{name}: {probe} asks port {target['port']}, which no container has"
    for document in documents:
        if document["kind"] != "Service":
            continue
        name, spec = name_of(document), document["spec"]
        if document["metadata"]["name"].startswith("awr"):
            yield f"{name}: a Service of this name makes Kubernetes write AWR_ variables into pods"
        behind = [
            port
            for workload, pod in pods(documents, WORKLOADS)
            if spec["selector"].items() <= pod["metadata"]["labels"].items()
            for port in offered[workload]
        ]
        for port in spec["ports"]:
            target = port.get("targetPort", port["port"])
            hit = [p for p in behind if target in (p["name"], p["containerPort"])]
            if not hit:
                yield f"{name}: no pod behind it listens on {target}"
            if any(p["name"] == "admin" for p in hit):
                yield f"{name}: gives away the admin port"


def pod_faults(documents: list[Document]) -> Iterator[str]:
    """What no pod may leave out: non-root, read-only root, no token, no service links, bounded memory."""
    for name, pod in pods(documents):
        spec = pod["spec"]
        security = spec.get("securityContext", {})
        wanted = {
            "enableServiceLinks: false": spec.get("enableServiceLinks") is False,
            "automountServiceAccountToken: false": spec.get("automountServiceAccountToken") is False,
            "runAsNonRoot: true": security.get("runAsNonRoot") is True,
            "runAsUser above 0": security.get("runAsUser", 0) > 0,
            "seccompProfile RuntimeDefault": security.get("seccompProfile") == {"type": "RuntimeDefault"},
        }
        for container in spec["containers"] + spec.get("initContainers", []):
            own, label = container.get("securityContext", {}), container["name"]
            wanted |= {
                f"{label} readOnlyRootFilesystem: true": own.get("readOnlyRootFilesystem") is True,
                f"{label} allowPrivilegeEscalation: false": own.get("allowPrivilegeEscalation") is False,
                f"{label} capabilities drop ALL": own.get("capabilities") == {"drop": ["ALL"]},
                f"{label} runs as the pod's user": not own.keys() & {"runAsUser", "runAsNonRoot"},
                **{
                    f"{label} {resource} limit": resource in container.get("resources", {}).get("limits", {})
                    for resource in ("memory", "ephemeral-storage")
                },
            }
        yield from (f"{name}: lacks {what}" for what, there in wanted.items() if not there)
        for volume in spec.get("volumes", []):
            if "secret" in volume or "secret" in str(volume.get("projected")):
                source = volume.get("projected") or volume["secret"]
                if source.get("defaultMode") != 0o440 or "fsGroup" not in security:
                    yield f"{name}: {volume['name']} needs defaultMode 0440 and an fsGroup that may read it"


def reference_faults(documents: list[Document], *, elsewhere: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names that nothing bears: volumes; ConfigMaps, Secrets and ServiceAccounts that are not `elsewhere`."""
    known = {name_of(document) for document in documents} | elsewhere
    for name, pod in pods(documents):
        spec = pod["spec"]
        sources = [s for v in spec.get("volumes", []) for s in v.get("projected", {}).get("sources", [])]
        sources += spec.get("volumes", [])
        containers = spec["containers"] + spec.get("initContainers", [])
        used = {f"ServiceAccount/{spec['serviceAccountName']}"} if "serviceAccountName" in spec else set()
        for container in containers:
            for source in container.get("envFrom", []):
                used |= {f"ConfigMap/{source['configMapRef']['name']}"} if "configMapRef" in source else set()
                used |= {f"Secret/{source['secretRef']['name']}"} if "secretRef" in source else set()
        for source in sources:
            if "secret" in source:
                used.add(f"Secret/{source['secret'].get('name') or source['secret']['secretName']}")
            if "configMap" in source:
                used.add(f"ConfigMap/{source['configMap']['name']}")
        yield from (f"{name}: refers to {missing}, which is not there" for missing in sorted(used - known))
    for document in documents:
        if document["kind"] not in WITH_PODS:
            continue
        spec = document["spec"]
        claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in spec["template"]["spec"].get("volumes", [])} | claims
        for container in spec["template"]["spec"]["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{name_of(document)}: mounts {mount['name']}, which is not a volume of it"


CHECKS: tuple[Check, ...] = (
    schema_faults,
    selector_faults,
    port_faults,
    pod_faults,
    budget_faults,
    traffic_faults,
)
