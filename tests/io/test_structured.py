"""Structured text: encodings, JSON's odd corners, identifiers in every spelling."""

import json
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from keras_hourglass.errors import DataError
from keras_hourglass.io.structured import (
    Ids,
    as_flag,
    as_number,
    decode,
    plain_id,
    read_json,
    shorten,
)

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_in_any_unicode_encoding(tmp_path, encoding):
    content = {"file_name": "Größe 肩.jpg", "number": 1.5, "missing": None}
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_json(path) == content
    assert decode("[]".encode(encoding)) == "[]"


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "truncated"),
        (b"{", "Expecting"),
        (b"\xe9t\xe9", "utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        (b"1" * 5000, "limit"),
        (b'{"a": 1} x', "Extra data"),
    ],
)
def test_what_is_no_json_is_named_in_one_line(tmp_path, data, reason):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match=reason) as caught:
        read_json(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 300 + len(str(path))


def test_a_folder_and_nothing_are_no_file(tmp_path):
    with pytest.raises(DataError, match="which is none"):
        read_json(tmp_path)
    with pytest.raises(DataError, match="Check the path"):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize(
    "value, wanted",
    [
        (0, False), (1, True), (2, True), (0.0, False), (1.0, True), (True, True), (None, False),
        ("0", False), ("1", True), ("0.0", False), (" false ", False), ("True", True),
        ("", False), ("crowd", True), ([], False),
    ],
)  # fmt: skip
def test_flags(value, wanted):
    assert as_flag(value) is wanted


def test_numbers():
    assert as_number("1e3") == 1000 and as_number(True) == 1 and as_number(" 7 ") == 7
    assert as_number(-(10**400)) == -math.inf
    assert all(math.isnan(as_number(value)) for value in (None, "", "x", [], {}, "nan", math.nan))


def test_identifiers():
    ids = Ids([0, "1", 2.0, None, "0007", "cam1/1.jpg", True, 2, [3], "08", 8])
    assert ids.find("0") == ids.find(0.0) == ids.find("0.0") == [0]
    assert ids.find(1) == [1] and ids.find("2") == ids.find(2) == [2, 7]
    assert ids.find("7") == ids.find("007") == [4]
    assert ids.find(8) == [10] and ids.find("08") == [9]  # each as it is written
    assert ids.find("cam1/1.jpg") == [5] and ids.find(" cam1/1.jpg") == [5]
    assert ids.find(None) == ids.find(True) == ids.find([3]) == ids.find("x") == ids.find(3) == []
    assert ids.twins == {2: [2, 7]}


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@hypothesis.given(anything)
def test_any_value(value):
    assert isinstance(as_number(value), float) and isinstance(as_flag(value), bool)
    assert plain_id(value) is None or Ids([value]).find(value) == [0]
    assert len(shorten(value)) <= 60 and "\n" not in shorten(value)


@hypothesis.given(st.integers(-(10**15), 10**15))
def test_an_integer_is_found_however_it_is_written(number):
    ids = Ids([number])
    for text in (str(number), f" {number}", float(number), f"{number}.0"):
        assert ids.find(text) == [0]
