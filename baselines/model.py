"""What a model is, and how one is found, configured and made.

A model is a subclass of :class:`Model` under the entry-point group ``ffr.models``. It answers
samples one by one, with ids or text (:meth:`Model.predict`) or with scores
(:meth:`ScoringModel.score`).
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
import numpy as np

from baselines.options import make_options
from baselines.selection import (
    Policies,
    ScoreLists,
    SelectionOptions,
    policies_from_record,
    policies_of,
    select,
    tune,
    tuned_record,
)
from ffr_eval.errors import FfrError, InputError, MissingExtraError
from ffr_eval.plugins import MODELS, load, registered
from ffr_eval.ragged import Ragged
from ffr_eval.types import Fragment, Outcome, Prediction, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from baselines.machine import Machine
    from baselines.selection import FloatArray
    from baselines.session import Session
    from ffr_eval.benchmark import Benchmark
    from ffr_eval.ragged import IntArray
    from ffr_eval.types import Dialogue


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model reads, needs and gives.

    Attributes:
        text: It reads the text of the turns.
        images: It reads image files.
        captions: It can read captions in the place of images.
        needs_tuning: It learns from the tuning split, if it is given one.
        needs_gold: It is shown the gold (a bound, not a contestant).
        answers: Text with ids in it, ids, or scores that a policy turns into ids.
    """

    text: bool = False
    images: bool = False
    captions: bool = False
    needs_tuning: bool = False
    needs_gold: bool = False
    answers: Literal["text", "ids", "scores"] = "ids"


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a model that has none."""


class Model(ABC):
    """A model that answers with ids or text; the class attributes describe it.

    Attributes:
        capabilities: What it reads, needs and gives.
        extra: The optional part of ``ffr-eval`` that it needs.
        requires: Import names of the packages that it needs.
        version: Raised whenever the same input may get another answer.
        Options: The type of its options: a frozen :class:`msgspec.Struct` that forbids unknown
            fields, with a default for each.
        prompt_hash: Identifies the prompt; ``None`` for a model without one.
        revision: Identifies the weights; ``None`` for a model without any. Known once :meth:`use`
            was called; a run goes on with the same weights only.
        learning_option: The option that asks for a tuning split.
        settings: The settings of a :class:`~baselines.machine.Machine` that it takes.
        name: The registered name; :func:`create` sets it.

    Args:
        options: An instance of ``Options``.
    """

    capabilities: ClassVar[Capabilities]
    extra: ClassVar[str | None] = None
    requires: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[str] = "1"
    Options: ClassVar[type[msgspec.Struct]] = NoOptions
    prompt_hash: str | None = None
    revision: str | None = None
    learning_option: ClassVar[str] = "policy"
    settings: ClassVar[frozenset[str]] = frozenset()
    name: str = "this model"

    def __init__(self, options: msgspec.Struct) -> None:
        self.options = options

    def use(self, machine: Machine) -> None:  # noqa: B027 - needed only by models with settings
        """Take up where and how fast to compute; :func:`create` calls it, settings or not.

        What a machine says never changes an answer, so it is no part of a run's identity.
        """

    def prepare(  # noqa: B027 - needed only by models that work ahead
        self,
        benchmark: Benchmark,
        rows: IntArray,
        progress: bool,
        note: Callable[[str], None],
    ) -> None:
        """Do ahead, for many samples at once, what their answers need; must not read the gold.

        Called once, before :meth:`fit` and the first answer, unless there is nothing to do. If it
        fails, nothing is predicted and the run ends; what it did must not hinder the next try.

        Args:
            benchmark: The benchmark that is run over.
            rows: Every sample that this session will ask for, also for tuning, each once.
            progress: Show progress on stderr, if it is a terminal.
            note: Tells the user something.
        """

    def fit(self, samples: Sequence[Sample]) -> dict[str, Any] | None:  # noqa: ARG002 - an interface
        """Learn from the tuning split; the samples have their gold.

        Returns:
            What was learned, as plain JSON: ``run.json`` keeps it, and :meth:`restore` gets it
            back when the run is resumed. ``None`` if nothing was learned.
        """
        return None

    def restore(self, learned: dict[str, Any]) -> None:  # noqa: B027 - needed only with fit
        """Take up what an earlier :meth:`fit` returned."""

    @property
    def learns(self) -> bool:
        """Whether a tuning split makes a difference, with these options."""
        return self.capabilities.needs_tuning

    @property
    def must_learn(self) -> bool:
        """Whether these options make no sense without a tuning split."""
        return False

    @abstractmethod
    def predict(self, sample: Sample) -> Prediction:
        """Answer a sample, whose gold and kind are hidden unless the model needs them.

        The answer's outcome counts if it has a raw response or says that the request failed;
        otherwise it follows from the ids.
        """

    def predict_many(
        self, samples: Iterator[Sample], session: Session
    ) -> Iterator[Prediction] | None:
        """Answer many samples at once, for models that ask a server or work in batches.

        Samples must be drawn lazily, so that memory does not grow with the run, and no further
        ones once ``session.stop`` is set. Each that was drawn gets one prediction, in any order:
        what goes wrong with one of them is a prediction with an outcome.

        Returns:
            ``None``, as here, if the model answers one by one.

        Raises:
            FfrError: If the model fails as a whole; what was yielded before is kept.
            Stopped: If it ends early on purpose; the same command goes on.
        """
        del samples, session
        return None

    def preview(self, benchmark: Benchmark, rows: IntArray, session: Session) -> Preview:
        """What a run would send, and what it would cost; nothing is asked.

        Raises:
            InputError: If this is not known of the model.
        """
        del benchmark, rows, session
        message = f"the model {self.name!r} sends no prompts and costs nothing"
        raise InputError(message, remedy="leave out --dry-run")

    def close(self) -> None:  # noqa: B027 - needed only by models that hold something
        """Give back what it holds (connections, memory); called once, whatever happened."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would send.

    Attributes:
        first_prompt: The first prompt as `ffr prompt` shows it, safe for a terminal.
        n_samples: Samples to ask about.
        n_requests: Requests that they make; more than samples if there are windows.
        prompt_tokens: Of all requests.
        exact: Whether the model's own tokenizer counted them.
        max_completion_tokens: What the answers may come to, at most.
        min_cost, max_cost: With answers of no length and of the greatest; ``None`` without a price.
        currency: Of the cost.
        notes: What else the user should know: where the price is from, what was estimated.
    """

    first_prompt: str
    n_samples: int
    n_requests: int
    prompt_tokens: int
    exact: bool
    max_completion_tokens: int
    min_cost: float | None = None
    max_cost: float | None = None
    currency: str = "USD"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """How well each turn and each image of a dialogue matches the query.

    Attributes:
        utterance: Aligned with ``dialogue.turns``, float64.
        image: Aligned with ``dialogue.images``, float64.
    """

    utterance: FloatArray
    image: FloatArray


class ScoringModel(Model):
    """A model that scores turns and images; a policy makes the answer of the scores.

    The runner calls :meth:`score` and :meth:`select`, so that it can keep the scores.

    Attributes:
        min_score: Only scores above it are ever selected; ``None`` for no such limit.
    """

    Options: ClassVar[type[SelectionOptions]] = SelectionOptions
    min_score: ClassVar[float | None] = 0.0

    def __init__(self, options: SelectionOptions) -> None:
        super().__init__(options)
        self._policy = options.policy
        self.policies: Policies = policies_of(options, self.min_score)

    @property
    def learns(self) -> bool:
        """Whether the policy is left to tuning."""
        return self._policy in {None, "tuned"}

    @property
    def must_learn(self) -> bool:
        """Whether the tuned policy was asked for by name."""
        return self._policy == "tuned"

    @abstractmethod
    def score(self, sample: Sample) -> Scores:
        """Score the turns and images of a sample's dialogue."""

    def fit(self, samples: Sequence[Sample]) -> dict[str, Any] | None:
        """Choose the policy of each modality, unless the options name one."""
        if not self.learns:
            return None
        scores = [checked_scores(self.score(hidden(sample)), sample) for sample in samples]
        utterance = tune(
            ScoreLists.from_arrays([score.utterance for score in scores]),
            Ragged.from_lists([gold_positions(sample, "utt_ids") for sample in samples]),
            self.policies.utterance,
        )
        image = tune(
            ScoreLists.from_arrays([score.image for score in scores]),
            Ragged.from_lists([gold_positions(sample, "img_ids") for sample in samples]),
            self.policies.image,
        )
        learned = tuned_record(utterance, image, len(samples))
        self.restore(learned)
        return learned

    def restore(self, learned: dict[str, Any]) -> None:
        """Take up the policies that were chosen."""
        self.policies = policies_from_record(learned)

    def select(self, scores: Scores, dialogue: Dialogue) -> Fragment:
        """The ids that the policies select."""
        utterance = select(ScoreLists.from_arrays([scores.utterance]), self.policies.utterance)
        image = select(ScoreLists.from_arrays([scores.image]), self.policies.image)
        return Fragment(
            tuple(dialogue.turns[i].utt_id for i in utterance.values.tolist()),
            tuple(dialogue.images[i].img_id for i in image.values.tolist()),
        )

    def predict(self, sample: Sample) -> Prediction:
        """Answer with the ids that the policies select."""
        scores = checked_scores(self.score(sample), sample)
        return answer(sample, self.select(scores, sample.dialogue))


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A registered model.

    Attributes:
        capabilities: ``None`` if the plugin could not be imported.
        options: Its options with their defaults.
        installed: Whether everything that it requires is there.
    """

    name: str
    capabilities: Capabilities | None
    extra: str | None
    installed: bool
    options: Mapping[str, Any]


def answer(sample: Sample, fragment: Fragment) -> Prediction:
    """The prediction of a model that gives ids: ``empty`` if there are none."""
    some = fragment.utt_ids or fragment.img_ids
    return Prediction(sample.sample_id, Outcome.OK if some else Outcome.EMPTY, fragment)


def hidden(sample: Sample) -> Sample:
    """A sample without what gives the answer away.

    That is gold and kind, and ``meta``, where importers keep what else a data set says of a query
    (an answer in words, a summary).
    """
    return replace(sample, gold=None, kind=None, meta={})


def checked_scores(scores: Scores, sample: Sample) -> Scores:
    """Scores as float64 arrays that fit the sample's dialogue.

    Raises:
        FfrError: If a score is not finite, or there are more or fewer scores than turns or images.
    """
    dialogue = sample.dialogue
    return Scores(
        _checked(scores.utterance, len(dialogue.turns), "utterance", sample),
        _checked(scores.image, len(dialogue.images), "image", sample),
    )


def registered_models() -> list[ModelInfo]:
    """All registered models by name; their dependencies are looked for, not imported."""
    infos = []
    for name, point in registered(MODELS).items():
        try:
            model: type[Model] = point.load()
        except ImportError:
            infos.append(ModelInfo(name, None, None, installed=False, options={}))
            continue
        options = msgspec.to_builtins(model.Options())
        installed = not _missing(model.requires)
        infos.append(ModelInfo(name, model.capabilities, model.extra, installed, options))
    return infos


def create(name: str, options: Mapping[str, Any], machine: Machine | None = None) -> Model:
    """Make a registered model.

    Args:
        name: Its registered name.
        options: Options by name; values may be strings, as from a command line.
        machine: Where and how fast it computes. If it names another interpreter, what the model
            requires is looked for there when it is needed, not here.

    Raises:
        InputError: If there is no such model or option, a value is of the wrong type, or the model
            has no use for a setting of ``machine``.
        MissingExtraError: If an optional dependency is not installed.
        FfrError: If the model's own code fails.
    """
    from baselines.machine import Machine

    machine = Machine() if machine is None else machine
    model: type[Model] = load(MODELS, name)
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise InputError(f"the plugin {name!r} is not a subclass of baselines.model.Model")
    parsed = make_options(model.Options, options)
    missing = [] if machine.python is not None else _missing(model.requires)
    if missing and model.extra is not None:
        raise MissingExtraError(f"the model {name!r}", model.extra)
    if missing:
        raise FfrError(f"the model {name!r} needs packages that are missing: {', '.join(missing)}")
    try:
        made = model(parsed)
        made.name = name
        _require_settings(made, machine)
        made.use(machine)
    except FfrError:
        raise
    except Exception as error:
        text = f"the model {name!r} cannot be made: {type(error).__name__}: {error}"
        raise FfrError(text) from error
    return made


def gold_positions(sample: Sample, field: Literal["utt_ids", "img_ids"]) -> list[int]:
    """The positions of the gold among the turns (or images) of a sample's dialogue."""
    dialogue = sample.dialogue
    ids = (
        [turn.utt_id for turn in dialogue.turns]
        if field == "utt_ids"
        else [image.img_id for image in dialogue.images]
    )
    wanted = set(getattr(sample.gold or Fragment(), field))
    return [place for place, number in enumerate(ids) if number in wanted]


def _require_settings(model: Model, machine: Machine) -> None:
    """Refuse settings that the model has no use for."""
    useless = [flag for name, flag in machine.given().items() if name not in model.settings]
    if useless:
        flags = " and ".join(useless)
        verb = "has" if len(useless) == 1 else "have"
        message = f"{flags} {verb} no effect on the model {model.name!r}"
        raise InputError(message, remedy=f"leave out {flags}")


def _missing(requires: Iterable[str]) -> list[str]:
    return [name for name in requires if importlib.util.find_spec(name) is None]


def _checked(scores: FloatArray, expected: int, modality: str, sample: Sample) -> FloatArray:
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (expected,):
        message = f"{modality} scores of shape {array.shape} for {expected} of them"
        raise FfrError(f"sample {sample.sample_id!r}: {message}")
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        message = f"the {modality} score at position {place} is {array[place]}"
        raise FfrError(f"sample {sample.sample_id!r}: {message}")
    return array
