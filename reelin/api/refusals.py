"""Why a request was refused, field by field, with what to do about it."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from fastapi import params
from pydantic import BaseModel

from reelin.api.problems import FieldError, clipped
from reelin.errors import InvalidInput

_PLACES = frozenset({"body", "query", "path", "header"})
_TYPES = {
    "int": "Give a whole number.",
    "float": "Give a number.",
    "finite_number": "Give a number.",
    "bool": "Give true or false.",
    "string": "Give text.",
    "list": "Give a list.",
    "tuple": "Give a list.",
    "dict": "Give a JSON object.",
    "model": "Give a JSON object, with Content-Type: application/json.",
    "model_attributes": "Give a JSON object, with Content-Type: application/json.",
}
_LIMITS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
}


def field_errors(errors: Iterable[Mapping[str, Any]], models: Mapping[str, type[BaseModel]]) -> tuple[FieldError, ...]:
    """`errors` as pydantic lists them. `models` are those of the body and the query, to name their fields."""
    return tuple(_field_error(error, models) for error in errors)


def refusal(error: InvalidInput, *, within: str = "") -> FieldError:
    field = ".".join(part for part in (within, error.field) if part)
    return FieldError(field=field, message=error.message, remedy=error.remedy)


def models_of(endpoint: object) -> dict[str, type[BaseModel]]:
    """The models that a route's function takes as its body and its query."""
    if not callable(endpoint):
        return {}
    found: dict[str, type[BaseModel]] = {}
    hints = typing.get_type_hints(endpoint, include_extras=True)
    for hint in (hint for name, hint in hints.items() if name != "return"):
        model = _model_in(hint)
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        if model is not None:
            found["query" if any(isinstance(mark, params.Query) for mark in marks) else "body"] = model
    return found


def _field_error(error: Mapping[str, Any], models: Mapping[str, type[BaseModel]]) -> FieldError:
    place, field = _located(error["loc"])
    context = error.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InvalidInput):
        return refusal(cause, within="" if field == place and cause.field else field)
    kind = str(error["type"])
    if kind == "extra_forbidden":
        return _unknown(field, _model_at(models.get(place), error["loc"][1:-1]))
    if kind == "missing":
        what = "The body" if field == "body" else f"The field {field!r}"
        return FieldError(field=field, message=f"{what} is required.", remedy=f"Give {field}.")
    if kind == "json_invalid":
        return _not_json(error)
    return FieldError(field=field, message=_sentence(str(error["msg"])), remedy=_remedy(kind, context))


def _located(loc: tuple[int | str, ...]) -> tuple[str, str]:
    """Where, and the dotted name there."""
    place, rest = (str(loc[0]), loc[1:]) if loc and loc[0] in _PLACES else ("", loc)
    return place, ".".join(str(part) for part in rest) or place


def _unknown(field: str, model: type[BaseModel] | None) -> FieldError:
    name = field.rpartition(".")[2]
    known = [] if model is None else list(model.model_fields)
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"Did you mean {close[0]}? " if close else ""
    names = f"Known are: {', '.join(known)}." if known else "Leave it out."
    return FieldError(field=field, message=f"There is no field {clipped(name, 60)!r}.", remedy=guess + names)


def _not_json(error: Mapping[str, Any]) -> FieldError:
    reason, position = error.get("ctx", {}).get("error", ""), error["loc"][-1]
    return FieldError(
        field="body",
        message=f"The body is not JSON: {reason} at character {position}.",
        remedy='Send a JSON object such as {"url": "https://example.org/watch?v=1"}.',
    )


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _remedy(kind: str, context: Mapping[str, Any]) -> str:
    if "expected" in context:
        return f"Use one of: {str(context['expected']).replace(' or ', ', ')}."
    limits = [text.format(context[name]) for name, text in _LIMITS.items() if name in context]
    if limits:
        return f"Make it {' and '.join(limits)}."
    if "pattern" in context:
        return f"Make it match {context['pattern']}."
    stem = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    return _TYPES.get(stem, "Correct it; /docs describes every field.")


def _model_at(model: type[BaseModel] | None, path: Iterable[int | str]) -> type[BaseModel] | None:
    """The model in which the last part of an error's location stands."""
    for part in path:
        if isinstance(part, int):
            continue
        field = None if model is None else model.model_fields.get(part)
        model = None if field is None else _model_in(field.annotation)
    return model


def _model_in(hint: object) -> type[BaseModel] | None:
    """The first model in a type such as `Annotated[tuple[Section, ...], …] | None`."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    return next((model for part in get_args(hint) if (model := _model_in(part)) is not None), None)
