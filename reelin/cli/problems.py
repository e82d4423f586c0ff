"""What the API may answer instead of what was asked for, as errors with their lines for a person.

ReelinError
├── NoApi        nothing that speaks Reelin's API answers there
└── ApiProblem   the API refused (RFC 9457 problem details)
    └── Missing  404: there is no such job, video or file
"""

from __future__ import annotations

import httpx
from pydantic import ValidationError

from reelin.contracts.model import Message
from reelin.errors import ReelinError


class FieldError(Message):
    field: str = ""
    message: str = ""
    remedy: str = ""

    @property
    def line(self) -> str:
        named = f"{self.field}: {self.message}" if self.field else self.message
        return f"{named} {self.remedy}".strip()


class Problem(Message):
    """The body of an `application/problem+json` answer."""

    title: str = ""
    status: int = 0
    detail: str = ""
    errors: tuple[FieldError, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """One for each error; the detail, or the title, where no field is to blame."""
        named = tuple(error.line for error in self.errors if error.message)
        return named or (self.detail or self.title or f"The API answered with HTTP {self.status}.",)


class NoApi(ReelinError):
    """Nothing that speaks Reelin's API answers. The text says what was tried, and what to do."""


class ApiProblem(ReelinError):
    def __init__(self, problem: Problem) -> None:
        super().__init__(" ".join(problem.lines))
        self.problem = problem
        self.lines = problem.lines


class Missing(ApiProblem):
    """404."""


def problem_of(response: httpx.Response) -> ApiProblem | NoApi:
    """What an answer of 400 and more means. An answer that is not problem details is not Reelin's."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    try:
        problem = Problem.model_validate_json(response.content) if kind == "application/problem+json" else None
    except ValidationError:
        problem = None
    if problem is None:
        return NoApi(
            f"{response.request.url.copy_with(query=None)} answers with HTTP {response.status_code}, but not as Reelin "
            "does: check --url and REELIN_URL."
        )
    return Missing(problem) if response.status_code == httpx.codes.NOT_FOUND else ApiProblem(problem)
