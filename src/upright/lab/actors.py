"""Lab models that drive a traversal: `upright lab build traveller` trains one from the words of a world's relations."""

from upright.errors import UserError
from upright.lab.config import Build
from upright.traversal import learner
from upright.traversal.config import Learn, Training

WORLDS = {"traveller": "atlas"}
"""What each actor travels in."""
TAKEN = {"name", "out", "overwrite", "seed", "save_every", "speed"}


def build(config: Build) -> learner.Result:
    """Train an actor as the shipped one was.

    Raises:
        UserError: for settings of models that know facts.
    """
    assert config.name is not None
    if other := config.model_fields_set - TAKEN:
        raise UserError(
            f"lab build {config.name} takes no {', '.join(sorted(other))}: it trains what is shipped; "
            "for an actor of your own: upright ask learn"
        )
    given = {name: getattr(config, name) for name in config.model_fields_set - {"name"}}
    world = f"lab:{WORLDS[config.name]}"
    return learner.run(Learn(lessons=16_000, kg=[world], held_out=0.02, train=Training(tokens=8_000_000), **given))
