"""`python -m reelin.origin --port 0 --folder DIR`: serves until a signal, and prints one line of JSON when ready."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path

from reelin.origin.app import create_app
from reelin.origin.media import Media, MediaNotMade, make_media
from reelin.origin.server import OriginServer, listen, url_of


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reelin.origin", description="A local media server.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--folder", type=Path, required=True, help="where the media are, or are made: empty then")
    parser.add_argument("--until-stdin-closes", action="store_true", help="do not outlive who started this")
    arguments = parser.parse_args()
    app, _ = create_app(_media(parser, arguments.folder))
    listener = listen(arguments.port)
    server = OriginServer(app)
    if arguments.until_stdin_closes:
        threading.Thread(target=_exit_with_stdin, args=[server], daemon=True).start()
    sys.stdout.write(json.dumps({"url": url_of(listener), "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn has stopped in good order, then raises the signal again


def _media(parser: argparse.ArgumentParser, folder: Path) -> Media:
    try:
        return make_media(folder)
    except (MediaNotMade, OSError) as error:
        parser.error(f"--folder: {error}")


def _exit_with_stdin(server: OriginServer) -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock, held by this thread, would abort the interpreter's exit
        pass
    server.should_exit = True


if __name__ == "__main__":
    main()
