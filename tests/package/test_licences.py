"""Every dependency is on the page of licences."""

import importlib.metadata
import sys

import pytest
from licences import licence, listed, normal

requirements = pytest.importorskip("packaging.requirements")


def _needed(package, extra):
    """Names and extras of what a package needs here, with an extra or `""`."""
    try:
        stated = importlib.metadata.requires(package) or ()
    except importlib.metadata.PackageNotFoundError:
        return
    for text in stated:
        requirement = requirements.Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield normal(requirement.name), requirement.extras


def _extras():
    return ("", *importlib.metadata.metadata("keras_hourglass").get_all("Provides-Extra"))


@pytest.mark.parametrize("extra", _extras())
def test_each_requirement_is_listed_where_it_is_needed(extra):
    rows = listed()
    for name, _ in _needed("keras_hourglass", extra):
        assert name in rows, f"run python tests/package/licences.py: {name} is missing"
        assert not rows[name] or extra in rows[name], f"{name} is not listed for {extra!r}"


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11), reason="as the page says"
)
def test_what_requirements_bring_is_listed():
    rows, seen = listed(), set()
    waiting = [("keras_hourglass", extra) for extra in _extras()]
    while waiting:
        package, extra = waiting.pop()
        for name, extras in _needed(package, extra):
            for wanted in ("", *extras):
                if (name, wanted) not in seen:
                    seen.add((name, wanted))
                    waiting.append((name, wanted))
    missing = sorted({name for name, _ in seen} - set(rows))
    assert len(seen) > 30 and not missing, "run python tests/package/licences.py"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license_expression": "MIT AND Zlib", "license": "MIT"}, "MIT AND Zlib"),
        ({"classifier": ["License :: OSI Approved :: Apache Software License"]}, "Apache-2.0"),
        ({"license": "BSD-3-Clause", "classifier": ["License :: OSI Approved :: BSD License"]},
         "BSD-3-Clause"),
        ({"license": "Copyright 2015\n\nRedistribution and use in source\nand binary forms, with"},
         "BSD License"),
        ({"classifier": ["License :: OSI Approved"], "license": "MIT License"}, "MIT"),
        ({"classifier": ["Topic :: Software"]}, "not stated"),
    ],
)  # fmt: skip
def test_licence_of_metadata(metadata, expected):
    assert licence(metadata) == expected
