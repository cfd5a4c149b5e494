"""What pages name exists, and what was drawn for them is on one."""

import re

import pytest

from tests.docs.console import ROOT

PAGES = sorted(path.relative_to(ROOT) for path in (*ROOT.glob("docs/*.md"), ROOT / "README.md"))
#: Made by those who do what a page says, or a word for any.
THEIRS = {"mine.scn", "NAME.out", "NAME.scn"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files(page) -> None:
    """A file of ours in `backticks` or in a link: by its path from the top, or from where the page is."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:arch|mm|kernel|syscalls|tools|tests|docs|examples|benchmarks)/[\w./]+\.\w+)`", text
    )
    linked = [name for name in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in name]
    lost = [name for name in named if not (ROOT / name).exists() and name.split("/")[-1] not in THEIRS]
    lost += [name for name in linked if not (ROOT / page.parent / name).exists()]
    assert lost == []


def test_pictures() -> None:
    shown = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    drawn = sorted(path.name for path in (ROOT / "docs/pictures").iterdir())
    assert [name for name in drawn if f"pictures/{name})" not in shown] == []
