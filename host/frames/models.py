"""Report where a file does not fit its model: the place, its value, and the reason."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from host.words import _, marked

_OBJECT = marked("must be an object with names and values")
_LIST = marked("must be a list")
_WHOLE = marked("must be a whole number")
_NUMBER = marked("must be a number")
_DAY = marked('must be a day such as "2026-10-01"')
# Reasons by pydantic's types of errors; the fields are those of its context.
_REASONS = {
    "missing": marked("is missing"),
    "extra_forbidden": marked("is not known here: check the name"),
    "literal_error": marked("must be {expected}"),
    "json_invalid": marked("is no JSON: {error}"),
    "string_type": marked("must be a text in quotes"),
    "bool_type": marked("must be true or false"),
    "bool_parsing": marked("must be true or false"),
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "greater_than": marked("must be above {gt}"),
    "greater_than_equal": marked("must be at least {ge}"),
    "less_than": marked("must be below {lt}"),
    "less_than_equal": marked("must be at most {le}"),
    "too_short": marked("has {actual_length} entries, at least {min_length} are needed"),
    "too_long": marked("has {actual_length} entries, at most {max_length} may be there"),
}


@dataclass(frozen=True, slots=True)
class Misfit:
    """The first misfit: its place in the file, pydantic's type, the reason."""

    place: tuple[int | str, ...]
    kind: str
    value: Any
    reason: str


def misfit_of(error: ValidationError) -> Misfit:
    """Return the first finding of an error, its reason in the selected language."""
    first = error.errors()[0]
    context = first.get("ctx", {})
    if first["type"] == "value_error":
        reason = str(context["error"])
    elif first["type"] in _REASONS:
        reason = _(_REASONS[first["type"]]).format(**context)
    else:
        reason = first["msg"]
    return Misfit(first["loc"], first["type"], first["input"], reason)
