"""Live progress over a WebSocket: the hub fills the connection's mailbox, which empties as fast as the client reads."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from reelin.api.mailbox import Subscription
from reelin.api.messages import (
    EVERYTHING,
    ActiveJobs,
    CancelJob,
    Connected,
    ErrorMessage,
    GetActiveJobs,
    Ping,
    Pong,
    SubscribeJob,
    SubscriptionResponse,
    UnsubscribeJob,
    UnsubscriptionResponse,
    parse,
)
from reelin.api.parts import Parts
from reelin.api.wishes import grant
from reelin.contracts.model import Message
from reelin.errors import InvalidInput, NotFound, ReelinError
from reelin.library import Wish

GOING_AWAY = 1001
_log = structlog.get_logger(__name__)


class SocketRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["live"])
        router.add_api_websocket_route("/ws", self.connect)
        return router

    async def connect(self, socket: WebSocket) -> None:
        await socket.accept()
        with self._parts.hub.subscription("websocket") as subscription:
            await Conversation(self._parts, socket, subscription).hold()


class Conversation:
    """One connection. Two tasks: one listens and answers, one sends what the mailbox receives."""

    def __init__(self, parts: Parts, socket: WebSocket, subscription: Subscription) -> None:
        self._parts = parts
        self._hub = parts.hub
        self._socket = socket
        self._subscription = subscription
        self._speaking = asyncio.Lock()  # an answer goes out before the events that follow from it

    async def hold(self) -> None:
        """Until the client goes or the hub closes."""
        await self._say(Connected())
        listening = asyncio.create_task(self._listen())
        sending = asyncio.create_task(self._send())
        try:
            await asyncio.wait((listening, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
            sending.cancel()
            for fault in await asyncio.gather(listening, sending, return_exceptions=True):
                if isinstance(fault, Exception):
                    _log.error("A WebSocket failed unexpectedly", exc_info=fault)
        if self._subscription.closed:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client may have gone just now
                await self._socket.close(GOING_AWAY)

    async def _send(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            async for letter in self._subscription:
                status = letter.snapshot or letter.event.final
                async with self._speaking:
                    await self._socket.send_text(letter.event.status if status else letter.event.update)

    async def _listen(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await self._answer(await self._heard())

    async def _heard(self) -> str | None:
        """The next message; None for one that is not text."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text: str | None = message.get("text")
        return text

    async def _answer(self, text: str | None) -> None:
        async with self._speaking:
            try:
                await self._act(text)
            except InvalidInput as error:
                await self._say(ErrorMessage(message=f"{error.message} {error.remedy}"))
            except ReelinError as error:
                await self._say(ErrorMessage(message=str(error)))

    async def _act(self, text: str | None) -> None:
        if text is None:
            raise InvalidInput("The message is not text.", remedy='Send JSON as text, such as {"type": "ping"}.')
        match parse(text):
            case SubscribeJob(job_id=job_id, items=items):
                await self._subscribe(job_id, items=items)
            case UnsubscribeJob(job_id=job_id):
                await self._unsubscribe(job_id)
            case GetActiveJobs():
                async for jobs, more in self._hub.unfinished():
                    await self._say(ActiveJobs(jobs=tuple(jobs), more=more))
            case CancelJob(job_id=job_id):
                await grant(self._parts, Wish.CANCEL, job_id)
            case Ping():
                await self._say(Pong())

    async def _subscribe(self, job_id: str, *, items: bool) -> None:
        try:
            if job_id == EVERYTHING:
                await self._hub.watch_all(self._subscription)
            else:
                present = await self._hub.watch(self._subscription, job_id)
                self._subscription.put(present, snapshot=True)
                if items:
                    await self._hub.watch_items(self._subscription, job_id)
        except NotFound as error:
            await self._say(SubscriptionResponse(job_id=job_id, success=False, message=str(error)))
            return
        await self._say(SubscriptionResponse(job_id=job_id, success=True, message="Subscribed."))

    async def _unsubscribe(self, job_id: str) -> None:
        if job_id == EVERYTHING:
            self._hub.unwatch_all(self._subscription)
        else:
            self._hub.unwatch(self._subscription, job_id)
        await self._say(UnsubscriptionResponse(job_id=job_id, success=True, message="Unsubscribed."))

    async def _say(self, message: Message) -> None:
        await self._socket.send_text(message.model_dump_json())
