import pytest
from pydantic import ValidationError

from upright.run.config import Config, RunConfig, SpeedConfig, digest, identity, speeds


class Inner(Config):
    lambda_: float = 1.0
    """Weight."""
    speed: SpeedConfig = SpeedConfig(batch_rows=2)


class Outer(RunConfig):
    model: str
    """Model."""
    inner: Inner = Inner()
    speed: SpeedConfig = SpeedConfig()


def test_a_keyword_field_goes_by_its_plain_name_outside_python() -> None:
    assert Inner(lambda_=2.0) == Inner.model_validate({"lambda": 2.0})
    assert Inner(lambda_=2.0).model_dump(by_alias=True)["lambda"] == 2.0


def test_configs_are_frozen_and_closed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().lambda_ = 3.0
    with pytest.raises(ValidationError, match="Extra inputs"):
        Inner.model_validate({"lamda": 1.0})


def test_field_docstrings_are_the_help() -> None:
    assert Inner.model_fields["lambda_"].description == "Weight."


def test_identity_leaves_out_speed_and_place_at_every_depth() -> None:
    assert identity(Outer(model="m")) == {"seed": 0, "model": "m", "inner": {"lambda": 1.0}}


@pytest.mark.parametrize(
    "same",
    [
        {"out": "elsewhere"},
        {"overwrite": True},
        {"speed": {"batch_rows": 99}},
        {"inner": {"lambda": 1.0, "speed": {"threads": 3}}},
    ],
)
def test_what_changes_no_result_changes_no_digest(same: dict[str, object]) -> None:
    assert digest(Outer.model_validate({"model": "m", **same}), "edit") == digest(Outer(model="m"), "edit")


@pytest.mark.parametrize("other", [{"seed": 1}, {"model": "n"}, {"inner": {"lambda": 1.5}}])
def test_what_changes_a_result_changes_the_digest(other: dict[str, object]) -> None:
    assert digest(Outer.model_validate({"model": "m", **other}), "edit") != digest(Outer(model="m"), "edit")


def test_two_verbs_never_share_a_digest() -> None:
    assert digest(Outer(model="m"), "edit") != digest(Outer(model="m"), "align")


def test_speeds_finds_every_speed_config() -> None:
    assert [speed.batch_rows for speed in speeds(Outer(model="m"))] == [2, 16]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_devices(device: str) -> None:
    assert SpeedConfig(device=device).device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", ""])
def test_no_other_devices(device: str) -> None:
    with pytest.raises(ValidationError, match="must be auto, cpu, cuda, cuda:N or mps"):
        SpeedConfig(device=device)
