"""A user's own wording: a Jinja template that makes the user message of a sample.

The template is plain text and runs in a sandbox: it sees the sample's text and nothing else, cannot
change what it sees, and cannot read files. How long it takes is the user's own affair.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import InputError, MissingExtraError
from ffr_eval.jsonl import read_bytes
from ffr_eval.markup import IMG_ID, QUERY, UTT_ID, defuse, mark
from ffr_eval.plugins import nearest

if TYPE_CHECKING:
    from pathlib import Path

    import jinja2

    from ffr_eval.prompt import AnswerForm, ImagePlacement, Language
    from ffr_eval.types import Image, Sample

MAX_CHARACTERS: Final = 20_000_000
"""A prompt that grows longer is a template that does not end."""

_KNOWN: Final = (
    "answer",
    "example",
    "images",
    "img",
    "language",
    "query",
    "query_mark",
    "turns",
    "utt",
)
"""What a template may name."""
_NOT_THE_SAME_TWICE: Final = ("random", "lipsum")  # a filter and a global of Jinja
_FAILURES: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the expressions of a template may raise, beside Jinja's own errors."""


@dataclass(frozen=True, slots=True)
class ImageContext:
    """An image as a template sees it.

    Attributes:
        pixels: Written where the picture goes; empty if pictures stand elsewhere or nowhere.
    """

    img_id: int
    caption: str | None
    pixels: str


@dataclass(frozen=True, slots=True)
class TurnContext:
    """A turn as a template sees it."""

    utt_id: int
    speaker: str
    text: str
    time: str | None
    images: tuple[ImageContext, ...]


class OwnTemplate:
    """A template file, compiled.

    Attributes:
        source: What the file says.

    Args:
        path: The file.

    Raises:
        InputError: If it cannot be read, or is no template; with file and line.
        MissingExtraError: If Jinja2 is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import jinja2
        except ImportError:
            raise MissingExtraError("a prompt template", "api") from None
        self._path = path
        self.source = text_of(path)
        environment = _environment()
        try:
            tree = environment.parse(self.source)
            _require_known(path, environment, tree)
            self._template: jinja2.Template = environment.from_string(tree)
        except jinja2.TemplateSyntaxError as error:
            message = f"not a Jinja template: {error.message}"
            raise InputError(message, file=path, line=error.lineno) from None
        self._failures = (jinja2.TemplateError, *_FAILURES)

    def parts(
        self,
        sample: Sample,
        *,
        language: Language,
        placement: ImagePlacement,
        captions: bool,
        answer: AnswerForm,
        example: str,
    ) -> list[str | Image]:
        """The user message of a sample: text, and images where the template puts their pixels.

        Args:
            sample: The query and its dialogue; a template never sees the gold.
            language: For the template to choose its words by.
            placement: Whether, and where, the template has pixels to place.
            captions: Whether the template sees captions.
            answer: The form of the answer, for the template to choose its words by.
            example: An example answer of that form.

        Raises:
            InputError: If the template fails, or shows nothing; with file and line.
        """
        # Nobody can write a number that is drawn anew for each prompt.
        token = secrets.token_hex(16)
        images = {image.img_id: image for image in sample.dialogue.images}
        turns = _turns(sample, token if placement == "in_place" else None, captions)
        text = self._rendered(
            answer=answer,
            example=example,
            images=tuple(image for turn in turns for image in turn.images),
            img=lambda img_id: mark(IMG_ID, img_id),
            language=language,
            query=defuse(sample.query),
            query_mark=lambda query: mark(QUERY, query),
            turns=turns,
            utt=lambda utt_id: mark(UTT_ID, utt_id),
        )
        pieces = re.split(_pixels(token, "([0-9]+)"), text)
        shown: list[str | Image] = [
            images[int(piece)] if place % 2 else piece for place, piece in enumerate(pieces)
        ]
        if any(isinstance(part, str) and token[:16] in part.lower() for part in shown):
            message = "a filter or expression changed `pixels`, so that the picture has no place"
            remedy = "write {{ image.pixels }} as it is"
            raise InputError(message, file=self._path, remedy=remedy)
        if not any(isinstance(part, str) and part.strip() for part in shown):
            message = f"the template has no text for sample {sample.sample_id!r}"
            raise InputError(message, file=self._path, remedy="write the query and the turns")
        if placement == "images_first":
            shown[:0] = [images[i] for turn in sample.dialogue.turns for i in turn.img_ids]
        return shown

    def _rendered(self, **context: Any) -> str:
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(**context):
                length += len(piece)
                if length > MAX_CHARACTERS:
                    message = f"the template wrote more than {MAX_CHARACTERS:,} characters"
                    remedy = "look for a loop that goes round too often"
                    raise InputError(message, file=self._path, remedy=remedy)
                pieces.append(piece)
        except self._failures as error:
            message = f"the template fails: {_in_words(error)}"
            raise InputError(message, file=self._path, line=_line_of(error)) from None
        return "".join(pieces)


def text_of(path: Path) -> str:
    """The text of a file that the user wrote, its line ends as those of Unix.

    Raises:
        InputError: If it cannot be read, or is not UTF-8.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not UTF-8", file=path, line=line, remedy="save it as UTF-8") from None
    return text.replace("\r\n", "\n")


def _environment() -> jinja2.Environment:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        autoescape=False,  # a prompt is plain text, and never shown as HTML
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in _NOT_THE_SAME_TWICE:
        environment.filters.pop(name, None)
        environment.globals.pop(name, None)
    return environment


def _require_known(
    path: Path, environment: jinja2.Environment, tree: jinja2.nodes.Template
) -> None:
    """Refuse, before anything is asked, names that no prompt will have."""
    from jinja2 import meta, nodes

    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        message = "a prompt template is one file: it cannot include, import or extend others"
        raise InputError(message, file=path, line=node.lineno)
    unknown = meta.find_undeclared_variables(tree) - {*_KNOWN, *environment.globals}
    for name in tree.find_all(nodes.Name):
        if name.name in unknown:
            message = f"there is no {name.name!r} in a prompt"
            remedy = nearest(name.name, _KNOWN)
            raise InputError(message, file=path, line=name.lineno, remedy=remedy)


def _turns(sample: Sample, token: str | None, captions: bool) -> tuple[TurnContext, ...]:
    images = {image.img_id: image for image in sample.dialogue.images}

    def shown(img_id: int) -> ImageContext:
        caption = images[img_id].caption if captions else None
        pixels = "" if token is None else _pixels(token, str(img_id))
        return ImageContext(img_id, None if not caption else defuse(caption), pixels)

    return tuple(
        TurnContext(
            turn.utt_id,
            defuse(turn.speaker),
            defuse(turn.text),
            None if turn.time is None else defuse(turn.time),
            tuple(map(shown, turn.img_ids)),
        )
        for turn in sample.dialogue.turns
    )


def _pixels(token: str, img_id: str) -> str:
    return f"\0{token}:{img_id}\0"


def _in_words(error: BaseException) -> str:
    message = str(error) or type(error).__name__
    for kind, name in ((TurnContext, "a turn"), (ImageContext, "an image")):
        message = message.replace(f"'{__name__}.{kind.__name__} object'", name)
    return message


def _line_of(error: BaseException) -> int | None:
    """The line of the template that an error came from, as Jinja writes it into the traceback."""
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == "<template>":
            line = step.tb_lineno
        step = step.tb_next
    return line
