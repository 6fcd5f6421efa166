"""The licences of all dependencies: `python tests/package/licences.py` writes `LICENSES.md`.

pip finds out what an installation would bring, without installing it; the licences are what the
packages say of themselves.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "LICENSES.md"
HEAD = """# Licences of the dependencies

keras_hourglass itself is under the [Apache License 2.0](LICENSE). Nothing of the packages below is
part of it: pip installs them beside it. The table lists what that brings on Linux with Python 3.11,
with the licence that each package states; *needed by* is empty for what every installation needs,
else it names the extras. Proprietary are only the CUDA libraries that PyTorch's default build
brings; its CPU build does without. `python tests/package/licences.py` writes this page.

The photograph in `benchmarks/figures/skier.jpg` is
[Flickr's 6795644157](https://www.flickr.com/photo.gne?id=6795644157), number 785 of COCO's
validation set, under [CC BY 2.0](https://creativecommons.org/licenses/by/2.0/); it was made smaller
and the joints were drawn.

| package | licence | needed by |
| --- | --- | --- |
"""
# Licences that packages tell in whole instead of by name, or in words of their own.
SPELLINGS = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache Software License 2.0": "Apache-2.0",
    "BSD": "BSD License",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "FreeBSD": "BSD-2-Clause",
    "ISC License (ISCL)": "ISC",
    "LicenseRef-NVIDIA-Proprietary": "NVIDIA proprietary",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "NVIDIA proprietary",
    "Other/Proprietary License": "proprietary",
    "Python Software Foundation License": "PSF-2.0",
    "PSFL": "PSF-2.0",
}
_BSD_TEXT = "Redistribution and use in source and binary forms"


def normal(name):
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(metadata):
    """The licence a package states, from pip's form of its metadata."""
    stated = metadata.get("license_expression")
    named = [
        line.rpartition(" :: ")[2]
        for line in metadata.get("classifier", ())
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    text = (metadata.get("license") or "").strip()
    short = "BSD License" if _BSD_TEXT in " ".join(text.split()) else text.partition("\n")[0]
    found = stated or " / ".join(SPELLINGS.get(name, name) for name in named) or short
    if not stated and short and len(short) < 40 and found in ("BSD License", "Other"):
        found = short
    return SPELLINGS.get(found, found) or "not stated"


def resolve(extra):
    """What an installation with an extra (or "") brings: name -> licence; and all extras there are.

    The latter from the project as it is, which an older installation of it does not know.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.json")
        target = f"{ROOT}[{extra}]" if extra else str(ROOT)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), target]
        subprocess.run(command, check=True)
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    found = {normal(one["metadata"]["name"]): one["metadata"] for one in installs}
    extras = found.pop("keras-hourglass").get("provides_extra", [])
    return {name: licence(metadata) for name, metadata in found.items()}, extras


def page(groups):
    """The page for a dict of extra -> name -> licence, `""` for no extra."""
    licences = {name: text for group in groups.values() for name, text in group.items()}
    lines = []
    for name in sorted(licences):
        extras = [extra for extra in groups if name in groups[extra]]
        lines.append(f"| {name} | {licences[name]} | {', '.join(extras) if extras[0] else ''} |\n")
    return HEAD + "".join(lines)


def listed():
    """Name -> set of the extras that need it, empty for all, as the page says."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| .+ \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return {name: set(filter(None, extras.split(", "))) for name, extras in rows if name != "---"}


if __name__ == "__main__":
    needed, extras = resolve("")
    groups = {"": needed, **{extra: resolve(extra)[0] for extra in extras}}
    PAGE.write_text(page(groups), encoding="utf-8")
