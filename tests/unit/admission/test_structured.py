"""Constraints that people write pass; those that would stop the engine are refused by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.admission.regexes import regex_cost
from phi3_bento.admission.structured import (
    MAX_AMBIGUITY,
    MAX_BOUND,
    MAX_BOUNDS,
    MAX_CHOICES,
    MAX_CHOICES_CHARACTERS,
    MAX_ENUM_VALUES,
    MAX_PATTERNS,
    MAX_PROPERTIES,
    MAX_REGEX_CHARACTERS,
    MAX_SCHEMA_CHARACTERS,
    MAX_SCHEMA_DEPTH,
    check_regex,
    check_schema,
    check_structured,
)
from phi3_bento.errors import InvalidRequest

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4,8}$"},
        "email": {"type": "string", "format": "email", "maxLength": 254},
        "note": {"type": ["string", "null"], "maxLength": 2000},
        "state": {"enum": ["open", "paid", "sent"]},
        "lines": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"$ref": "#/$defs/L"}},
    },
    "required": ["id", "lines"],
    "additionalProperties": False,
    "$defs": {
        "L": {"type": "object", "properties": {"price": {"$ref": "#/$defs/P"}}},
        "P": {"type": "number", "minimum": 0},
    },
}


def refusal(schema: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check_schema(schema, "schema")
    assert caught.value.param == "schema"
    return caught.value.message


def constraint_refusal(**constraint: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        check_structured({"structured_outputs": constraint})
    return caught.value.param


def properties(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return {"properties": {f"p{number}": schema for number, schema in enumerate(schemas)}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "o", "schema": ORDER}}},
        {"structured_outputs": {"json": ORDER}},
        {"structured_outputs": {"json": '{"type": "object"}'}},
        {"structured_outputs": {"regex": r"\d{4}-\d{2}-\d{2}"}},
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"structured_outputs": {"json_object": True, "disable_any_whitespace": True}},
    ],
)
def test_what_people_write_passes(body: dict[str, Any]) -> None:
    check_structured(body)


@pytest.mark.parametrize(
    "form",
    [
        "json",
        7,
        [],
        {},
        {"type": None},
        {"type": ["text"]},
        {"type": "structural_tag", "format": {"type": "any_text"}},
        {"type": "xml"},
    ],
)
def test_another_response_format_is_refused(form: object) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_structured({"response_format": form})
    assert error.value.param == "response_format"


@pytest.mark.parametrize("named", [None, {}, {"schema": None}, {"schema": True}, "schema", []])
def test_a_json_schema_format_needs_a_schema(named: object) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_structured({"response_format": {"type": "json_schema", "json_schema": named}})
    assert error.value.param == "response_format.json_schema.schema"


@pytest.mark.parametrize("constraint", ["json", 7, [], True])
def test_a_constraint_must_be_an_object(constraint: object) -> None:
    with pytest.raises(InvalidRequest):
        check_structured({"structured_outputs": constraint})


@pytest.mark.parametrize("name", ["grammar", "structural_tag", "whitespace_pattern"])
def test_a_constraint_without_bounds_is_refused(name: str) -> None:
    assert constraint_refusal(**{name: "x"}) == f"structured_outputs.{name}"


@pytest.mark.parametrize("schema", ["{", "[" * 5000, '"\\ud800"', '{"const": "\\u0000"}', "7"])
def test_a_schema_as_a_text_is_read_and_checked(schema: str) -> None:
    param = constraint_refusal(json=schema)
    assert param is not None
    assert param.startswith("structured_outputs.json")


def test_choices_are_served_up_to_the_limits() -> None:
    check_structured({"structured_outputs": {"choice": ["x"] * MAX_CHOICES}})
    for choices in (
        ["x"] * (MAX_CHOICES + 1),
        ["x" * MAX_CHOICES_CHARACTERS, "x"],
        ["x", 7],
        "yes",
    ):
        assert constraint_refusal(choice=choices) == "structured_outputs.choice"


def test_a_schema_is_served_up_to_its_size() -> None:
    check_schema({"description": "x" * (MAX_SCHEMA_CHARACTERS - 50)}, "schema")
    assert "characters" in refusal({"description": "x" * MAX_SCHEMA_CHARACTERS})


def test_a_schema_is_served_up_to_its_depth() -> None:
    schema: dict[str, Any] = {}
    for _ in range(10):
        schema = {"type": "object", "properties": {"p": schema}}
    check_schema(schema, "schema")
    for _ in range(MAX_SCHEMA_DEPTH):
        schema = {"items": schema}
    assert "nested" in refusal(schema)


def test_properties_and_enum_values_are_counted_over_the_schema() -> None:
    check_schema(properties([{}] * MAX_PROPERTIES), "schema")
    assert "properties" in refusal({"anyOf": [properties([{}] * 129), properties([{}] * 129)]})
    check_schema({"enum": list(range(MAX_ENUM_VALUES))}, "schema")
    assert "enum values" in refusal({"anyOf": [{"enum": [1] * 600}, {"enum": [2] * 600}]})


@pytest.mark.parametrize("name", ["minLength", "maxLength", "minItems", "maxItems"])
def test_lengths_and_counts_are_served_up_to_the_limit(name: str) -> None:
    check_schema({name: MAX_BOUND}, "schema")
    assert str(MAX_BOUND) in refusal({name: MAX_BOUND + 1})
    assert str(MAX_BOUND) in refusal({name: 1e9})


def test_every_different_length_counts_and_the_same_counts_once() -> None:
    check_schema(properties([{"maxLength": 64}] * MAX_PROPERTIES), "schema")
    check_schema(properties([{"maxLength": 1 + n} for n in range(MAX_BOUNDS)]), "schema")
    assert "different" in refusal(properties([{"maxLength": 1 + n} for n in range(MAX_BOUNDS + 1)]))


def test_patterns_and_formats_are_served_up_to_the_limit() -> None:
    check_schema(properties([{"pattern": "^a+$"}] * MAX_PATTERNS), "schema")
    texts: list[dict[str, Any]] = [{"pattern": "a"}, {"format": "uri"}]
    assert "patterns" in refusal(properties(texts * MAX_PATTERNS))
    assert "repeats a repetition" in refusal({"pattern": "(a+)+"})
    assert "patternProperties" in refusal({"patternProperties": {"a": {}}})


@pytest.mark.parametrize(
    "reference",
    ["https://example.com/s.json", "#", "other.json#/$defs/a", "#/$defs/missing", "#/properties/a"],
)
def test_a_reference_out_of_the_definitions_is_refused(reference: str) -> None:
    assert "refers to" in refusal({"$ref": reference, "$defs": {"a": {}}, "properties": {"a": {}}})


@pytest.mark.parametrize("group", ["$defs", "definitions"])
def test_a_reference_that_leads_back_to_itself_is_refused(group: str) -> None:
    def ref(name: str) -> dict[str, str]:
        return {"$ref": f"#/{group}/{name}"}

    check_schema(
        {**ref("a"), group: {"a": {"items": ref("b")}, "b": {"items": ref("c")}, "c": {}}}, "s"
    )
    assert "inside itself" in refusal({**ref("a"), group: {"a": ref("a")}})
    assert "inside itself" in refusal({group: {"a": {"items": ref("b")}, "b": {"items": ref("a")}}})


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "yes|no|maybe",
        "[a-z]+(, [a-z]+)*",
        r"(\d{1,3}\.){3}\d{1,3}",
        r"[\w.+-]+@[\w-]+(\.[\w-]+)+",
        r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
        r"\+?\d{2,3}[ -]?\d{4,12}",
        ".{0,2000}",
        r"\(+[(+*?]{3}\)*",
        "(?:cat|dog){1,3}",
    ],
)
def test_a_regular_expression_that_people_write_passes(pattern: str) -> None:
    check_regex(pattern, "regex")


@pytest.mark.parametrize(
    "pattern",
    [
        "(a{1000}){1000}",
        "a{5000}",
        "(a+)+",
        "(.*)*",
        "((a*)*)*x",
        "(?:a{1,3})*",
        "(?<name>a?)+",
        "[a-z]?" * (MAX_AMBIGUITY + 1),
        "[a-z]{0,100}" * 8,
        "([a-z]?){100}",
        "([a-z]+ ?){100}",
        "(.{1,9},?){1,400}",
        r"(.|\n){0,16}" * 2,
        r"((?:.|\n)){0,300}",
        "[^](.|x){0,99}[^]",
        "a" * (MAX_REGEX_CHARACTERS + 1),
    ],
)
def test_a_regular_expression_that_would_stop_the_engine_is_refused(pattern: str) -> None:
    """All but the first six took xgrammar 0.1 s a token, or more, or did not come back."""
    with pytest.raises(InvalidRequest) as error:
        check_regex(pattern, "regex")
    assert error.value.param == "regex"


@given(pattern=st.text(alphabet="ab()[]{}|*+?\\,012^:=!<", max_size=60))
def test_any_text_has_a_cost(pattern: str) -> None:
    cost = regex_cost(pattern)
    assert cost.length >= 0
    assert regex_cost(f"(?:{pattern}|x)?").ambiguity >= 0
