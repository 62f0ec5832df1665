"""Finds handlers: entry points of installed distributions, and modules or files named by hand.

It loads plugin code, so the process that serves HTTP never imports this module. It knows nothing of how
handlers are run.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType

from pydantic import ValidationError

from handlers.declaration import Handler, HandlerError
from handlers.promise import collected

GROUP = "ampeco_receiver.handlers"
_MOST = 1_000  # characters of a fault
_BY_HAND = "_handlers_from_file_"


@dataclass(frozen=True)
class Found:
    """A handler, the `source` (distribution, module or file) it came from, and that source's version."""

    handler: Handler
    source: str
    version: str


@dataclass(frozen=True)
class Fault:
    """A plugin that could not be loaded: `source` names it, `message` says why."""

    source: str
    message: str


@dataclass(frozen=True)
class Discovery:
    """What there is.

    Attributes:
        off: names of handlers that are installed and not enabled.
        deprecated: by source, what it uses that a later contract version will not have; one line each.
    """

    found: tuple[Found, ...]
    faults: tuple[Fault, ...]
    off: tuple[str, ...] = ()
    deprecated: Mapping[str, Sequence[str]] = field(default_factory=dict)


def discover(
    *,
    load: Sequence[str] = (),
    allow: Iterable[str] | None = None,
    queue_of: Mapping[str, str] = MappingProxyType({}),
    error_text: bool = False,
    loading: Callable[[str], None] = lambda _: None,
) -> Discovery:
    """Find every handler of the installed plugins and of `load`: modules (`package.module`) or files (`x.py`).

    Args:
        allow: names of the handlers to keep; None keeps all.
        queue_of: handler -> queue, instead of the declared one.
        error_text: the text of every handler's exceptions may be shown.
        loading: called with each source before it is imported.

    Raises:
        HandlerError: two handlers have one name.
    """
    found: list[Found] = []
    faults: list[Fault] = []
    deprecated: dict[str, Sequence[str]] = {}
    for entry_point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        source = f"{entry_point.name} = {entry_point.value}"
        loading(source)
        try:
            with collected() as deprecated[source]:
                found += _from_entry_point(entry_point)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - plugin code may raise anything while it is imported
            faults.append(Fault(source, told(error)))
    if load and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last, so that nothing in it replaces a module of ours
    for name in load:
        loading(name)
        try:
            with collected() as deprecated[name]:
                by_hand = _from_name(name)
            # First: the file of an installed plugin goes by the name that was given.
            found = [*by_hand, *found] if _plugin_in(name) is not None else [*found, *by_hand]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the same for a module named by hand
            faults.append(Fault(name, told(error)))
    once: dict[int, Found] = {}
    for item in found:
        once.setdefault(id(item.handler), item)  # a module may import another's handler
    found = list(once.values())
    if allow is not None:
        wanted = set(allow)
        found = [item for item in found if item.handler.name in wanted]
    _refuse_clashes(found)
    found = [_moved(item, queue_of) for item in found]
    if error_text:
        found = [replace(item, handler=replace(item.handler, error_text=True)) for item in found]
    ready = sorted((item for item in found if item.handler.enabled), key=lambda item: item.handler.name)
    off = sorted(item.handler.name for item in found if not item.handler.enabled)
    uses = {source: lines for source, lines in deprecated.items() if lines}
    return Discovery(tuple(ready), tuple(faults), tuple(off), uses)


def _moved(item: Found, queue_of: Mapping[str, str]) -> Found:
    queue = queue_of.get(item.handler.name)
    return item if queue is None else replace(item, handler=replace(item.handler, queue=queue))


def _from_entry_point(entry_point: EntryPoint) -> list[Found]:
    loaded = entry_point.load()
    distribution = entry_point.dist
    source = distribution.name if distribution else entry_point.value
    version = distribution.version if distribution else "0"
    return [Found(item, source, version) for item in handlers_in(loaded, entry_point.value)]


def _from_name(name: str) -> list[Found]:
    if name.endswith(".py"):
        path = Path(name).resolve()  # a plugin may change the current folder
        if not path.is_file():
            raise HandlerError(f"no such file: {name}")
        version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        module = _plugin_in(name) or _imported_file(path)
    else:
        module = importlib.import_module(name)
        origin = module.__spec__.origin if module.__spec__ else None
        version = hashlib.sha256(Path(origin).read_bytes()).hexdigest()[:12] if origin else "0"
    return [Found(item, name, version) for item in handlers_in(module, name)]


def _plugin_in(name: str) -> ModuleType | None:
    """Return the module of an installed plugin that was imported from this file, as under `pip install -e`."""
    if not name.endswith(".py"):
        return None
    path = str(Path(name).resolve())
    for known, module in list(sys.modules.items()):
        if type(module) is ModuleType and not known.startswith((_BY_HAND, "__main__")):
            spec = vars(module).get("__spec__")
            if spec is not None and spec.origin == path:
                return module
    return None


def _imported_file(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"{_BY_HAND}{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def handlers_in(loaded: object, where: str) -> list[Handler]:
    """Return the handlers of a module, or the one that an entry point names.

    Args:
        where: names it in the error.

    Raises:
        HandlerError: there is none.
    """
    if isinstance(loaded, Handler):
        return [loaded]
    if isinstance(loaded, ModuleType):
        # By type(): isinstance also asks the object, and some raise then, such as one that stands for another.
        found = list(dict.fromkeys(item for item in vars(loaded).values() if issubclass(type(item), Handler)))
        if found:
            return found
    raise HandlerError(f"{where} is not a handler and has none in it; decorate a function with @handler")


def _refuse_clashes(found: Sequence[Found]) -> None:
    owners: dict[str, Found] = {}
    for item in found:
        other = owners.setdefault(item.handler.name, item)
        if other.handler is not item.handler:
            raise HandlerError(
                f"handler {item.handler.name!r} is in {other.source} and in {item.source}; "
                "names are identities: rename one"
            )


def missing_settings(error: ValidationError) -> str:
    """What a plugin's settings complain of, without the values they were given."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
    return f"{error.title}: {told}"


def told(error: BaseException) -> str:
    """Describe what a plugin raised at import in one bounded line; its `__str__` may itself be faulty."""
    try:
        text = missing_settings(error) if isinstance(error, ValidationError) else str(error)
    except Exception:  # noqa: BLE001 - plugin code too
        text = "(it cannot be described)"
    named = text if isinstance(error, ValidationError) else f"{type(error).__name__}: {text}"
    return " ".join(named.split())[:_MOST].rstrip(": ")
