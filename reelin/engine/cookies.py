"""The worker's cookie jars. A child gets the text of the one jar that its task asks for, and no path to any."""

from __future__ import annotations

from pathlib import Path

from reelin.contracts.failures import FailureKind
from reelin.errors import MediaFailure


def read_jar(cookies_dir: Path, name: str) -> str:
    """Raises MediaFailure of the kind `bad_options` where there is no such jar, or where it is not text."""
    try:
        return (cookies_dir / f"{name}.txt").read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise MediaFailure(
            FailureKind.BAD_OPTIONS,
            f"options.cookies: there is no cookie jar named {name!r}. Export the browser's cookies in the Netscape "
            f"format and store them as {name}.txt in Reelin's cookies folder.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise MediaFailure(
            FailureKind.BAD_OPTIONS,
            f"options.cookies: the cookie jar {name!r} cannot be read. It must be a text file in the Netscape format "
            "that the user who runs Reelin may read.",
        ) from error
