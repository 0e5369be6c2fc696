"""What an answer may be forced to look like: JSON schemas, regular expressions, choices; pure.

vLLM builds an automaton of every such constraint while other requests wait, and asks it before
every token of all requests. Both take milliseconds for what people write, and seconds or for ever
for what an attacker writes, so that the limits below stand before the engine. They were chosen by
measuring xgrammar with a vocabulary of Phi-3's size, on two cores.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from phi3_bento.admission.regexes import regex_cost
from phi3_bento.admission.shape import check_shape
from phi3_bento.errors import InvalidRequest

MAX_SCHEMA_CHARACTERS = 16 * 1024
MAX_SCHEMA_DEPTH = 24
"""Objects and lists inside each other; OpenAI's ten levels of objects take 21."""

MAX_PROPERTIES = 256
MAX_ENUM_VALUES = 1024
MAX_PATTERNS = 32
"""Texts with a `pattern` or a `format`; 256 of them take 2 s."""

MAX_BOUND = 4096
MAX_BOUNDS = 8
"""Different lengths and counts in one schema; each takes 0.1 to 0.8 s, a repeated one nothing."""

MAX_REGEX_CHARACTERS = 512
MAX_AMBIGUITY = 16
"""Places of a regular expression where one may go on or leave off; up to 0.1 s a token."""

MAX_CHOICES = 256
MAX_CHOICES_CHARACTERS = 8 * 1024
"""All choices together; a million characters take 6 s and 400 MB."""

_BOUNDS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_DEFINITIONS = ("$defs", "definitions")
_FORMATS = ("text", "json_object", "json_schema")
_REFUSED = {
    "grammar": "a grammar can make the engine work without end; use json, regex or choice",
    "structural_tag": "it is for tool calls, which the model does not make",
    "whitespace_pattern": "it is not supported; see disable_any_whitespace",
}


def check_structured(body: Mapping[str, Any]) -> None:
    """Pass, or raise `InvalidRequest` that names the parameter whose constraint is too much."""
    form = body.get("response_format")
    if form is not None:
        _check_response_format(form)
    constraint = body.get("structured_outputs")
    if constraint is not None:
        _check_constraint(constraint)


def check_schema(schema: object, path: str) -> None:
    """Pass, or raise `InvalidRequest` for a JSON schema over the limits.

    References must be to a definition of the same schema, and must not lead back to themselves.
    """
    if not isinstance(schema, dict):
        raise InvalidRequest(f"'{path}' must be a JSON schema, an object.", param=path)
    objects = list(_objects(schema, path))
    _limit(len(json.dumps(schema, ensure_ascii=False)), MAX_SCHEMA_CHARACTERS, "characters", path)
    _limit(_members(objects, "properties"), MAX_PROPERTIES, "properties", path)
    _limit(_members(objects, "enum"), MAX_ENUM_VALUES, "enum values", path)
    _check_bounds(objects, path)
    _check_patterns(objects, path)
    _check_references(schema, objects, path)


def check_regex(pattern: str, path: str) -> None:
    """Pass, or raise `InvalidRequest` for a regular expression that is too much to follow."""
    _limit(len(pattern), MAX_REGEX_CHARACTERS, "characters", path)
    cost = regex_cost(pattern)
    _limit(cost.length, MAX_BOUND, "characters with its counts written out", path)
    _limit(cost.ambiguity, MAX_AMBIGUITY, "optional or repeated places, counts written out", path)
    if cost.is_nested:
        raise InvalidRequest(
            f"'{path}' repeats a repetition, as (a+)+ does; one of the two is enough.", param=path
        )


def _check_response_format(form: object) -> None:
    path = "response_format"
    kind = form.get("type") if isinstance(form, dict) else None
    if not isinstance(form, dict) or kind not in _FORMATS:
        raise InvalidRequest(
            f"'{path}' must be an object with a type of {', '.join(_FORMATS)}.", param=path
        )
    if kind == "json_schema":
        named = form.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        check_schema(schema, f"{path}.json_schema.schema")


def _check_constraint(constraint: object) -> None:
    path = "structured_outputs"
    if not isinstance(constraint, dict):
        raise InvalidRequest(f"'{path}' must be an object.", param=path)
    for name, reason in _REFUSED.items():
        if constraint.get(name) is not None:
            raise InvalidRequest(
                f"'{path}.{name}' cannot be set: {reason}.", param=f"{path}.{name}"
            )
    if (schema := constraint.get("json")) is not None:
        check_schema(_parsed(schema, f"{path}.json"), f"{path}.json")
    if (pattern := constraint.get("regex")) is not None:
        if not isinstance(pattern, str):
            raise InvalidRequest(f"'{path}.regex' must be a text.", param=f"{path}.regex")
        check_regex(pattern, f"{path}.regex")
    if (choices := constraint.get("choice")) is not None:
        _check_choices(choices, f"{path}.choice")


def _check_choices(choices: object, path: str) -> None:
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise InvalidRequest(f"'{path}' must be a list of texts.", param=path)
    _limit(len(choices), MAX_CHOICES, "choices", path)
    _limit(sum(map(len, choices)), MAX_CHOICES_CHARACTERS, "characters", path)


def _parsed(schema: object, path: str) -> object:
    """vLLM takes a schema also as a text that holds its JSON."""
    if not isinstance(schema, str):
        return schema
    _limit(len(schema), MAX_SCHEMA_CHARACTERS, "characters", path)
    try:
        parsed = orjson.loads(schema)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"'{path}' is not valid JSON: {error}.", param=path) from None
    check_shape({path: parsed})
    return parsed


def _objects(value: object, path: str) -> Iterator[dict[str, Any]]:
    """Every object in `value`, itself included."""
    level = [value]
    for _ in range(MAX_SCHEMA_DEPTH):
        members: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                yield each
                members += each.values()
            elif isinstance(each, list):
                members += each
        level = members
    if any(isinstance(each, dict | list) for each in level):
        raise InvalidRequest(
            f"'{path}' is nested more than {MAX_SCHEMA_DEPTH} levels deep.", param=path
        )


def _members(objects: list[dict[str, Any]], name: str) -> int:
    groups = (each.get(name) for each in objects)
    return sum(len(group) for group in groups if isinstance(group, dict | list))


def _check_bounds(objects: list[dict[str, Any]], path: str) -> None:
    given = (each.get(name) for each in objects for name in _BOUNDS)
    bounds = {bound for bound in given if isinstance(bound, int | float)}
    _limit(max(bounds, default=0), MAX_BOUND, "as a length or a count", path)
    _limit(len(bounds), MAX_BOUNDS, "different lengths and counts", path)


def _check_patterns(objects: list[dict[str, Any]], path: str) -> None:
    if any("patternProperties" in each for each in objects):
        raise InvalidRequest(
            f"'{path}' has patternProperties; name the properties instead.", param=path
        )
    patterns = [each["pattern"] for each in objects if isinstance(each.get("pattern"), str)]
    formats = [each for each in objects if isinstance(each.get("format"), str)]
    _limit(len(patterns) + len(formats), MAX_PATTERNS, "patterns and formats", path)
    for pattern in patterns:
        check_regex(pattern, path)


def _check_references(schema: dict[str, Any], objects: list[dict[str, Any]], path: str) -> None:
    definitions = {
        f"#/{group}/{name}": definition
        for group in _DEFINITIONS
        if isinstance(schema.get(group), dict)
        for name, definition in schema[group].items()
    }
    if unknown := _references(objects) - definitions.keys():
        raise InvalidRequest(
            f"'{path}' refers to '{min(unknown)[:100]}'; a $ref must be to a definition of its "
            "own, as #/$defs/name.",
            param=path,
        )
    waiting = {
        name: _references(_objects(definition, path)) for name, definition in definitions.items()
    }
    while done := {name for name, needed in waiting.items() if not needed & waiting.keys()}:
        waiting = {name: waiting[name] for name in waiting.keys() - done}
    if waiting:
        raise InvalidRequest(
            f"'{path}' refers to '{min(waiting)[:100]}' inside itself; such an answer need not "
            "come to an end.",
            param=path,
        )


def _references(objects: Any) -> set[str]:
    return {each["$ref"] for each in objects if isinstance(each.get("$ref"), str)}


def _limit(count: float, most: int, what: str, path: str) -> None:
    if count > most:
        raise InvalidRequest(
            f"'{path}' has {count:g} {what}; at most {most} are served.", param=path
        )
