"""What the documentation promises is there, and what is there is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from reelin.cli.app import app
from reelin.contracts.failures import FailureKind
from reelin.contracts.options import PRESETS
from reelin.settings import PREFIX, Settings
from reelin.workflows.policy import POLICIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_readme_and_the_other_way_round() -> None:
    documented = set(re.findall(rf"`({PREFIX}[A-Z_]+)`", README))
    assert documented == {PREFIX + name.upper() for name in Settings.model_fields}


def test_every_command_that_the_readme_shows_exists() -> None:
    shown = set(re.findall(r"\.venv/bin/reelin (\w+)", README))
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert shown <= known
    assert {"up", "get", "ls", "show", "watch", "cancel", "info", "doctor"} <= known


def test_every_kind_of_failure_that_is_tried_again_is_in_the_architecture_page() -> None:
    table = ARCHITECTURE.split("## Failures and what happens next")[1].split("## The engine")[0]
    assert {kind for kind in FailureKind if f"`{kind}`" in table} == set(POLICIES)
    assert f"{len(FailureKind)} kinds" in README


def test_every_test_that_the_security_page_names_exists() -> None:
    shown = re.sub(r"<!--.*?-->", "", SECURITY, flags=re.DOTALL)
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", shown))
    names = set(re.findall(r"`(test_\w+)`", shown))
    assert len(files) > 5 and len(names) > 20
    assert {file for file in files if not (ROOT / file).exists()} == set()
    known = re.findall(
        r"^(?:async )?def (test_\w+)",
        "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")),
        re.MULTILINE,
    )
    assert names - set(known) == set()


def test_every_promise_of_the_security_page_names_a_test() -> None:
    promised = SECURITY.split("## What is promised")[1].split("### What is installed")[0]
    rows = re.findall(r"^\| (?!promise)(.+) \|$", promised, re.MULTILINE)
    assert len(rows) > 20
    assert [row for row in rows if "`test" not in row.rpartition("|")[2]] == []


def test_every_room_is_in_the_architecture_page() -> None:
    rooms = {path.name + "/" for path in (ROOT / "reelin").iterdir() if (path / "__init__.py").exists()}
    rooms |= {path.name for path in (ROOT / "reelin").glob("*.py") if path.name != "__init__.py"}
    assert {room for room in rooms if f"`{room}`" not in ARCHITECTURE} == set()


@pytest.mark.parametrize("target", ["demo", "test", "up", "install", "lint", "bench"])
def test_every_make_target_stands_on_install(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [rule] = re.findall(rf"^{target}:(.*)$", makefile, re.MULTILINE)
    assert target == "install" or " install " in rule


def test_the_presets_of_the_readme_are_the_presets() -> None:
    for preset in ("best", "2160p", "360p", "smallest", "audio-mp3", "audio-m4a", "audio-opus"):
        assert preset in PRESETS


def test_the_lock_file_names_no_download_host() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert not re.search(r"^\s*--(extra-)?index-url|^\s*--find-links|^-", lock, re.MULTILINE)
    assert "--hash=sha256:" in lock
