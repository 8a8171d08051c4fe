"""The command `upright`: a table of verbs, and what is common to running each of them.

Nothing heavy is imported before a verb is known and its words are parsed: the table names modules as
strings, the modules of configurations import no torch.
"""

import errno
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from upright import __version__
from upright.errors import UserError, closest
from upright.run import text

if TYPE_CHECKING:
    from upright.run.config import RunConfig
    from upright.run.folder import Outcome
    from upright.run.records import Resume

PURPOSE = "makes language models safe, current, grounded, private, personal and fair, and proves it."


@dataclass(frozen=True)
class Command:
    """One verb: where its configuration class and its function are, and what its help says."""

    config: str
    run: str
    summary: str
    examples: tuple[str, ...] = ()


COMMANDS: dict[str, Command] = {
    "edit": Command(
        config="upright.editing.config:Config",
        run="upright.editing.runner:run",
        summary="Write changed facts into a model's weights, with what follows from them.",
        examples=("upright edit --model lab:atlas --facts changes.jsonl --kg lab:atlas --out runs/euro",),
    ),
    "edit undo": Command(
        config="upright.editing.config:Undo",
        run="upright.editing.runner:undo",
        summary="Give an edited model its former weights back.",
    ),
    "edit apply": Command(
        config="upright.editing.config:Apply",
        run="upright.editing.runner:apply",
        summary="Apply a stored edit to the model it was made for.",
    ),
    "ask": Command(
        config="upright.traversal.config:Config",
        run="upright.traversal.runner:run",
        summary="Answer questions from knowledge graphs, with the facts each answer rests on.",
        examples=('upright ask "Which currency is used in the country whose capital is Lima?" --kg lab:atlas',),
    ),
    "ask learn": Command(
        config="upright.traversal.config:Learn",
        run="upright.traversal.learner:run",
        summary="Train a small model to drive the search, from questions and answers.",
        examples=("upright ask learn --questions questions.jsonl --kg films.tsv --out runs/actor",),
    ),
    "ask lessons": Command(
        config="upright.traversal.config:Lessons",
        run="upright.traversal.lessons:run",
        summary="Write questions about a graph, made from the words of its relations.",
        examples=("upright ask lessons --kg lab:atlas --count 12000 --file questions.jsonl",),
    ),
    "audit fairness": Command(
        config="upright.audit.fairness.config:Config",
        run="upright.audit.fairness.runner:run",
        summary="Measure how decisions, scores or predicted numbers differ between groups.",
        examples=("upright audit fairness lab:loans --label repaid --prediction granted --groups sex,region",),
    ),
    "audit mitigate": Command(
        config="upright.audit.mitigate.config:Config",
        run="upright.audit.mitigate.runner:run",
        summary="Compare ways to make a classifier fairer, on held-out rows.",
        examples=("upright audit mitigate lab:loans --label granted --groups sex --features age,income,debt",),
    ),
    "audit membership": Command(
        config="upright.audit.membership.config:Config",
        run="upright.audit.membership.runner:run",
        summary="Attack a model to see whether it gives away what it was trained on.",
        examples=(
            "upright audit membership --model MODEL --members in.jsonl --nonmembers out.jsonl --reference BASE",
            "upright audit membership --scores outputs.parquet --group sex --out runs/leak",
        ),
    ),
    "audit exposure": Command(
        config="upright.audit.exposure.config:Config",
        run="upright.audit.exposure.runner:run",
        summary="Measure what a language model gives away of its training text.",
        examples=("upright audit exposure --model models/tuned --canaries canaries.jsonl --members train.jsonl",),
    ),
    "audit plant": Command(
        config="upright.audit.exposure.config:Plant",
        run="upright.audit.exposure.plant:run",
        summary="Make canaries to hide in training text, and controls that stay out.",
        examples=("upright audit plant --count 100 --out canaries.jsonl",),
    ),
    "audit epsilon": Command(
        config="upright.audit.epsilon.config:Config",
        run="upright.audit.epsilon.runner:run",
        summary="Bound epsilon from below by canary scores, and hold it against the claim.",
        examples=("upright audit epsilon canaries.csv --delta 1e-5 --claimed 4 --out runs/epsilon",),
    ),
    "audit interplay": Command(
        config="upright.audit.interplay.config:Config",
        run="upright.audit.interplay.runner:run",
        summary="Train over privacy levels and fairness constraints; measure both by group.",
        examples=(
            "upright audit interplay lab:loans --label repaid --groups sex --features income,debt,years_employed",
        ),
    ),
    "audit checklist": Command(
        config="upright.audit.checklist.config:Config",
        run="upright.audit.checklist.runner:run",
        summary="Put the findings of audits into one checklist that names what was not tested.",
        examples=("upright audit checklist runs/fair runs/epsilon --answers answers.toml --out runs/checklist",),
    ),
    "synthesize": Command(
        config="upright.synthesis.config:Config",
        run="upright.synthesis.runner:run",
        summary="Write differentially private synthetic records, and measure what they keep and give away.",
        examples=(
            "upright synthesize --data lab:clinic --labels section --groups sex --unit patient --out runs/notes",
        ),
    ),
    "kg load": Command(
        config="upright.knowledge.config:Load",
        run="upright.knowledge.runner:load",
        summary="Put knowledge graphs on disk, where they open at once and are asked in SPARQL.",
        examples=("upright kg load films.nt.gz --out graphs/films",),
    ),
    "kg info": Command(
        config="upright.knowledge.config:Info",
        run="upright.knowledge.runner:info",
        summary="Count the facts, entities and relations of a graph.",
        examples=("upright kg info lab:atlas",),
    ),
    "kg query": Command(
        config="upright.knowledge.config:Query",
        run="upright.knowledge.runner:query",
        summary="Ask a graph or an endpoint in SPARQL.",
        examples=('upright kg query graphs/films "SELECT * WHERE { ?s ?p ?o } LIMIT 5"',),
    ),
    "kg link": Command(
        config="upright.knowledge.config:Link",
        run="upright.knowledge.runner:link",
        summary="Find the entities that a name may mean.",
        examples=('upright kg link lab:atlas "lima"',),
    ),
    "lab list": Command(
        config="upright.lab.config:List",
        run="upright.lab.run:list_models",
        summary="List the small worlds and trained models that come with upright.",
    ),
    "lab build": Command(
        config="upright.lab.config:Build",
        run="upright.lab.run:build",
        summary="Train a model of the lab again from scratch.",
        examples=("upright lab build atlas --out runs/atlas",),
    ),
    "runs list": Command(
        config="upright.run.records:List",
        run="upright.run.records:list_runs",
        summary="List the runs in a folder, the newest first.",
        examples=("upright runs list", "upright runs list --root /data/runs --json"),
    ),
    "runs show": Command(
        config="upright.run.records:Show",
        run="upright.run.records:show",
        summary="Show what a run did, what it cost and what it found.",
        examples=("upright runs show runs/euro",),
    ),
    "runs compare": Command(
        config="upright.run.records:Compare",
        run="upright.run.records:compare",
        summary="Put the metrics of several runs side by side.",
        examples=("upright runs compare runs/euro runs/euro-20000",),
    ),
    "runs resume": Command(
        config="upright.run.records:Resume",
        run="upright.cli:resume",
        summary="Go on with a run that was killed, interrupted or failed; finished work is not repeated.",
        examples=("upright runs resume runs/euro",),
    ),
    "tour": Command(
        config="upright.lab.config:TourConfig",
        run="upright.lab.tour:run",
        summary="Run every verb once on the lab's models and write one report.",
        examples=("upright tour",),
    ),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line. Exit codes: 0 done, 2 a user's mistake, 3 a claim is refuted, 130 interrupted."""
    try:
        return dispatch(list(sys.argv[1:] if words is None else words))
    except UserError as error:
        return _say(f"upright: {error}", 2)
    except KeyboardInterrupt as error:
        notes = getattr(error, "__notes__", [])
        return _say(f"upright: interrupted{f'; go on with: {notes[0]}' if notes else ''}", 130)
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        notes = getattr(error, "__notes__", [])
        return _say(f"upright: disk full{where}; free some space{f', then: {notes[0]}' if notes else ''}", 2)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


def dispatch(words: list[str]) -> int:
    """Find the verb, parse the rest into its configuration, run it and show the outcome; the exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"upright {__version__}")
        return 0
    verb, rest = _find(words)
    if verb in COMMANDS and not ("-h" in rest or "--help" in rest):
        return _run(verb, rest)
    print(_verb_help(verb))
    return 0


def _find(words: list[str]) -> tuple[str, list[str]]:
    """The longest row of leading words that is a verb (or a family of verbs), and the words after it."""
    for count in (2, 1):
        verb = " ".join(words[:count])
        if verb in COMMANDS:
            return verb, words[count:]
    family = [verb for verb in COMMANDS if verb.startswith(words[0] + " ")]
    if family and (len(words) == 1 or words[1].startswith("-")):
        return words[0], words[1:]
    tried = " ".join(words[:2]) if family else words[0]
    near = closest(tried, family or {verb.split()[0] for verb in COMMANDS})
    names = ", ".join(family) if family else ", ".join(dict.fromkeys(verb.split()[0] for verb in COMMANDS))
    raise UserError(f"unknown verb {tried!r} (allowed: {names}){f'; did you mean {near!r}?' if near else ''}")


def _run(verb: str, words: list[str]) -> int:
    from upright.run.parse import parse

    command = COMMANDS[verb]
    dry = "--dry-run" in words
    config: Any = parse(load(command.config), [word for word in words if word != "--dry-run"], f"upright {verb}")
    if dry:
        print(config.model_dump_json(indent=2, by_alias=True))
        return 0
    return show(load(command.run)(config))


def load(target: str) -> Any:
    """The object that `package.module:name` points to."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def show(result: "Outcome | None") -> int:
    """Print the headline numbers of a result and its last line; None was printed by the verb itself. The exit code."""
    if result is None:
        return 0
    metrics = result.summary()
    if metrics:
        from upright.run.terminal import console, metric_table

        console().print(metric_table(metrics))
    print(result.message)
    return result.exit_code


def resume(config: "Resume") -> "Outcome | None":
    """Go on with the run in `config.dir`: the result of its verb, or None when nothing is left to do."""
    from upright.run import manifest
    from upright.run.folder import CONFIG
    from upright.run.parse import from_file

    record = manifest.load(config.dir)
    if record.status == "finished":
        print(f"{config.dir} is finished; see it with: upright runs show {config.dir}")
        return None
    if record.verb not in COMMANDS:
        raise UserError(f"{config.dir}: was made by the verb {record.verb!r}, which this version of upright lacks")
    command = COMMANDS[record.verb]
    stored: RunConfig = from_file(load(command.config), config.dir / CONFIG)
    run: Callable[[RunConfig], Outcome] = load(command.run)
    # a run that replaced another one must not, on its way back, replace itself
    return run(stored.model_copy(update={"out": config.dir, "overwrite": False}))


# --- help ---


def overview() -> str:
    """The help of `upright` itself."""
    hints = {
        "upright tour": "Every verb once, without a GPU, a key or a network.",
        "upright VERB --help": "The options of a verb.",
        "upright --version": "The version.",
    }
    return "\n\n".join(
        [
            text.paragraph(f"upright {PURPOSE}"),
            text.section("Usage", "  upright VERB [options]"),
            _verb_list("Verbs", COMMANDS),
            text.section("Start here", *(text.entry(left, right, 24) for left, right in hints.items())),
        ]
    )


def _verb_list(title: str, verbs: Iterable[str]) -> str:
    return text.section(title, *(text.entry(verb, COMMANDS[verb].summary, 18) for verb in verbs))


def _verb_help(verb: str) -> str:
    """The help of a verb, or of a family of verbs such as `runs`."""
    family = [name for name in COMMANDS if name.startswith(verb + " ")]
    if verb not in COMMANDS:
        usage = text.section("Usage", f"  upright {verb} {'|'.join(name.split()[1] for name in family)} [options]")
        return f"{usage}\n\n{_verb_list('Verbs', family)}"
    from upright.run.usage import help_text

    command = COMMANDS[verb]
    related = [f"upright {name}" for name in family]
    return help_text(load(command.config), f"upright {verb}", command.summary, command.examples, related)
