"""Structured text: encodings, JSON's odd corners, identifiers in every spelling."""

import json
import math
import os
import signal

import hypothesis
import pytest
from fuzz_seeds import READERS
from hypothesis import strategies as st

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.structured import (
    Ids,
    as_flag,
    as_number,
    boundary,
    check_depth,
    decode,
    format_yaml,
    parse_json,
    parse_yaml,
    plain_id,
    read_csv,
    read_json,
    read_yaml,
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


def test_long_numbers_and_depth_of_json():
    assert parse_json("[123456789012345678, 1234567890123456789]", "a") == [
        123456789012345678, 1234567890123456789.0
    ]  # fmt: skip
    with pytest.raises(DataError, match="401 digits"):
        parse_json("1" * 401, "a")
    deep = parse_json("[" * 50 + "]" * 50, "a")
    assert check_depth(deep) is deep
    with pytest.raises(DataError, match="a: nested too deeply"):
        parse_json('{"a":' * 52 + "1" + "}" * 52, "a")


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("a: 1e-4", "1e-4"), ("a: 1.0e-4", 1e-4), ("a: 1.5e+2", 150.0),
        ("a: .5", 0.5), ("a: 5.", 5.0),
        ("a: 010", 10), ("a: 1_000", 1000), ("a: 0x1F", 31), ("a: -3", -3), ("a: 1:30", "1:30"),
        ("a: 2024-13-45", "2024-13-45"), ("a: 2024-05-01", "2024-05-01"), ("a: '1e-4'", "1e-4"),
        ("a: yes", True), ("a: Off", False), ("a: ~", None), ("a:", None), ("a: .inf", math.inf),
        ("a: !!str 5", "5"), ("a: !!float 5", 5.0), ("a: e5", "e5"), ("a: set #2", "set"),
        ("a: [x, {b: 1.0e+1}]", ["x", {"b": 10.0}]), ("a: lsp:dir#1-800", "lsp:dir#1-800"),
    ],
)  # fmt: skip
def test_values_of_yaml_are_what_people_mean(text, wanted):
    found = parse_yaml(text, "r.yaml")["a"]
    assert found == wanted and type(found) is type(wanted)
    assert parse_yaml(format_yaml({"a": wanted}), "r.yaml") == {"a": wanted}


def test_texts_that_look_like_numbers_stay_texts():
    values = {"a": ["010", "089", "1e-3", "1.5", "0x1F", "yes", "~", "2024-05-01", "1:30", "", "-"]}
    values["b"] = values["a"]  # the same list, written out twice
    assert parse_yaml(format_yaml(values), "r.yaml") == values


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a: &x [1]\nb: *x", "refers to another"),
        ("a: &x [*x]", "refers to another"),
        ("a: {<<: {b: 1}}", "refers to another"),
        ("a: 1\nb: 2\na: 3", "the key 'a' stands twice"),
        ("a: {1: x, 01: y}", "the key '1' stands twice"),
        ("? [a]\n: 1", "a key must be text"),
        ("~: 1", "a key must be text"),
        ("a: !!int x", "'x' is no int"),
        ("a: !!bool x", "'x' is no bool"),
        ("a: !!timestamp x", "tag .* is not read"),
        ("a: !!python/object/apply:os.system [ls]", "tag .* is not read"),
        ("a: 0b_", "invalid literal"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("[" * 10_000, "nest"),
        ("a: " + "{b: " * 60 + "1" + "}" * 60, "nested too deeply"),
        ("a: " + "1" * 5000, "5000 digits"),
        ("a: [1", "expected"),
        ("x" * 250_001, "at most 250,000 characters"),
    ],
)
def test_what_yaml_may_not_say(text, reason):
    with pytest.raises(DataError, match=reason) as caught:
        parse_yaml(text, "r.yaml")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_yaml_in_any_unicode_encoding(tmp_path):
    path = tmp_path / "a.yaml"
    for encoding in ENCODINGS:
        path.write_bytes("name: Größe".encode(encoding))
        assert read_yaml(path) == {"name": "Größe"}
    assert parse_yaml("", "a") is None


def test_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('a,"b,c"\n,\n1\n'.encode("utf-16"))
    assert read_csv(path) == [["a", "b,c"], ["1"]]
    path.write_text("x" * 200_000)
    with pytest.raises(DataError, match="field larger than field limit"):
        read_csv(path)


def test_whatever_fails_within_the_boundary_is_one_line():
    for fails, reason in (
        (lambda: [][1], "IndexError: list index out of range"),
        (lambda: {}["a" * 1000], "KeyError: 'aaa"),
        (lambda: len(None), "TypeError"),
        (lambda: float(10**400), "OverflowError"),
    ):
        with pytest.raises(DataError, match=f"Cannot read the list a.txt: {reason}") as caught:
            with boundary("a.txt", "list"):
                fails()
        assert len(str(caught.value)) < 300
    # No fault of the file.
    for error in (MemoryError, KeyboardInterrupt):
        with pytest.raises(error), boundary("a.txt", "list"):
            raise error
    with pytest.raises(OSError, match="No space"), boundary("a.txt", "list"):
        raise OSError(28, "No space left on device", "b.txt")


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


@pytest.mark.parametrize("name", sorted(READERS))
def test_no_reader_waits_for_a_pipe_or_a_device(tmp_path, name):
    """One that is never written to would stop the program, one without an end the machine."""
    suffix, _, reader = READERS[name]
    made = tmp_path / f"x{suffix}"
    for make in (lambda: os.mkfifo(made), lambda: made.symlink_to("/dev/zero")):
        make()
        signal.alarm(30)
        try:
            with pytest.raises(UserError) as caught:
                reader(made, tmp_path)
            assert "\n" not in str(caught.value)
        finally:
            signal.alarm(0)
        for path in tmp_path.rglob("*"):
            if path.is_fifo() or path.is_symlink():
                path.unlink()
