"""The decisions of the rooms' documents are short and have one form: a reader finds the same parts in each."""

import re
from pathlib import Path

import pytest

from tests.meta import generated
from tests.meta.repository import ROOT

MOST_WORDS = 180
FORM = re.compile(
    r"\*\*\d{4}-\d{2}-\d{2} [^·].*?[.?]\*\* Context: \S.* Choice: \S.* "
    r"Price: (?:(?!Revisit).)+\.(?: Revisit when \S.*\.)?"
)


def _decisions(text: str) -> list[str]:
    """Return each paragraph, list item or table below the heading `Decisions`, as one line."""
    below = re.search(r"^## Decisions\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return [" ".join(part.split()) for part in re.split(r"\n{2,}", below[1].strip())] if below else []


def _odd(text: str) -> list[str]:
    dated = [part for part in _decisions(text) if re.match(r"(- )?\**\d{4}-\d\d", part)]
    return [part[:80] for part in dated if not FORM.fullmatch(part) or len(part.split()) > MOST_WORDS]


@pytest.mark.parametrize(
    "path",
    [path for path in generated.documents() if "## Decisions" in path.read_text()],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_decisions_have_context_choice_and_price(path: Path) -> None:
    text = path.read_text()
    assert _decisions(text), f"{path.relative_to(ROOT)}: no decision below the heading"
    assert _odd(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "**2026-11-24 A claim.** Choice: x. Price: y.",
        "**2026-11-24 A claim.** Context: x. Price: y. Choice: z.",
        "**2026-11-24 · A claim.** Context: x. Choice: y. Price: z.",
        "**2026-11-24 A claim.** Context: x. Choice: y. Price: z. Revisit if: never.",
        "- 2026-11-24, a claim. Context: x. Choice: y. Price: z.",
        f"**2026-11-24 A claim.** Context: {'x ' * 180}. Choice: y. Price: z.",
    ],
)
def test_another_form_is_found(text: str) -> None:
    assert len(_odd(f"# A room\n\n## Decisions\n\n{text}\n")) == 1


def test_the_form() -> None:
    text = "**2026-11-24 A claim.** Context: x. Choice: y.\nPrice: z. Revisit when it changes.\n"
    assert _odd(f"## Decisions\n\n{text}\n## Next\n\n- 2026-11-24, no decision.\n") == []
