"""What the names of folders and files become: lists on a terminal, and names of models."""

from __future__ import annotations

import unicodedata

import pytest

from serving.setting_values import MODEL_NAME
from training.folder.names import class_name, dataset_name, listed, shown


def test_lists() -> None:
    assert listed(["a"]) == '"a"'
    assert listed(["a", "b"]) == '"a" and "b"'
    assert listed(["a", "b", "c"]) == '"a", "b" and "c"'
    assert listed(list("abcdef")) == '"a", "b", "c", "d", "e" and 1 other'


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("flowers", "flowers"),
        ("Blumen & Gräser", "Blumen-Graser"),
        ("my photos (2024)", "my-photos-2024"),
        ("a_b.c", "a_b.c"),
        ("-x-", "x"),
        ("..", "folder"),
        ("cifar10", "cifar10-folder"),
        ("synthetic", "synthetic-folder"),
        ("花", "folder-b0a1ea"),
        ("мои фото 2024", "2024-d376b6"),
        ("cifar10 кошки", "cifar10-670deb"),
        ("Straße", "Strae-58a377"),
        ("⑽" * 85, "10-" * 39 + "10"),
        ("a" * 300, "a" * 120),
        ("花" + "a" * 300, "a" * 113 + "-64d6e8"),
    ],
)
def test_a_name_that_can_be_a_models(folder: str, name: str) -> None:
    """The digits are the first of what `printf 花 | sha256sum` says."""
    found = dataset_name(folder)
    assert found == name
    assert MODEL_NAME.fullmatch(found)


def test_other_names_are_other_models() -> None:
    folders = ["цветы", "машины", "花", "狐", "ภาพ", "صور", "мои фото 2024", "ваши фото 2024", "פרחים", "२०२४"]
    assert len({dataset_name(folder) for folder in folders}) == len(folders)


@pytest.mark.parametrize("folder", ["été", "한국어", "йога"])
def test_a_decomposed_name_is_the_same_model(folder: str) -> None:
    assert dataset_name(unicodedata.normalize("NFD", folder)) == dataset_name(folder)


@pytest.mark.parametrize("control", ["\x1b", "\n", "\u2028", "\u202e", "\u2066"])
def test_what_a_terminal_would_obey(control: str) -> None:
    text = f"cat{control}gnp.jpg"
    assert shown(text) == text.encode("unicode_escape").decode()
    with pytest.raises(ValueError, match="holds a control character"):
        class_name(text)


@pytest.mark.parametrize("text", ["עברית\u200f!", "👨\u200d👩\u200d👧", "می\u200cرود", "صور"])
def test_what_languages_need_is_kept(text: str) -> None:
    assert shown(text) == class_name(text) == text
