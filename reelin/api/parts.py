"""What the API is built from."""

from __future__ import annotations

from dataclasses import dataclass, field

from reelin.activities import MediaFolder
from reelin.api.control import WorkflowControl
from reelin.api.guests import Guests
from reelin.api.hub import Hub
from reelin.library import Library
from reelin.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """`temporal_ui` is where Temporal's UI stands, such as http://127.0.0.1:8233; None where there is none."""

    settings: Settings
    library: Library
    hub: Hub
    control: WorkflowControl
    media: MediaFolder
    temporal_ui: str | None = None
    guests: Guests = field(default_factory=Guests)
