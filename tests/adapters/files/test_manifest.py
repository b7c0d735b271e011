"""Manifests and fingerprints: equal content is equal whatever its name, other content is not."""

import json
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.manifest import differences, identity, manifest_path, read_manifest, same, write_manifest
from dynamicrag_cli.core.errors import InputError


def model(folder: Path, weights: bytes = b"weights", **files: str) -> str:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/model.safetensors").write_bytes(weights)
    for name, text in {"config": "{}", **files}.items():
        (folder / f"{name}.json").write_text(text)
    return str(folder)


def test_a_model_is_its_content_not_its_name(tmp_path: Path) -> None:
    first, second = model(tmp_path / "one"), model(tmp_path / "two")
    assert identity(first) == identity(second)
    (tmp_path / "two/inner/model.safetensors").write_bytes(b"Weights")
    assert identity(first) != identity(second)


def test_a_renamed_or_added_file_makes_another_model(tmp_path: Path) -> None:
    names = [
        identity(model(tmp_path / "a")),
        identity(model(tmp_path / "b", extra="{}")),
        identity(model(tmp_path / "c", extra="[]")),
    ]
    (tmp_path / "a/config.json").rename(tmp_path / "a/configs.json")
    assert len({*names, identity(str(tmp_path / "a"))}) == 4


@pytest.mark.parametrize("place", [0, 3_000_000 - 1])
def test_large_files_are_told_apart_by_their_ends(tmp_path: Path, place: int) -> None:
    weights = bytearray(3_000_000)
    first = identity(model(tmp_path / "one", bytes(weights)))
    weights[place] = 1
    assert identity(model(tmp_path / "two", bytes(weights))) != first


def test_names_that_are_no_paths_stand_for_themselves(tmp_path: Path) -> None:
    assert identity(None) is None
    assert identity("castorini/monot5-base-msmarco") == "castorini/monot5-base-msmarco"


def test_a_folder_of_ours_is_what_made_it(tmp_path: Path) -> None:
    """Two trainings with equal settings stand for each other, whatever the time in their manifests."""
    for name, fingerprint, seconds in (("one", {"seed": 0}, 1), ("two", {"seed": 0}, 2), ("three", {"seed": 1}, 1)):
        model(tmp_path / name)
        write_manifest(tmp_path / name, {"fingerprint": fingerprint, "seconds": seconds})
    one, two, three = (identity(str(tmp_path / name)) for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_a_manifest_stands_beside_a_file_and_inside_a_folder(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("")
    assert manifest_path(output) == tmp_path / "out.jsonl.manifest.json"
    assert manifest_path(tmp_path) == tmp_path / "manifest.json"
    write_manifest(output, {"kind": "Passage", "counts": {"in": 1}})
    found = read_manifest(output)
    assert (found["kind"], found["counts"], found["schema"]) == ("Passage", {"in": 1}, 1)
    assert {"python", "torch"} <= set(found["versions"])
    assert found["host"]["cpus"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.manifest.json"]


def test_no_manifest_is_an_empty_one_and_a_broken_one_is_an_input_error(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="not a manifest"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(["another program's"]))
    assert read_manifest(tmp_path) == {}


def test_differences_name_the_entries_that_differ() -> None:
    old = {"command": "retrieve", "options": {"top-k": 5, "index": ["a"]}, "input": None}
    new = {"command": "retrieve", "options": {"top-k": 3, "index": ["a"], "seed": 0}, "input": "x"}
    assert differences(old, new) == ["input: None -> x", "options.seed: None -> 0", "options.top-k: 5 -> 3"]
    assert differences(old, old) == []


def test_an_option_that_a_later_version_added_and_that_is_not_given_makes_no_other_run() -> None:
    old = {"command": "retrieve", "options": {"top-k": 5}}
    assert same(old, {"command": "retrieve", "options": {"top-k": 5, "timeout-s": None}})
    assert not same(old, {"command": "retrieve", "options": {"top-k": 5, "timeout-s": 0}})
    assert not same(old, {"command": "retrieve", "options": {"top-k": None}})
    assert not same(None, old)
    assert not same({}, {})
