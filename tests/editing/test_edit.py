"""An edit as a thing: applied, saved, stacked, undone to the bit, refused where it does not belong."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from tests.tiny import world_model, write_model
from upright.editing import stack
from upright.editing.edit import Edit, Update, tensor_hash
from upright.errors import UserError
from upright.models.causal import CausalModel, load


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def written(model: CausalModel, seed: int, layers: tuple[int, ...] = (0, 2)) -> Edit:
    """An applied edit of low rank in some layers."""
    edit = Edit.start(model, solver={"type": "test"})
    for layer in layers:
        edit.update(model, layer).add(drawn(32, 2, seed=seed + layer), drawn(48, 2, seed=seed + 10 + layer))
    edit.apply(model)
    return edit


def test_an_update_is_the_sum_of_its_parts() -> None:
    """Rank 2 + 17 of (32, 48) passes 32 * 48 / 80 = 19.2 with one more: then the matrix itself is smaller."""
    update, total = Update((32, 48)), torch.zeros(32, 48)
    for n in (2, 17, 1):
        left, right = drawn(32, n, seed=n), drawn(48, n, seed=n + 1)
        update.add(left, right)
        total += left @ right.T
        assert_close(update.matrix(), total)
    assert len(update.factors) == 0
    update.add(drawn(32, 1, seed=5), drawn(48, 1, seed=6))
    assert_close(update.matrix(), total + drawn(32, 1, seed=5) @ drawn(48, 1, seed=6).T)


def test_apply_is_base_plus_change_and_may_be_repeated() -> None:
    model = world_model()
    base = model.down(0).get_parameter("weight").clone()
    edit = written(model, 1)
    once = model.digest()
    assert_close(model.down(0).get_parameter("weight"), base + edit.updates[0].matrix(), rtol=0, atol=0)
    edit.apply(model)
    assert model.digest() == once
    assert edit.applied


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_undo_gives_the_very_bits_back(dtype: torch.dtype) -> None:
    """(W + D) - D is not W in floating point; a restored copy is."""
    model = world_model()
    model.model.to(dtype)  # type: ignore[arg-type]
    before = model.digest()
    edit = written(model, 1)
    assert model.digest() != before
    edit.undo(model)
    assert model.digest() == before
    assert not edit.applied


def test_a_merged_edit_can_not_be_undone() -> None:
    model = world_model()
    edit = written(model, 1)
    changed = model.digest()
    edit.merge(model)
    edit.undo(model)
    assert model.digest() == changed


def test_a_patch_written_and_read_changes_the_same_bits(tmp_path: Path) -> None:
    model = world_model()
    edit = written(model, 1)
    edit.updates[2].set_dense(drawn(32, 48, seed=9))
    edit.apply(model)
    edit.save(tmp_path / "patch.safetensors")
    other = world_model()
    read = Edit.load(tmp_path)  # the folder that holds it is as good
    read.apply(other)
    assert other.digest() == model.digest()
    assert read.header == edit.header
    read.undo(other)
    assert other.digest() == world_model().digest()


def test_a_patch_for_another_model_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    written(world_model(), 1).save(tmp_path / "patch.safetensors")
    other = world_model(seed=1)
    before = other.digest()
    with pytest.raises(UserError, match=r"layer 0: the weights are not those this patch was made for .tiny.; apply"):
        Edit.load(tmp_path).apply(other)
    assert other.digest() == before


def test_a_patch_is_refused_as_a_whole(tmp_path: Path) -> None:
    """Layer 0 fits, layer 2 does not: layer 0 stays as it was, too."""
    written(world_model(), 1).save(tmp_path / "patch.safetensors")
    other = world_model()
    with torch.no_grad():
        other.down(2).get_parameter("weight")[0, 0] += 1
    before = other.digest()
    with pytest.raises(UserError, match="layer 2"):
        Edit.load(tmp_path).apply(other)
    assert other.digest() == before


def test_patches_apply_only_in_their_order(tmp_path: Path) -> None:
    model = world_model()
    for number in (1, 2):
        written(model, number).save(tmp_path / f"{number}.safetensors")
    with pytest.raises(UserError, match="in the order they were made"):
        Edit.load(tmp_path / "2.safetensors").apply(world_model())


def test_what_is_no_patch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such patch; give patch.safetensors or the run folder"):
        Edit.load(tmp_path)
    path = tmp_path / "patch.safetensors"
    path.write_bytes(b"junk")
    with pytest.raises(UserError, match="not a patch written by upright"):
        Edit.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not a patch written by upright"):
        Edit.load(path)
    save_file({"0.dense": torch.zeros(1, 1)}, path, metadata={"upright": json.dumps({"format": 99})})
    with pytest.raises(UserError, match="patch format 99; this version reads format 1"):
        Edit.load(path)


def test_the_hash_sees_type_shape_and_values() -> None:
    zeros = torch.zeros(2, 3)
    same = {tensor_hash(zeros), tensor_hash(zeros.clone()), tensor_hash(torch.zeros(3, 2).T)}
    others = {tensor_hash(torch.zeros(3, 2)), tensor_hash(zeros.half()), tensor_hash(zeros + 1)}
    assert len(same) == 1
    assert len(same | others) == 4


# --- edited models on disk ---


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def three(tmp_path: Path, base: Path) -> list[Path]:
    """Base and three folders, each with one more patch than the one before."""
    folders = [base]
    for number in (1, 2, 3):
        model = load(str(folders[-1]), "cpu")
        edit = written(model, 10 * number)
        folders.append(tmp_path / f"edited-{number}")
        stack.write(model, folders[-1], str(folders[-2]), edit)
    return folders


def test_three_patches_come_off_one_by_one(three: list[Path]) -> None:
    """After each undo the folder is the bits of the one before; after all, those of the base."""
    top = three[3]
    assert not equal(weights(top), weights(three[2]))
    for left in (2, 1, 0):
        assert stack.undo(top) == left
        assert equal(weights(top), weights(three[left]))
        assert load(str(top), "cpu").digest() == load(str(three[left]), "cpu").digest()
    with pytest.raises(UserError, match="no edit is left to undo"):
        stack.undo(top)


def test_a_stack_names_its_base_and_holds_every_patch(three: list[Path]) -> None:
    source, patches = stack.read(three[3])
    assert source == str(three[0])
    model = load(source, "cpu")
    for patch in patches:
        patch.merge(model)
    assert model.digest() == load(str(three[3]), "cpu").digest()


def test_a_stack_is_found_from_any_folder(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base given as a relative path is remembered as an absolute one."""
    monkeypatch.chdir(base.parent)
    model = load(base.name, "cpu")
    stack.write(model, tmp_path / "edited", base.name, written(model, 1))
    monkeypatch.chdir(tmp_path)
    assert stack.undo(tmp_path / "edited") == 0


def test_undo_refuses_a_base_that_has_changed(three: list[Path], tmp_path: Path) -> None:
    described = json.loads((three[3] / stack.STACK).read_text())
    other = write_model(tmp_path / "other", seed=5)
    (three[3] / stack.STACK).write_text(json.dumps({**described, "base": str(other)}))
    before = weights(three[3])
    with pytest.raises(UserError, match="not those this patch was made for"):
        stack.undo(three[3])
    assert equal(weights(three[3]), before)


def test_undo_refuses_what_is_no_edited_model(base: Path) -> None:
    with pytest.raises(UserError, match=r"holds no edited model; undo works on what .*a patch alone changes no model"):
        stack.undo(base)


def test_an_edited_model_replaces_nothing_unasked(three: list[Path], tmp_path: Path) -> None:
    model = load(str(three[0]), "cpu")
    edit = written(model, 7)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    with pytest.raises(UserError, match="holds files that are no edited model; choose another folder"):
        stack.write(model, foreign, str(three[0]), edit, overwrite=True)
    with pytest.raises(UserError, match="holds an edited model; choose another folder or add --overwrite"):
        stack.write(model, three[1], str(three[0]), edit)
    stack.write(model, three[1], str(three[0]), edit, overwrite=True)
    assert load(str(three[1]), "cpu").digest() == model.digest()
