"""`reelin doctor`: is everything here that Reelin needs?"""

from __future__ import annotations

import typer
from rich.text import Text

from reelin.cli.arguments import AsJson
from reelin.cli.checks import Finding, Verdict, examine
from reelin.cli.console import print_json, say
from reelin.cli.text import clean

_MARKS = {Verdict.GOOD: ("✓", "green"), Verdict.BAD: ("✗", "red"), Verdict.NOTE: ("–", "yellow")}


def doctor(as_json: AsJson = False) -> None:
    """Check this machine: programs, folders, settings, and the running service if there is one.

    Exits with 1 if something must be repaired.
    """
    broken = False
    for finding in examine():
        broken = broken or finding.verdict is Verdict.BAD
        print_json(finding) if as_json else say(_line(finding))
    raise typer.Exit(1 if broken else 0)


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.verdict]
    line = Text.assemble((mark, style), f" {finding.check:<15} ", clean(finding.text, limit=1000))
    if finding.remedy:
        line.append(f"\n  {'':<15} {clean(finding.remedy, limit=1000)}", style="dim")
    return line
