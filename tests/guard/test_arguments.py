from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from mcp_server.errors import InvalidInput
from mcp_server.guard.arguments import arguments_model, validated


async def sample(
    app: object,
    call: object,
    model: Annotated[str, Field(pattern="^[a-z]+$")],
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    share: float = 0.5,
    rows: list[dict[str, str | float | int | bool | None]] | None = None,
    mode: Literal["a", "b"] = "a",
    note: str | None = None,
    api_key: Annotated[str | None, Field(max_length=5)] = None,
) -> None: ...


MODEL = arguments_model(sample)


def refused(**arguments: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        validated(MODEL, {"model": "games", **arguments})
    return f"{caught.value.message} {caught.value.hint}"


def test_what_the_server_fills_in_is_not_an_argument():
    assert "app" not in MODEL.model_fields
    assert "call" in refused(call=1)


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    assert "did you mean 'limit'" in refused(limt=3)


def test_a_missing_argument_is_named():
    with pytest.raises(InvalidInput, match="model: required"):
        validated(MODEL, {})


@pytest.mark.parametrize("value", ["5", 5.5, True, None, [], float("nan"), 0, 101, 10**18])
def test_a_bound_integer_takes_nothing_but_an_integer_within_its_bounds(value):
    assert "limit" in refused(limit=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "0.5", True])
def test_a_number_is_finite_and_not_coerced(value):
    assert "share" in refused(share=value)


def test_a_whole_number_is_welcome_where_a_number_is():
    assert validated(MODEL, {"model": "games", "share": 1})["share"] == 1


def test_non_finite_numbers_inside_rows_are_refused():
    assert "rows" in refused(rows=[{"x": float("inf")}])


def test_a_json_string_is_decoded_where_an_array_is_expected():
    values = validated(MODEL, {"model": "games", "rows": '[{"x": 1, "y": "a"}]'})
    assert values["rows"] == [{"x": 1, "y": "a"}]


def test_a_json_string_stays_text_where_text_is_expected():
    assert validated(MODEL, {"model": "games", "note": "[1, 2]"})["note"] == "[1, 2]"


@pytest.mark.parametrize("text", ['[{"x": NaN}]', '[{"x": 1, "x": 2}]', "[[" * 2000, "[1,"])
def test_a_string_that_is_not_strict_json_is_not_decoded(text):
    assert "rows" in refused(rows=text)


def test_a_name_of_wrong_characters_is_refused_with_those_that_are_allowed():
    assert "^[a-z]+$" in refused(model="Churn Data!")


def test_no_value_is_echoed():
    secret = "hunter2-" + "x" * 80
    assert "hunter2" not in refused(api_key=secret)
    assert "hunter2" not in refused(mode=secret)
    assert "hunter2" not in refused(limit=secret)
    assert "hunter2" not in refused(model=secret)


@given(st.dictionaries(st.text(max_size=300), st.none() | st.integers() | st.text(max_size=300), max_size=12))
def test_any_arguments_are_accepted_or_refused_in_a_bounded_sentence(arguments):
    try:
        values = validated(MODEL, arguments)
    except InvalidInput as refusal:
        said = refusal.message
    else:
        said = ""
        assert values.keys() == MODEL.model_fields.keys()
    assert len(said) < 2_000
