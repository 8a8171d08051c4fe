import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.knowledge.literals import moment, quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1234", 1234.0),
        ("1,234", 1234.0),
        ("5,000,000 people", 5e6),
        ("3.5e6", 3.5e6),
        ("-2.5E-1", -0.25),
        ("\N{MINUS SIGN}5", -5.0),
        (".5", 0.5),
        ("12 km", 12.0),
        ("12km", 12.0),
        (" 100 km/h ", 100.0),
        ("12 square kilometres", 12.0),
        ("37.5 °C", 37.5),
        ("90%", 90.0),
        ("3 MW", 3.0),
        ("1.5 GHz", 1.5),
        ("30 kWh", 30.0),
        ("$2.5 billion", 2.5e9),
        ("€ 5", 5.0),
        ("2 thousand US$", 2000.0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "km",
        "12,34",
        "1,2345",
        "2001-05-03",
        "12-14",
        "9/11",
        "1.2.3",
        "12 Monkeys",
        "7 Up",
        "3rd",
        "1984 (film)",
        "10 things i hate about",
        "Apollo 13",
        "1e999",
        "NaN",
        "inf",
        "5'",
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert quantity(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_python_writes_is_read(value: float) -> None:
    assert quantity(repr(value)) == value
    assert quantity(f"{value!r} km") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2001", (2001,)),
        ("2001-05", (2001, 5)),
        ("2001-05-03", (2001, 5, 3)),
        ("2001-05-03T00:00:00Z", (2001, 5, 3)),
        ("2001-05-03T23:59:59.5+02:00", (2001, 5, 3)),
        ("2001-05-03+02:00", (2001, 5, 3)),
        ("+2001-05-03T00:00:00Z", (2001, 5, 3)),
        ("2001-00-00", (2001,)),
        ("2001-05-00", (2001, 5)),
        ("-0044-03-15", (-44, 3, 15)),
        ("-13798000", (-13798000,)),
        ("2000-02-29", (2000, 2, 29)),  # 2000 is a leap year, 1900 is none
    ],
)
def test_moments(text: str, value: tuple[int, ...]) -> None:
    assert moment(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "476",
        "12345",
        "20010503",
        "2001-13",
        "1900-02-29",
        "2001-04-31",
        "2001-00-05",
        "2001-5-3",
        "May 2001",
        "2001-05-03T25",
        "2001-05-03 km",
        "x2001",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    assert moment(text) is None


@given(st.dates())
def test_every_date_is_read(date: object) -> None:
    text = str(date)
    assert moment(text) == tuple(map(int, text.split("-")))


def test_moments_sort_as_time_goes() -> None:
    texts = ["-0044-03-15", "0014", "1999-12-31", "2001", "2001-05", "2001-05-03"]
    assert sorted(set(texts), key=lambda text: moment(text) or ()) == texts
