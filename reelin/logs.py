"""Log lines: a short sentence with fields, for people or as JSON, on stderr. Called once by each program."""

from __future__ import annotations

import logging
import sys
import textwrap
import traceback
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import ExcInfo, Processor


def configure_logs(level: str, style: Literal["console", "json"]) -> None:
    """Routes structlog and the libraries' own loggers through one formatter."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[Processor]
    if style == "json":
        shared.append(structlog.processors.format_exc_info)
        rendering = [structlog.processors.JSONRenderer()]
    else:
        colors = sys.stderr.isatty()
        rendering = [
            _one_line,
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_indented_traceback),
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "uvicorn", "aiosqlite", "alembic", "sse_starlette", "temporalio.worker"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _one_line(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Texts from the net neither begin a line of their own nor drive a terminal; JSON escapes them by itself."""
    fields.update({name: _harmless(value) for name, value in fields.items() if isinstance(value, str)})
    return fields


def _indented_traceback(stream: TextIO, error: ExcInfo) -> None:
    """Indented, so that no line of an exception's text looks like a line of the log."""
    whole = "".join(traceback.format_exception(*error))
    lines = (_harmless(line) for line in whole.splitlines())
    stream.write("\n" + textwrap.indent("\n".join(lines), "    ", lambda _: True))


def _harmless(text: str) -> str:
    """`text` with what cannot be printed (line breaks, escapes, marks of direction) written out as in Python."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
