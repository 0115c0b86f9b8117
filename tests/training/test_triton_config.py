"""config.pbtxt and labels.txt, read with the messages of Triton's own client."""

from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from tests.training.processes import REPOSITORY
from tests.training.runs import snapshot
from training.bundle import Publisher, with_metadata
from training.errors import UserError
from training.triton_config import write_triton_config

TYPES = {
    TensorProto.UINT8: model_config_pb2.TYPE_UINT8,
    TensorProto.FLOAT: model_config_pb2.TYPE_FP32,
    TensorProto.INT64: model_config_pb2.TYPE_INT64,
}


def bundle_content(classes: str = '["cat", "dog"]', side: int = 32) -> bytes:
    """A model with a bundle's inputs and outputs, which computes nothing."""
    graph = helper.make_graph(
        [],
        "nothing",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", side, side, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes.count('"') // 2]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        ],
    )
    return with_metadata(helper.make_model(graph), {"class_names": classes})


def publish(models: Path, content: bytes) -> list[str]:
    sentences: list[str] = []
    write_triton_config(Publisher(models, "name").publish(content), sentences.append)
    return sentences


def parsed(folder: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def check_fits(folder: Path, version: int) -> None:
    """Hold a configuration against the file that it is for, as Triton's onnxruntime backend does."""
    graph = onnx.load_model(folder / str(version) / "model.onnx", load_external_data=False).graph
    config = parsed(folder)
    assert config.platform == "onnxruntime_onnx"
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    assert not config.name
    for told, there in ((config.input, graph.input), (config.output, graph.output)):
        assert [tensor.name for tensor in told] == [value.name for value in there]
        for tensor, value in zip(told, there, strict=True):
            batch, *dimensions = value.type.tensor_type.shape.dim
            assert batch.dim_param
            assert tensor.data_type == TYPES[value.type.tensor_type.elem_type]
            assert list(tensor.dims)
            shape = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
            assert list(shape) == [dimension.dim_value for dimension in dimensions]
    assert config.output[0].label_filename == "labels.txt"
    assert len((folder / "labels.txt").read_text().splitlines()) == config.output[0].dims[0]


def test_the_model_that_ships() -> None:
    folder = REPOSITORY / "models" / "cifar10"
    check_fits(folder, 1)
    assert (folder / "labels.txt").read_text().split()[:3] == ["airplane", "automobile", "bird"]


def test_the_model_that_ships_is_up_to_date(tmp_path: Path) -> None:
    shipped = REPOSITORY / "models" / "cifar10"
    publish(tmp_path, (shipped / "1" / "model.onnx").read_bytes())
    for name in ("config.pbtxt", "labels.txt"):
        assert (tmp_path / "name" / name).read_text() == (shipped / name).read_text()


def test_it_follows_what_is_published(tmp_path: Path) -> None:
    assert publish(tmp_path, bundle_content()) == []
    check_fits(tmp_path / "name", 1)
    before = snapshot(tmp_path)
    assert publish(tmp_path, bundle_content()) == []
    assert snapshot(tmp_path).items() >= before.items()
    assert publish(tmp_path, bundle_content('["cat", "dog", "gray\\nwolf"]', side=24)) == []
    check_fits(tmp_path / "name", 3)
    assert (tmp_path / "name" / "labels.txt").read_text() == "cat\ndog\ngray wolf\n"


@pytest.mark.parametrize("name", ["config.pbtxt", "labels.txt"])
def test_what_a_person_changed_stays(tmp_path: Path, name: str) -> None:
    publish(tmp_path, bundle_content())
    path = tmp_path / "name" / name
    path.write_text(path.read_text() + "# mine\n")
    before = {name: (tmp_path / "name" / name).read_bytes() for name in ("config.pbtxt", "labels.txt")}
    (sentence,) = publish(tmp_path, bundle_content(side=24))
    assert sentence == f"{tmp_path / 'name' / 'config.pbtxt'} was made by hand and stays as it is."
    assert {name: (tmp_path / "name" / name).read_bytes() for name in before} == before


def test_what_a_person_wrote_stays_until_it_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "name" / "config.pbtxt"
    path.parent.mkdir()
    path.write_text("max_batch_size: 8\n")
    assert len(publish(tmp_path, bundle_content())) == 1
    assert path.read_text() == "max_batch_size: 8\n"
    assert not (tmp_path / "name" / "labels.txt").exists()
    path.unlink()
    assert publish(tmp_path, bundle_content()) == []
    check_fits(tmp_path / "name", 2)


def test_a_place_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "name" / "config.pbtxt").mkdir(parents=True)
    with pytest.raises(UserError, match=r"config\.pbtxt cannot be read .*; make it readable or remove it"):
        publish(tmp_path, bundle_content())
