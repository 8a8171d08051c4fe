import pytest

from upright.run.measures.names import names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He met Ann Lee and Bo.", ["Ann Lee", "Bo"]),
        ("Ann Lee met him.", ["Lee"]),  # the first word of a sentence proves nothing
        ('It rained. Ann left. "Bo stayed."', []),
        ("Seen by dr. Mary K. Ott-Lee today", ["Mary K. Ott-Lee"]),
        ("Mr. Jones has pain.\nMrs Jones has none.", ["Jones", "Jones"]),
        ("on Monday in May he took Aspirin", ["Aspirin"]),
        ("ALLERGIES: none. NKDA", []),
        ("", []),
        ("He was seen.   Ann left", []),
    ],
)
def test_names(text: str, expected: list[str]) -> None:
    found = names(text)
    assert [name.value for name in found] == expected
    assert all(text[name.start : name.end] == name.value for name in found)
