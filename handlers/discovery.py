"""Finds handlers: entry points of installed distributions, and modules or files named by hand.

It loads plugin code, so the process that serves HTTP never imports this module. It knows nothing of how
handlers are run.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType

from pydantic import ValidationError

from handlers.declaration import Handler, HandlerError

GROUP = "ampeco_receiver.handlers"
_MOST = 1_000  # characters of a fault
_LINE_CHARS = 200  # of a file's path
_BY_HAND = "_handlers_from_file_"
_BUILTIN = "handlers.builtin."


@dataclass(frozen=True)
class Found:
    """A handler, the `source` (distribution, module or file) it came from, and that source's version."""

    handler: Handler
    source: str
    version: str


@dataclass(frozen=True)
class Fault:
    """A plugin that could not be loaded, or a handler of it that was refused.

    Attributes:
        source: names the plugin.
        message: says why.
        reason: slug, `not-loaded` or `name-clash`.
        error: class of what was raised; empty for a clash.
        where: `file:line` of the plugin; empty where no line is known.
        handler: the name that clashes; empty otherwise.
    """

    source: str
    message: str
    reason: str = "not-loaded"
    error: str = ""
    where: str = ""
    handler: str = ""


@dataclass(frozen=True)
class Discovery:
    """What there is.

    Attributes:
        off: names of handlers that are installed and not enabled.
    """

    found: tuple[Found, ...]
    faults: tuple[Fault, ...]
    off: tuple[str, ...] = ()


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
    """
    found: list[Found] = []
    faults: list[Fault] = []
    for entry_point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        source = f"{entry_point.name} = {entry_point.value}"
        loading(source)
        try:
            found += _from_entry_point(entry_point)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - plugin code may raise anything while it is imported
            faults.append(_fault(source, error))
    if load and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last, so that nothing in it replaces a module of ours
    for name in load:
        loading(name)
        try:
            by_hand = _from_name(name)
            # First: the file of an installed plugin goes by the name that was given.
            found = [*by_hand, *found] if _plugin_in(name) is not None else [*found, *by_hand]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the same for a module named by hand
            faults.append(_fault(name, error))
    once: dict[int, Found] = {}
    for item in found:
        once.setdefault(id(item.handler), item)  # a module may import another's handler
    found = list(once.values())
    if allow is not None:
        wanted = set(allow)
        found = [item for item in found if item.handler.name in wanted]
    clashes = _clashes(found)
    faults += clashes
    refused = {(fault.source, fault.handler) for fault in clashes}
    found = [item for item in found if (item.source, item.handler.name) not in refused]
    found = [_moved(item, queue_of) for item in found]
    if error_text:
        found = [replace(item, handler=replace(item.handler, error_text=True)) for item in found]
    ready = sorted((item for item in found if item.handler.enabled), key=lambda item: item.handler.name)
    off = sorted(item.handler.name for item in found if not item.handler.enabled)
    return Discovery(tuple(ready), tuple(faults), tuple(off))


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


def _clashes(found: Sequence[Found]) -> list[Fault]:
    """Refuse handlers of different plugins that have one name. A built-in one stays: its name is ours."""
    by_name: dict[str, list[Found]] = {}
    for item in found:
        by_name.setdefault(item.handler.name, []).append(item)
    faults = []
    for name, items in by_name.items():
        if len(items) == 1:
            continue
        ours = [item for item in items if _is_builtin(item.handler)]
        where = ", ".join(dict.fromkeys(item.source for item in items))
        for item in items:
            if len(ours) == 1 and item is ours[0]:
                continue
            fix = "that one is built in: rename yours" if ours else "names are identities: rename one"
            message = f"handler {name!r} is in more than one plugin ({where}); {fix}"
            faults.append(Fault(item.source, message[:_MOST], "name-clash", "", _line_of(item.handler), name))
    return faults


def _is_builtin(item: Handler) -> bool:
    return str(getattr(item.function, "__module__", "")).startswith(_BUILTIN)


def _line_of(item: Handler) -> str:
    code = getattr(inspect.unwrap(item.function), "__code__", None)
    return f"{code.co_filename[-_LINE_CHARS:]}:{code.co_firstlineno}" if code is not None else ""


def _fault(source: str, error: BaseException) -> Fault:
    return Fault(source, told(error), error=type(error).__name__, where=_where(error))


def _where(error: BaseException) -> str:
    """Return the innermost line outside of Python's import machinery; for text that is no Python, that line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{str(error.filename)[-_LINE_CHARS:]}:{error.lineno}"
    lines = [
        f"{frame.filename[-_LINE_CHARS:]}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__
    ]
    return lines[-1] if lines else ""


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
