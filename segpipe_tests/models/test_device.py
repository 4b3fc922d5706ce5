"""Where torch computes, and with which numbers."""

import pytest
import torch

from segpipe.errors import ConfigError
from segpipe.models.torch_model import choose_device, choose_dtype


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0"])
def test_a_gpu_that_is_there_is_taken_by_its_index(name: str) -> None:
    assert choose_device(name) == torch.device("cuda", 0)


@pytest.mark.usefixtures("one_gpu")
def test_a_gpu_too_many_is_refused_by_field() -> None:
    with pytest.raises(ConfigError, match="sees 1 CUDA devices here, so there is no cuda:1") as one:
        choose_device("cuda:1")
    assert one.value.field == "device"


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_processor_computes() -> None:
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(ConfigError, match=f"no {name}"):
            choose_device(name)


def test_automatic_numbers_are_short_on_a_gpu_and_exact_elsewhere() -> None:
    assert choose_dtype("auto", torch.device("cuda", 0)) is torch.bfloat16
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("float16", torch.device("cpu")) is torch.float16
