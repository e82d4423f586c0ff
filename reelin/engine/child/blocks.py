"""How much to read at once: about a twentieth of a second's worth, whatever the line gives.

A larger block makes progress old and a kill expensive; a smaller one costs CPU on fast lines.
"""

from __future__ import annotations

_SECONDS = 0.05
_SMALLEST = 4 * 1024
#: A read waits until the block is full, so after a fast start on a line that then slows down this much is held up.
_LARGEST = 256 * 1024
FIRST_BLOCK = 16 * 1024


def next_block(block: int, elapsed_seconds: float) -> int:
    """`block` bytes took so long. At most twice as much next time: the first bytes often come from a buffer."""
    if elapsed_seconds <= 0:
        return min(block * 2, _LARGEST)
    fitting = int(block / elapsed_seconds * _SECONDS)
    return max(_SMALLEST, min(fitting, block * 2, _LARGEST))
