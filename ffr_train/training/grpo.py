"""``ffr train grpo``: reinforcement learning on the metrics, in the order of the curriculum."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ffr_eval.benchmark.writer import sha256_of
from ffr_train.curriculum import difficulty_file
from ffr_train.curriculum.entropy import RELEASED
from ffr_train.curriculum.levels import LEVELS, UNKNOWN
from ffr_train.curriculum.pilot import read_pilot
from ffr_train.curriculum.schedule import order
from ffr_train.rewards import term_named
from ffr_train.rewards.adapters.trl import PREFIX, reward_functions
from ffr_train.training.session import TrainingSession, require_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ffr_train.config.schema import GrpoSection, TrainConfig
    from ffr_train.curriculum.difficulty_file import Difficulty
    from ffr_train.training.session import Outcome

LEVEL: Final = "level"
_KEPT: Final = (
    "sample_id",
    "window",
    "prompt",
    "images",
    "solution",
    "utt_ids",
    "img_ids",
    "image_turn",
    "embeddings",
)


def train_grpo(
    config: TrainConfig, *, resume: bool = False, note: Callable[[str], None] = print
) -> Outcome:
    """Train on rewards.

    Args:
        config: With a section ``grpo``.
        resume: Go on with a training that was stopped or killed.
        note: Called with sentences about what a reader should know.

    Raises:
        InputError: If anything that is given is wrong; nothing has been trained then.
        FfrError: If the training fails; checkpoints stay.
    """
    return _Grpo(config, "grpo", resume=resume, note=note).run()


class _Grpo(TrainingSession):
    section: GrpoSection

    def prepare(self) -> dict[str, Any]:
        section, config = self.section, self.config
        curriculum = section.curriculum
        require_file(
            curriculum.difficulty, config, "grpo.curriculum.difficulty", "ffr train difficulty"
        )
        require_file(section.pilot, config, "grpo.pilot", "ffr train pilot")
        if self.data.num_rows and "solution" not in self.data.column_names:
            raise config.problem("grpo.data", "has no gold", "make it with --stage grpo")
        if "embeddings" in self.data.column_names:
            for path in sorted(set(self.data["embeddings"])):
                remedy = "put it back, or make the data again with `ffr train data`"
                if not Path(path).is_file():
                    raise config.problem("grpo.data", f"no such file: {path}", remedy)
        contents = {
            name: None if path is None else sha256_of(path)
            for name, path in (("difficulty", curriculum.difficulty), ("pilot", section.pilot))
        }
        names = list(self.data["sample_id"])
        self.levels = np.full(len(names), UNKNOWN, dtype=np.int8)
        if curriculum.difficulty is not None:
            known = difficulty_file.read(curriculum.difficulty)
            self._check_rule(known)
            self.levels = known.levels_of(names)
            if len(names) and (self.levels == UNKNOWN).all():
                message = f"{curriculum.difficulty} says nothing of the samples of {section.data}"
                remedy = "run `ffr train difficulty` on the benchmark and split of the data"
                raise config.problem("grpo.curriculum.difficulty", message, remedy)
        self.kept = np.arange(len(names))
        if section.pilot is not None:
            keep = read_pilot(section.pilot)
            if not keep.keys() & set(names):
                message = f"{section.pilot} says nothing of the samples of {section.data}"
                remedy = "run `ffr train pilot` on the benchmark and split of the data"
                raise config.problem("grpo.pilot", message, remedy)
            self.kept = np.array([i for i, name in enumerate(names) if keep.get(name, True)], int)
            if not len(self.kept):
                message = "keeps no sample: all answers to each earn the same"
                remedy = "train longer before, or set it to null"
                raise config.problem("grpo.pilot", message, remedy)
        return contents

    def _check_rule(self, known: Difficulty) -> None:
        """Refuse levels that were assigned by the other rule, as far as the file shows it."""
        kinds = {kind for kind in known.entropy_kind if kind is not None}
        by = "released" if kinds == {RELEASED} else "eq4"
        rule = self.section.curriculum.rule
        if kinds and by != rule:
            message = f"is {rule}, and {self.section.curriculum.difficulty} has levels by {by}"
            remedy = f"set it to {by}, or run `ffr train difficulty … --rule {rule}`"
            raise self.config.problem("grpo.curriculum.rule", message, remedy)

    def trainer_settings(self) -> dict[str, Any]:
        reward = self.section.reward
        functions, weights = reward_functions(
            reward.profile, weights=reward.weights, terms=reward.terms, folder=self.section.data
        )
        pairs = list(zip(functions, weights, strict=True))
        if "embeddings" not in self.data.column_names:
            pairs = [pair for pair in pairs if not _needs_vectors(pair[0])]
            lost = [function.__name__ for function in functions if _needs_vectors(function)]
            if lost:
                names = ", ".join(name.removeprefix(PREFIX) for name in lost)
                remedy = "`ffr train data … --encoder NAME` puts them in"
                self.note(f"the data have no vectors: the reward is without {names}; {remedy}")
        if not any(weight for _, weight in pairs):
            message = "no term that can be computed has weight"
            raise self.config.problem("grpo.reward.weights", message, "give f1 a weight")
        self.functions = [function for function, _ in pairs]
        settings: dict[str, Any] = {"reward_weights": [weight for _, weight in pairs]}
        if not all(self.data["n_images"]):
            # TRL 1.16 logs the images of batches that have some only: a table of other lines than
            # the answers, for which processes would wait for each other.
            settings["log_multimodal"] = False
        return settings

    def make_trainer(self, callbacks: list[Any]) -> Any:
        from ffr_train.training.grpo_trainer import FragmentGRPOTrainer, RolloutCallback

        logging = RolloutCallback(self.note)
        names = [LEVELS[code] if code != UNKNOWN else None for code in self.levels.tolist()]
        columns = [name for name in _KEPT if name in self.data.column_names]
        rows = self.data.select_columns(columns).add_column(LEVEL, names)
        rows = rows.select(self._order())
        if not any(self.data["n_images"]):
            rows = rows.remove_columns("images")
        trainer = FragmentGRPOTrainer(
            model=self.trainee.model,
            reward_funcs=[_with_names(self.functions[0]), *self.functions[1:]],
            args=self.args,
            train_dataset=rows,
            processing_class=self.trainee.processor.processor,
            peft_config=self.trainee.adapter,
            callbacks=[*callbacks, logging],
        )
        logging.trainer = trainer
        return trainer

    def _order(self) -> list[int]:
        """The rows in the order of training, and a sentence about it."""
        section = self.section
        prompts = self.args.generation_batch_size // self.args.num_generations
        if section.curriculum.difficulty is None:
            # One level for all: a shuffle whose last batch is filled up.
            levels = np.zeros(len(self.kept), dtype=np.int8)
        else:
            levels = self.levels[self.kept]
        schedule = order(
            levels,
            replay=section.curriculum.replay,
            multiple_of=prompts,
            seed=section.curriculum.seed,
        )
        dropped = len(self.levels) - len(self.kept)
        if dropped:
            lost = Counter(self.levels.tolist())
            lost.subtract(self.levels[self.kept].tolist())
            self.note(f"{dropped} samples whose answers all earn the same are left out{_by(lost)}")
        if section.curriculum.difficulty is not None:
            stages = ", then ".join(
                f"{stage.level} ({stage.stop - stage.start} of a pool of {stage.pool})"
                for stage in schedule.stages
            )
            self.note(f"curriculum: {stages}")
        if schedule.n_filled:
            self.note(f"{schedule.n_filled} samples stand at the end again, to fill the last batch")
        self._check_length(len(schedule), prompts)
        self.schedule = schedule
        return [int(self.kept[row]) for row in schedule.rows]

    def _check_length(self, length: int, prompts: int) -> None:
        """Say so if the training ends before the order does."""
        most = self.args.max_steps
        if most <= 0:
            return
        a_step = self.args.gradient_accumulation_steps / self.args.steps_per_generation * prompts
        shown = int(most * a_step / self.args.num_iterations)
        if shown < length:
            self.note(
                f"max_steps {most} ends the training after {shown} of {length} samples of the order"
            )


def _needs_vectors(function: Any) -> bool:
    """Whether a reward function compares vectors."""
    return term_named(function.__name__.removeprefix(PREFIX)).embedded


def _by(lost: Mapping[int, int]) -> str:
    named = [f"{n} {LEVELS[code]}" for code, n in sorted(lost.items()) if n and code != UNKNOWN]
    return f" ({', '.join(named)})" if named else ""


def _with_names(function: Any) -> Any:
    """The first reward function also logs which samples the answers are to."""

    def compute(completions: list[Any], log_extra: Any = None, **columns: Any) -> Any:
        if log_extra is not None:
            log_extra("sample_id", list(columns["sample_id"]))
            log_extra("window", list(columns["window"]))
            log_extra(LEVEL, [name or "" for name in columns[LEVEL]])
        return function(completions, **columns)

    compute.__name__ = function.__name__
    return compute
