"""Everything that shows something of a log: each command, each page of the console, each path of the admin port.

Commands and pages are read from the parser and from the routes. A new one must be named here, or the test that asks
for all of them fails.
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

import click
import httpx2

from console.application import PAGES
from receiver.app import create_admin_app
from tests.command_arguments import commands
from tests.harness import PATIENCE_S

Known = Mapping[str, Sequence[str]]
"""What the log has, by the names that stand in braces below."""

READS: Mapping[str, tuple[str, ...]] = {
    "status": ("",),
    "settings": ("",),
    "doctor": ("", "--acl"),
    "audit list": ("",),
    "dead list": ("",),
    "dead show": ("{letter}",),
    "events list": ("",),
    "events shapes": ("", "--type {type}"),
    "events show": ("{event}",),
    "events tail": ("--no-follow",),
    "explain": ("{event}", "{entity}"),
    "gaps list": ("",),
    "handlers check": ("{file}",),
    "handlers list": ("",),
    "handlers new": ("acme.made --folder {folder}",),
    "handlers run": ("{handler} --event {event} --load {file} --trust-handler",),
    "quarantine list": ("",),
    "quarantine show": ("{held}",),
    "registration plan": ("",),
    "registration rotate-token": ("--dry-run --token-file {token_file}",),
    "registration show": ("",),
}
ACTS: Mapping[str, tuple[str, ...]] = {
    "handlers pause": ("{handler} --reason none",),
    "handlers resume": ("{handler}",),
    "handlers rename": ("{handler} other",),
    "handlers replay": (
        "{handler} --from '1h ago' --to '0s ago'",
        "{handler} --from '1h ago' --to '0s ago' --yes",
    ),
    "handlers retire": ("{handler}",),
    "events hurry": ("{event}", "{event} --yes"),
    "dead retry": ("--handler {handler}", "--handler {handler} --yes"),
    "dead discard": ("--handler {handler}", "--handler {handler} --yes"),
    "quarantine retry": ("--reason not-json", "--reason not-json --yes"),
    "quarantine discard": ("--reason not-json", "--reason not-json --yes"),
    "gaps resend": ("--from '1h ago' --to '0s ago'", "--from '1h ago' --to '0s ago' --yes"),
    "registration apply": ("", "--yes"),
    "registration remove": ("", "--yes"),
}
ELSEWHERE = {
    "serve": "a process of the site",
    "worker": "a process of the site",
    "console": "a process of the site",
    "registration watch": "a process of the site",
    "run": "a receiver and a worker in one",
    "demo": "its tenant and its events are made up",
    "dev": "its tenant and its events are made up",
    "simulator": "a tenant of its own",
    "simulator send": "a tenant of its own",
    "handlers export-state": "an operator asks for what a handler keeps",
}
PATHS: Mapping[str, tuple[str, ...]] = {
    "/acts/{id}": ("/acts/{act}",),
    "/dead/plan/discard": ("/dead/plan/discard?handler={handler}",),
    "/dead/plan/retry": ("/dead/plan/retry?handler={handler}",),
    "/dead/{handler}/{id}": ("/dead/{letter}",),
    "/entity": ("/entity?key={entity}",),
    "/event/{id}": ("/event/{event}", "/event/{event}?personal=show"),
    "/handlers/{name}": ("/handlers/{handler}",),
    "/handlers/{name}/replay": (
        "/handlers/{handler}/replay",
        "/handlers/{handler}/replay?from=1h%20ago&to=0s%20ago",
    ),
    "/handlers/{name}/retire": ("/handlers/{handler}/retire",),
    "/quarantine/plan/{verb}": ("/quarantine/plan/retry", "/quarantine/plan/discard"),
    "/quarantine/{id}": ("/quarantine/{held}", "/quarantine/{held}?personal=show"),
    "/search": ("/search?q={event}", "/search?q={entity}"),
    "/shapes": ("/shapes", "/shapes?type={type}"),
}
_FORM = re.compile(
    r'<form[^>]*method="post"[^>]*action="(?P<path>[^"]+)"[^>]*>(?P<fields>.*?)</form>', re.DOTALL
)
_FIELD = re.compile(
    r'<(?:input|select|textarea)[^>]*name="(?P<name>[^"]+)"(?:[^>]*value="(?P<value>[^"]*)")?'
)
_LAST = ("replay", "discard", "retire", "session/end")  # each takes away what those before it are about


def command_lines(table: Mapping[str, tuple[str, ...]], known: Known) -> Iterator[list[str]]:
    """Yield the words of each command of a table, with and without `--json`."""
    every = {" ".join(path): command for path, command in commands() if not isinstance(command, click.Group)}
    named = {*READS, *ACTS, *ELSEWHERE}
    assert named - {"simulator"} == every.keys() - {"simulator"}, "say in this file how to search its output"
    for name, templates in table.items():
        has_json = any("--json" in parameter.opts for parameter in every[name].params)
        for template in templates:
            for filled in _filled(template, known):
                words = shlex.split(filled)
                for given in (words, [*words, "--json"]) if has_json else (words,):
                    every[name].make_context(name, [*given])  # fails for words that the command refuses
                    yield [*name.split(), *given]


def paths_of_pages(known: Known) -> Iterator[str]:
    """Yield the path of each page that can be read, under where the console is mounted."""
    for template in _routes("GET"):
        assert template in PATHS or "{" not in template, f"say in PATHS what stands for {template}"
        for path in PATHS.get(template, (template,)):
            yield from _filled(path, known)


def admin_paths() -> list[str]:
    """Return the paths of the admin port, without the console."""

    async def unused() -> None: ...

    return [route.path for route in create_admin_app(unused, unused).routes]  # type: ignore[arg-type,attr-defined]


class Reader:
    """A browser without JavaScript, at one console."""

    def __init__(self, port: int) -> None:
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{port}/console", timeout=PATIENCE_S)
        self._forms: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str) -> httpx2.Response:
        """Ask for a page, and keep its forms."""
        answer = self._client.get(path)
        for form in _FORM.finditer(answer.text):
            fields = {
                html.unescape(field["name"]): html.unescape(field["value"] or "")
                for field in _FIELD.finditer(form["fields"])
            }
            self._forms[html.unescape(form["path"]).removeprefix("/console")] = fields
        return answer

    def log_in(self, token: str) -> httpx2.Response:
        return self._client.post("/session", data={"token": token, "name": "Nora"})

    def send_forms(self, known: Known) -> Iterator[tuple[str, httpx2.Response]]:
        """Send each form that was seen, and then to each path that takes one and had none a form without fields."""
        token = {
            "form_token": next(
                (each["form_token"] for each in self._forms.values() if "form_token" in each), ""
            )
        }
        bare = {
            path: token
            for template in _routes("POST")
            if not any(_fits(template, seen) for seen in self._forms)
            for path in _filled(template.replace("{name}", "{handler}"), known)
        }
        for path, fields in sorted({**self._forms, **bare}.items(), key=lambda form: _place(form[0])):
            yield path, self._client.post(path, data=fields)


def _routes(method: str) -> list[str]:
    return [path for module in PAGES for path, takes, _ in module.ROUTES if takes == method]


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None


def _place(path: str) -> int:
    return next((at for at, end in enumerate(_LAST, 1) if path.endswith(end)), 0)


def _filled(template: str, known: Known) -> Iterator[str]:
    names = re.findall(r"\{(\w+)\}", template)
    if not names:
        yield template
        return
    for value in known[names[0]]:
        yield from _filled(template.replace(f"{{{names[0]}}}", value), known)
