"""The progress bus: from the worker that has a job to every API process that shows it."""

from reelin.progress.bus import MemoryBus, ProgressBus
from reelin.progress.slots import Slots

__all__ = ["MemoryBus", "ProgressBus", "Slots"]
