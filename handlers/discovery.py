"""Finds handlers: entry points of installed distributions, and modules or files named by hand.

It loads plugin code, so the process that serves HTTP never imports this module. It knows nothing of how
handlers are run.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType

from handlers.code_places import place_of_error
from handlers.declaration import Handler, HandlerError
from handlers.decorator import collecting, noting
from handlers.load_faults import described
from handlers.promise import collected

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
        place: file and line of its code, as `file:line`; empty where they are not known.
        reason: slug, `not-loaded` or `name-clash`.
        error: class of what was raised; empty for a clash.
        handler: the name that clashes; empty otherwise.
    """

    source: str
    message: str
    place: str = ""
    reason: str = "not-loaded"
    error: str = ""
    handler: str = ""


@dataclass(frozen=True)
class Discovery:
    """The handlers and plugins that were found.

    Attributes:
        off: names of handlers that are installed and not enabled.
        deprecated: by source, the things it uses that a later contract version will not have; one line each.
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
    skip: Collection[str] = (),
    thorough: bool = False,
) -> Discovery:
    """Find every handler of the installed plugins and of `load`: modules (`package.module`) or files (`x.py`).

    Args:
        allow: names of the handlers to keep; None keeps all.
        queue_of: handler -> queue, instead of the declared one.
        error_text: the text of every handler's exceptions may be shown.
        loading: called with each source before it is imported.
        skip: sources that are left out.
        thorough: find every fault of every plugin, for a check, and keep handlers whose names clash.
    """
    found: list[Found] = []
    faults: list[Fault] = []
    deprecated: dict[str, Sequence[str]] = {}
    declared: list[tuple[str, Handler]] = []

    def loaded(source: str, load: Callable[[], list[Found]], *, whole: bool = True) -> list[Found]:
        """Load a source. Of a whole module, all handlers that are declared have to be found."""
        if source in skip:
            return []
        loading(source)
        refusals: AbstractContextManager[list[HandlerError]] = collecting() if thorough else nullcontext([])
        with refusals as refused, collected() as deprecated[source], noting() as noted:
            try:
                handlers = load()
                declared.extend((source, each) for each in noted if whole)
                return handlers
            except BaseException as error:  # plugin code may raise anything while it is imported
                if isinstance(error, KeyboardInterrupt) and not thorough:
                    raise
                if not (refused and type(error) is NoHandlers):
                    faults.append(_fault_of(source, error))
            finally:
                faults.extend(Fault(source, line, each.place) for each in refused for line in each.faults)
        return []

    for entry_point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        source, load_it = f"{entry_point.name} = {entry_point.value}", partial(_from_entry_point, entry_point)
        found += loaded(source, load_it, whole=not entry_point.attr)
    if load and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last, so that nothing in it replaces a module of ours
    for name in load:
        by_hand = loaded(name, partial(_from_name, name))
        # First: the file of an installed plugin goes by the name that was given.
        found = [*by_hand, *found] if by_hand and _plugin_in(name) is not None else [*found, *by_hand]
    once: dict[int, Found] = {}
    for item in found:
        once.setdefault(id(item.handler), item)  # a module may import another's handler
    found = list(once.values())
    if thorough:
        faults += [_lost(source, each) for source, each in declared if id(each) not in once]
    if allow is not None:
        wanted = set(allow)
        found = [item for item in found if item.handler.name in wanted]
    clashes = _clashes(found)
    faults += clashes
    if not thorough:
        refused = {(fault.source, fault.handler) for fault in clashes}
        found = [item for item in found if (item.source, item.handler.name) not in refused]
    found = [_moved(item, queue_of) for item in found]
    if error_text:
        found = [replace(item, handler=replace(item.handler, error_text=True)) for item in found]
    ready = sorted((item for item in found if item.handler.enabled), key=lambda item: item.handler.name)
    off = sorted(item.handler.name for item in found if not item.handler.enabled)
    uses = {source: lines for source, lines in deprecated.items() if lines}
    return Discovery(tuple(ready), tuple(faults), tuple(off), uses)


def _lost(source: str, lost: Handler) -> Fault:
    fix = "give it a name of its own there, or import it there"
    message = f"handler {lost.name!r} does not run: no name in the plugin's module stands for it; {fix}"
    return Fault(source, message, lost.place)


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
    elif os.sep in name or Path(name).is_dir():
        raise HandlerError(
            f"{name} is neither a module nor a .py file; name its files, such as {_example(name)}"
        )
    else:
        module = importlib.import_module(name)
        origin = module.__spec__.origin if module.__spec__ else None
        version = hashlib.sha256(Path(origin).read_bytes()).hexdigest()[:12] if origin else "0"
    return [Found(item, name, version) for item in handlers_in(module, name)]


def _example(name: str) -> str:
    path = Path(name)
    files = sorted(path.glob("*.py")) if path.is_dir() else []
    return str(files[0] if files else path.with_suffix(".py"))


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
    raise NoHandlers(f"{where} has no handler in it; decorate a function with @handler")


class NoHandlers(HandlerError):
    """The loaded code has no handler in it."""


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
        where = " and in ".join(dict.fromkeys(f"{item.source} ({item.version})" for item in items))
        for item in items:
            if len(ours) == 1 and item is ours[0]:
                continue
            fix = "the built-in one stays: rename yours" if ours else "names are identities: rename one"
            message = f"handler {name!r} is in {where}; {fix}"[:_MOST]
            faults.append(Fault(item.source, message, item.handler.place, "name-clash", "", name))
    return faults


def _is_builtin(item: Handler) -> bool:
    return str(getattr(item.function, "__module__", "")).startswith(_BUILTIN)


def _fault_of(source: str, error: BaseException) -> Fault:
    if isinstance(error, SystemExit):
        said = f"{described(error)}; a module must not end the process: remove the call of sys.exit"
        return Fault(source, said, place_of_error(error), error="SystemExit")
    place = getattr(error, "place", "") or place_of_error(error)
    return Fault(source, described(error), place, error=type(error).__name__)
