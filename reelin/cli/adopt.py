"""`reelin adopt`: the library goes on in another media folder, on purpose."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from reelin.cli.console import say
from reelin.cli.service import DataDir, MediaDir

Beside = Annotated[bool, typer.Option("--beside", help="It is a further one: another worker's, on a disk of its own.")]
InPlaceOf = Annotated[
    str | None,
    typer.Option(metavar="ID", help="It takes this one's place, whose files were moved here, or are lost."),
]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Although it belongs to another installation, which then stops using it.")
]


def adopt(
    beside: Beside = False,
    in_place_of: InPlaceOf = None,
    take_over: TakeOver = False,
    data_dir: DataDir = None,
    media_dir: MediaDir = None,
) -> None:
    """Make the media folder one of this library's, after its disk was replaced or for another worker.

    The first start does so by itself. Nothing is moved or deleted. Reelin may run meanwhile: it goes on by itself.
    """
    from reelin.settings import load_settings
    from reelin.worker.adoption import adopt as adopt_folder

    settings = load_settings(data_dir=data_dir, media_dir=media_dir)
    say(asyncio.run(adopt_folder(settings, beside=beside, in_place_of=in_place_of, take_over=take_over)))
