"""How much room a disk has, and how much of it is left alone."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

#: The disk itself, or the way to it: whoever tries again later may succeed, whatever file it was about.
STORAGE_ERRORS = frozenset(
    {
        *(errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.EREMOTEIO, errno.ETIMEDOUT),
        *(errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
    }
)
#: Where nothing else is set: so much stays free, but on a small disk no more than a twentieth of it.
DEFAULT_MIN_FREE_BYTES = 1_000_000_000
_SHARE_OF_SMALL_DISKS = 20


@dataclass(frozen=True)
class Room:
    """In bytes. `low_water` is what downloads leave free for the rest of the machine."""

    free: int
    low_water: int

    @property
    def low(self) -> bool:
        return self.free < self.low_water

    @property
    def usable(self) -> int:
        return max(0, self.free - self.low_water)


@dataclass(frozen=True)
class Disk:
    """The disk on which `folder` stands, or will stand. `min_free_bytes` None means the default."""

    folder: Path
    min_free_bytes: int | None = None

    def room(self) -> Room:
        there = next(each for each in (self.folder, *self.folder.parents) if each.is_dir())
        usage = shutil.disk_usage(there)
        return Room(free=usage.free, low_water=self._low_water(usage.total))

    def _low_water(self, total: int) -> int:
        if self.min_free_bytes is not None:
            return self.min_free_bytes
        return min(DEFAULT_MIN_FREE_BYTES, total // _SHARE_OF_SMALL_DISKS)


def amount(n_bytes: int) -> str:
    """4100000000 is "4.1 GB"."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    figure, units = n_bytes / 1000, ["kB", "MB", "GB", "TB"]
    while figure >= 999.95 and len(units) > 1:
        figure, units = figure / 1000, units[1:]
    return f"{figure:.1f} {units[0]}"
