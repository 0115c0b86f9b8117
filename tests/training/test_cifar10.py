"""The binary version: what is read is what the files hold, and damage is told in a sentence."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.training.processes import RunCommand
from training import cifar10
from training.errors import UserError
from training.named_datasets import load

NAMES = ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin")
FILES = (*NAMES, "test_batch.bin")
RECORDS = 10_000
RECORD = 3073


def write_files(data_dir: Path) -> Path:
    """Files of the right size: zeros but for the first and last record of each."""
    folder = data_dir / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate(FILES):
        records = np.zeros((RECORDS, RECORD), np.uint8)
        records[0] = [number, *np.arange(3072) % 251]
        records[-1, 0] = 9
        records.tofile(folder / name)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("whole")
    write_files(data_dir)
    return data_dir


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """The folder of a copy whose files are links to the whole ones, to be replaced one at a time."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in FILES:
        (folder / name).symlink_to(whole / "cifar-10-batches-bin" / name)
    return folder


def test_reads_every_record_in_order(whole: Path) -> None:
    dataset = load("cifar10", whole)
    assert dataset.name == "cifar10"
    assert dataset.class_names[0] == "airplane"
    assert dataset.class_names[9] == "truck"
    assert (len(dataset.train), len(dataset.test)) == (50_000, 10_000)
    assert dataset.train.labels[::RECORDS].tolist() == [0, 1, 2, 3, 4]
    assert dataset.test.labels[[0, -1]].tolist() == [5, 9]


def test_pixels_are_three_planes_row_by_row(whole: Path) -> None:
    picture = load("cifar10", whole).train.images[RECORDS].numpy()
    assert picture.dtype == np.uint8
    assert picture.shape == (3, 32, 32)
    for plane, row, column in [(0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 31)]:
        assert picture[plane, row, column] == (plane * 1024 + row * 32 + column) % 251


def test_fingerprint_is_that_of_the_files(whole: Path) -> None:
    dataset = load("cifar10", whole)
    for split, names in [(dataset.train, NAMES), (dataset.test, FILES[-1:])]:
        content = b"".join((whole / "cifar-10-batches-bin" / name).read_bytes() for name in names)
        assert split.sha256() == hashlib.sha256(content).hexdigest()


def test_real_pictures_have_each_class_as_often(cifar10_dir: Path) -> None:
    dataset = load("cifar10", cifar10_dir)
    assert np.bincount(dataset.train.labels).tolist() == [5_000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [1_000] * 10


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
def test_missing_file_is_named(damaged: Path, name: str) -> None:
    (damaged / name).unlink()
    with pytest.raises(UserError, match=rf"{name} is missing; .*fetch"):
        load("cifar10", damaged.parent)


@pytest.mark.parametrize("size", [0, RECORD * RECORDS - 1, RECORD * RECORDS + 1])
def test_wrong_size_is_named(damaged: Path, size: int) -> None:
    (damaged / "data_batch_5.bin").unlink()
    (damaged / "data_batch_5.bin").write_bytes(bytes(size))
    with pytest.raises(UserError, match=rf"data_batch_5.bin has {size:,} bytes where .* has 30,730,000"):
        load("cifar10", damaged.parent)


def test_label_over_nine_is_refused(damaged: Path) -> None:
    records = np.zeros((RECORDS, RECORD), np.uint8)
    records[1234, 0] = 10
    (damaged / "test_batch.bin").unlink()
    records.tofile(damaged / "test_batch.bin")
    with pytest.raises(UserError, match=r"test_batch.bin has a label 10 where"):
        load("cifar10", damaged.parent)


def cut(path: Path) -> None:
    os.truncate(path, RECORD * RECORDS - 1)


def mislabel(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1234 * RECORD)
        file.write(b"\x0a")


@pytest.mark.parametrize("flag", ["", "--resume", "--overwrite"])
@pytest.mark.parametrize(
    ("damage", "sentence"), [(Path.unlink, "is missing"), (cut, "has 30,729,999 bytes"), (mislabel, "has a label 10")]
)
def test_training_on_damaged_files_is_one_sentence_and_no_run(
    run: RunCommand, damaged: Path, tmp_path: Path, damage: Callable[[Path], None], sentence: str, flag: str
) -> None:
    name = "data_batch_4.bin"
    whole_file = (damaged / name).resolve()
    (damaged / name).unlink()
    shutil.copyfile(whole_file, damaged / name)
    damage(damaged / name)
    told = run("train", "--run-dir", tmp_path / "run", "--data-dir", damaged.parent, *flag.split()).refusal()
    assert f"{damaged / name} {sentence}" in told
    assert "python -m training fetch" in told
    assert [path for path in tmp_path.glob("run/*") if not path.name.startswith(".")] == []


def test_empty_directory_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no cifar-10-batches-bin; run `python -m training fetch`"):
        load("cifar10", tmp_path)


def test_unknown_data_set_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no data set called 'mnist'; choose one of: cifar10, synthetic"):
        load("mnist", tmp_path)


def test_directory_is_the_flag_then_the_variable_then_data(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    assert cifar10.directory(None) == Path("data")
    monkeypatch.setenv("CIFAR10_DIR", os.fspath(whole))
    assert cifar10.directory(None) == whole
    assert cifar10.directory(tmp_path) == tmp_path


def test_the_folder_of_the_files_itself_is_understood(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cifar10.directory(whole / "cifar-10-batches-bin") == whole
    monkeypatch.chdir(whole / "cifar-10-batches-bin")
    assert cifar10.directory(Path(".")) == whole


def test_a_home_that_nobody_has() -> None:
    assert cifar10.directory(Path("~nobody-at-all/data")) == Path("~nobody-at-all/data")
