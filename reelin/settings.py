"""Every setting, validated once and then handed in. The only reader of the environment."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reelin.contracts.urls import IPNetwork
from reelin.errors import SettingsError

PREFIX = "REELIN_"
ENV_FILE = ".env"
DEFAULT_PORT = 8484


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "reelin"


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """Environment variables with the prefix REELIN_, or the same names in a `.env` file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, frozen=True, extra="ignore", env_ignore_empty=True
    )

    data_dir: Path = Field(default_factory=_default_data_dir, description="Database, Temporal's files, cookie jars")
    media_dir: Path = Field(
        default_factory=lambda data: data["data_dir"] / "media", description="Finished files; default DATA_DIR/media"
    )
    host: str = Field("127.0.0.1", description="Where the API listens; off loopback needs API_TOKEN or --no-auth")
    port: int = Field(DEFAULT_PORT, ge=0, le=65535, description="The API's port; 0 takes any free one")
    database_url: str = Field(
        default_factory=lambda data: f"sqlite:///{data['data_dir'] / 'reelin.db'}",
        description="sqlite:///PATH or postgresql://…; default: SQLite in DATA_DIR",
    )
    progress_url: str = Field("memory://", description="The progress bus; memory:// within one process")
    max_downloads: int = Field(16, ge=1, le=500, description="Downloads at once in one worker, in need a quarter more")
    egress_allow: Annotated[tuple[IPNetwork, ...], NoDecode] = Field(
        (), description="Private ranges that downloads may reach: CIDRs, comma-separated"
    )
    unlimited_sites: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Sites without a limit until they complain, comma-separated"
    )
    site_max_at_once: int = Field(4, ge=1, le=100, description="Downloads at once from one site")
    batch_at_once: int = Field(50, ge=1, le=500, description="Items of one batch in flight at once")
    api_token: str | None = Field(None, min_length=8, description="Bearer token that every API call must carry")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Names, besides localhost, by which the API may be called without a token, comma-separated"
    )
    min_free_bytes: int | None = Field(
        None, ge=0, description="Left free on the disk; default 1 GB, on small disks a twentieth of them"
    )
    temporal_retention_days: int = Field(
        7, ge=1, le=3650, description="How long `up` keeps finished workflows in Temporal's UI; 25 KB of disk for each"
    )
    stall_seconds: float = Field(30, ge=1, description="A download without a byte for so long is ended and retried")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning, error")
    log_format: Literal["console", "json"] = Field("console", description="console or json")

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        value = _comma_separated(value)
        if isinstance(value, (list, tuple)):
            return tuple(ipaddress.ip_network(part, strict=False) if isinstance(part, str) else part for part in value)
        return value

    @field_validator("unlimited_sites", "allowed_hosts", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return _comma_separated(value)

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", host):
                raise ValueError(f"{host[:60]!r} is not a host's name; give names without scheme and port")
        return tuple(host.lower().removesuffix(".") for host in value)

    @field_validator("data_dir", "media_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value.startswith(("sqlite://", "postgresql://", "postgres://")):
            raise ValueError("must begin with sqlite:// or postgresql://")
        return value

    @field_validator("progress_url")
    @classmethod
    def _known_bus(cls, value: str) -> str:
        if value != "memory://":
            raise ValueError("only memory:// is known to this version")
        return value

    @property
    def scratch_dir(self) -> Path:
        """Partial files; inside the media folder, so that publishing is a rename on one file system."""
        return self.media_dir / ".reelin-scratch"

    @property
    def growing_dirs(self) -> tuple[Path, ...]:
        """Where databases stand: with SQLite Reelin's own, with `up` Temporal's."""
        path = self.database_url.partition("://")[2].partition("?")[0].removeprefix("/")
        own = (Path(path).absolute().parent,) if self.database_url.startswith("sqlite") and path else ()
        temporal = self.data_dir / "temporal"
        return (*own, temporal) if temporal.is_dir() else own

    @property
    def cookies_dir(self) -> Path:
        return self.data_dir / "cookies"


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and `.env`; `overrides` (None means "not given") win. Raises SettingsError."""
    given = {name: value for name, value in overrides.items() if value is not None}
    _refuse_misspelt()
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else PREFIX + "*"
        raise SettingsError(f"{name}: {first['msg']} (given: {str(first.get('input'))[:80]!r}).") from error


def _refuse_misspelt() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES
    for variable in sorted({*os.environ, *dotenv_values(ENV_FILE)}):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            close = difflib.get_close_matches(variable.upper(), known, n=1)
            hint = f" Did you mean {close[0]}?" if close else " `reelin up --help` lists the settings."
            raise SettingsError(f"There is no setting {variable}.{hint}")


#: Read by the command line's client side: where the API is. REELIN_API_TOKEN is shared with the server.
CLIENT_VARIABLES = frozenset({PREFIX + "URL"})
