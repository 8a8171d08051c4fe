import inspect
import pickle

import pytest

from upright import errors
from upright.errors import MissingExtra, UprightError, UserError, closest, unknown


def test_each_error_is_also_the_standard_error_it_stands_for() -> None:
    assert issubclass(UserError, UprightError)
    assert issubclass(UserError, ValueError)
    assert issubclass(MissingExtra, UserError)
    assert issubclass(MissingExtra, ImportError)


def test_missing_extra_names_the_install_command() -> None:
    assert str(MissingExtra("trl", "align")) == "trl is not installed; get it with: pip install 'upright[align]'"


def test_unknown_lists_the_choices_and_the_closest() -> None:
    error = unknown("method", "memitt", ["alphaedit", "memit"])
    assert str(error) == "unknown method 'memitt' (allowed: alphaedit, memit); did you mean 'memit'?"


def test_unknown_without_anything_near_does_not_guess() -> None:
    assert str(unknown("method", "zzz", ["memit"])) == "unknown method 'zzz' (allowed: memit)"
    assert str(unknown("method", "zzz", [])) == "unknown method 'zzz' (allowed: none)"


def test_closest_looks_past_case_and_dashes() -> None:
    assert closest("Batch_Rows", ["batch-rows", "threads"]) == "batch-rows"
    assert closest("memory", ["batch-rows", "threads"]) is None


KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.UprightError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_comes_back_from_a_worker_as_it_was(kind: type[UprightError]) -> None:
    error = kind("trl", "align") if kind is MissingExtra else kind("split: got 2; must be below 1")
    error.add_note("in shard 3")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.args, again.__notes__) == (str(error), error.args, ["in shard 3"])


def test_the_tree_is_whole() -> None:
    assert {UprightError, UserError, MissingExtra} == set(KINDS)
