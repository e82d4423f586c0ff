"""What the worker and the engine's processes say to each other: one JSON line or datagram a message."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from reelin.contracts.media import Downloaded, Extracted
from reelin.contracts.model import Message
from reelin.engine.seam import DownloadTask, ExpandTask, ExtractTask, Listing, Report, Task

# The control socket, worker and fork server. It keeps message boundaries (SOCK_SEQPACKET).


class GuardAddress(Message):
    """Where the egress guard listens (`127.0.0.1:PORT`), and what opens it."""

    address: str
    token: str = Field(repr=False)

    def url(self, name: str) -> str:
        """As a proxy. `name` tells the guard who asks; it must need no quoting."""
        return f"http://{name}:{self.token}@{self.address}"


class Limits(Message):
    """Of each child and of each program that it starts, by itself."""

    memory_bytes: int = 4 * 1024**3
    file_bytes: int = 1024**4


class Launch(Message):
    """The first message to a fork server: what all of its children need to know.

    With a `scratch_root`, children are sandboxed where the kernel can: all scratch folders are below it.
    """

    type: Literal["launch"] = "launch"
    ffmpeg: str
    guard: GuardAddress | None = None
    scratch_root: str | None = None
    limits: Limits = Limits()


class Ready(Message):
    """The fork server is warm and forks from now on."""

    type: Literal["ready"] = "ready"


class Spawn(Message):
    """Fork a child; its end of the channel travels with this message. Answered by Spawned or Refused, in order."""

    type: Literal["spawn"] = "spawn"


class Spawned(Message):
    type: Literal["spawned"] = "spawned"
    pid: int


class Refused(Message):
    """The system has no process or no file left to give. Answers Spawn too."""

    type: Literal["refused"] = "refused"
    errno: int
    reason: str


class Exited(Message):
    """A child has ended and been reaped; nothing of its process group is left to adopt."""

    type: Literal["exited"] = "exited"
    pid: int
    status: int = Field(description="As os.waitstatus_to_exitcode gives it: negative is a signal")


# A child's channel: tasks one way, news the other. It is a stream of lines.


class Reported(Message):
    type: Literal["report"] = "report"
    report: Report


class Alive(Message):
    """The task moves, although no byte arrives: ffmpeg writes, or the site asked to wait so long."""

    type: Literal["alive"] = "alive"
    for_seconds: float = 0


class Playlist(Message):
    """What a download came upon instead of a video."""

    title: str | None = None
    count: int | None = None


class Finished(Message):
    """The answer to an order: the one that is not None."""

    type: Literal["done"] = "done"
    downloaded: Downloaded | None = None
    extracted: Extracted | None = None
    listing: Listing | None = None
    playlist: Playlist | None = None


class Failed(Message):
    """`detail` is for the log only."""

    type: Literal["failed"] = "failed"
    kind: str
    message: str
    retry_after_seconds: float | None = None
    detail: str | None = None


class Order(Message):
    """A task for a child: the one that is not None. `cookies` is the text of the jar that it asks for."""

    type: Literal["order"] = "order"
    download: DownloadTask | None = None
    extract: ExtractTask | None = None
    expand: ExpandTask | None = None
    cookies: str | None = Field(None, repr=False)

    @property
    def task(self) -> Task:
        task = self.download or self.extract or self.expand
        if task is None:
            raise ValueError("the order is empty")
        return task


Control = Launch | Spawn
ControlReply = Ready | Spawned | Refused | Exited
News = Reported | Alive | Finished | Failed

CONTROL: TypeAdapter[Control] = TypeAdapter(Annotated[Control, Field(discriminator="type")])
CONTROL_REPLY: TypeAdapter[ControlReply] = TypeAdapter(Annotated[ControlReply, Field(discriminator="type")])
NEWS: TypeAdapter[News] = TypeAdapter(Annotated[News, Field(discriminator="type")])


def line(message: Message) -> bytes:
    return message.model_dump_json().encode() + b"\n"
