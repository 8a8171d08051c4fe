"""Edited models on disk: a Hugging Face folder that remembers its base and its patches, in order.

Removing the last patch loads the base again and replays the others, so nothing depends on subtracting floats.
"""

import shutil
from pathlib import Path

from upright.editing.edit import Edit
from upright.errors import UserError
from upright.models.causal import CausalModel, load, save
from upright.run.files import read_json, write_json

STACK, PATCHES = "upright-edits.json", "upright-patches"


def write(model: CausalModel, folder: Path, source: str, edit: Edit, overwrite: bool = False) -> None:
    """Save an edited model; `source` is what the model was loaded from, itself perhaps such a folder.

    Raises:
        UserError: if the folder holds something else, or an edited model and `overwrite` is off.
    """
    local = Path(source)
    base, earlier = read(local) if (local / STACK).is_file() else (source, [])
    base = str(Path(base).resolve()) if Path(base).is_dir() else base
    _make_room(folder, overwrite)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / PATCHES).mkdir(parents=True)
    names = []
    for number, patch in enumerate([*earlier, edit]):
        names.append(f"{number:04}.safetensors")
        patch.save(draft / PATCHES / names[-1])
    _save(model, draft, base, names)
    if folder.exists():
        shutil.rmtree(folder)
    draft.rename(folder)


def read(folder: Path) -> tuple[str, list[Edit]]:
    """The base and the patches of an edited model, first to last.

    Raises:
        UserError: if the folder is not such a model.
    """
    if not (folder / STACK).is_file():
        raise UserError(
            f"{folder}: holds no edited model; undo works on what `upright edit --save model` or "
            "`upright edit apply` wrote (a patch alone changes no model)"
        )
    listed = read_json(folder / STACK)
    return listed["base"], [Edit.load(folder / PATCHES / name) for name in listed["patches"]]


def undo(folder: Path) -> int:
    """Take the last patch out; how many remain."""
    base, patches = read(folder)
    if not patches:
        raise UserError(f"{folder}: no edit is left to undo")
    model = load(base, "cpu")
    for patch in patches[:-1]:
        patch.merge(model)
    names = [f"{number:04}.safetensors" for number in range(len(patches) - 1)]
    _save(model, folder, base, names)
    (folder / PATCHES / f"{len(patches) - 1:04}.safetensors").unlink()
    return len(names)


def _save(model: CausalModel, folder: Path, base: str, names: list[str]) -> None:
    save(model.model, model.tokenizer, folder)
    write_json(folder / STACK, {"base": base, "patches": names})


def _make_room(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / STACK).is_file():
        raise UserError(f"--out {folder}: holds files that are no edited model; choose another folder")
    if not overwrite:
        raise UserError(f"--out {folder}: holds an edited model; choose another folder or add --overwrite")
