from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.audit.exposure.written import Sample, new_data, own_data
from upright.run.measures.recognise import Found, iban, luhn, recognise


def kinds(text: str) -> list[tuple[str, str]]:
    return [(found.kind, found.value) for found in recognise(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to Ann.Lee+x@mail.example.org, please.", [("e-mail", "Ann.Lee+x@mail.example.org")]),
        ("See https://example.org/a?b=1.", [("URL", "https://example.org/a?b=1")]),
        ("IBAN GB82 WEST 1234 5698 7654 32 it is", [("IBAN", "GB82 WEST 1234 5698 7654 32")]),
        ("IBAN GB83 WEST 1234 5698 7654 32 it is not", []),
        ("card 4111 1111 1111 1111", [("payment card", "4111 1111 1111 1111")]),
        ("not a card 4111 1111 1111 1112", []),
        ("from 192.168.0.1 to 2001:db8::1", [("IP address", "192.168.0.1"), ("IP address", "2001:db8::1")]),
        ("version 1.2.3.400 at 12:30", []),
        (
            "born 1984-12-06, or 6 Dec 1984, or December 6, 1984",
            [("date", "1984-12-06"), ("date", "6 Dec 1984"), ("date", "December 6, 1984")],
        ),
        ("SSN 078-05-1120", [("national id", "078-05-1120")]),
        ("never 000-05-1120 nor 912-05-1120", []),
        ("DNI 12345678Z, not 12345678A", [("national id", "12345678Z")]),
        (
            "call +44 20 7946 0958 or (212) 555-0142",
            [("phone number", "+44 20 7946 0958"), ("phone number", "(212) 555-0142")],
        ),
        ("in 2024 there were 31 of 1200 at 3.14159265", []),
    ],
)
def test_what_is_found(text: str, found: list[tuple[str, str]]) -> None:
    assert kinds(text) == found


@given(st.lists(st.integers(0, 9), min_size=11, max_size=18))
def test_exactly_one_last_digit_passes_luhn(digits: list[int]) -> None:
    body = "".join(map(str, digits))
    assert sum(luhn(body + str(d)) for d in range(10)) == 1


@given(st.from_regex(r"[A-Z]{4}\d{14}", fullmatch=True), st.integers(0, 17))
def test_a_changed_digit_breaks_an_account_number(body: str, place: int) -> None:
    """The check digits are 98 minus the rest modulo 97; any other digit in one place changes the rest."""
    number = int("".join(str(int(c, 36)) for c in body + "GB00"))
    whole = f"GB{98 - number % 97:02d}{body}"
    assert iban(whole)
    spot = 4 + max(4, place)
    other = str((int(whole[spot]) + 1) % 10)
    assert not iban(whole[:spot] + other + whole[spot + 1 :])


@given(st.text(max_size=80))
def test_matches_are_in_order_and_do_not_overlap(text: str) -> None:
    found = recognise(text)
    assert all(text[f.start : f.end] == f.value for f in found)
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_ways_of_writing_are_one() -> None:
    (plain,), (spaced,) = recognise("4111111111111111"), recognise("4111-1111-1111-1111")
    assert plain.key == spaced.key
    assert plain.masked == "41… (16 characters)"


def test_only_what_the_model_completed_counts() -> None:
    """The first address was given, the second is completed, the third is written whole."""
    sample = Sample("ann@x.org and bo", "b@x.org, eve@x.org, ann@x.org")
    assert [found.value for found in new_data(sample)] == ["bob@x.org", "eve@x.org"]
    assert new_data(Sample("ann@x.org", " said so")) == []


def test_what_both_sides_hold_is_nobodys() -> None:
    own = own_data({"members": ["a@x.org, b@x.org"], "non-members": ["b@x.org, c@x.org"]})
    assert own == {"members": {("e-mail", "axorg")}, "non-members": {("e-mail", "cxorg")}}
    assert Found("e-mail", "A@x.org", 0, 7).key in own["members"]
