"""A dialogue as one HTML page that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ffr_eval.errors import MissingExtraError
from ffr_eval.report.safe_text import visible, visible_lines
from ffr_eval.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Callable

    from ffr_eval.report.dialogue_view import DialogueView, ImageView, QueryView, TurnView

TEMPLATES: Final = Path(__file__).parent / "templates"
_COLOURS: Final = 6
_MAX_IMAGES_CHARS: Final = 60_000_000  # of all images of a page


def render_page(view: DialogueView) -> str:
    """The page. All text is escaped; images are looked at and put in; URLs are shown as text.

    Raises:
        MissingExtraError: If Jinja2 or Pillow is not installed.
    """
    try:
        import jinja2
        import markupsafe
        import PIL  # noqa: F401
    except ImportError:
        raise MissingExtraError("--html", "report") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    style = environment.get_template("dialogue.css.j2").render(n_queries=len(view.queries))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return environment.get_template("dialogue.html.j2").render(
        page=_page(view),
        style=markupsafe.Markup(style),  # noqa: S704  # only numbers are filled in
        style_hash=f"sha256-{digest}",
    )


def write_page(view: DialogueView, path: Path) -> None:
    """Write the page, replacing an older one in one step.

    Raises:
        InputError: If the file cannot be written.
        MissingExtraError: If Jinja2 or Pillow is not installed.
    """
    page = render_page(view)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(view: DialogueView) -> dict[str, Any]:
    query = view.query
    picture = _pictures()
    anchored: set[int] = set()
    return {
        "title": visible(query.sample_id if query else view.dialogue_id),
        "dialogue_id": visible(view.dialogue_id),
        "benchmark": visible(view.benchmark),
        "language": visible(view.language) if view.language else None,
        "n_images": len({image.img_id for turn in view.turns for image in turn.images}),
        "current": view.current,
        "queries": [_query(each) for each in view.queries],
        "turns": [_turn(turn, view.n_voices, picture, anchored) for turn in view.turns],
    }


def _query(query: QueryView) -> dict[str, Any]:
    return {
        "sample_id": visible(query.sample_id),
        "split": visible(query.split),
        "kind": query.kind,
        "query": visible_lines(query.query),
        "gold_utts": query.gold_utt_ids,
        "gold_imgs": query.gold_img_ids,
    }


def _turn(
    turn: TurnView,
    n_voices: int,
    picture: Callable[[ImageView], dict[str, Any]],
    anchored: set[int],
) -> dict[str, Any]:
    images = []
    for image in turn.images:
        first = image.img_id not in anchored  # an image may be shown in several turns
        anchored.add(image.img_id)
        images.append(picture(image) | {"anchor": first})
    return {
        "utt_id": turn.utt_id,
        "speaker": visible(turn.speaker),
        "colour": turn.voice % _COLOURS,
        "right": n_voices == 2 and turn.voice == 1,
        "time": visible(turn.time) if turn.time else None,
        "text": visible_lines(turn.text),
        "gold_of": sorted(turn.gold_of),
        "images": images,
    }


def _pictures() -> Callable[[ImageView], dict[str, Any]]:
    """Makes what the template needs of an image; the page's images together stay bounded."""
    from ffr_eval.report.image_files import Inline, inline

    total = 0

    def picture(image: ImageView) -> dict[str, Any]:
        nonlocal total
        found = Inline(None, problem="no file") if image.file is None else inline(image.file)
        if found.uri is not None and total + len(found.uri) > _MAX_IMAGES_CHARS:
            found = Inline(None, problem="left out, because the page has many images")
        total += len(found.uri or "")
        return {
            "img_id": image.img_id,
            "uri": found.uri,
            "width": found.width,
            "height": found.height,
            "problem": found.problem,
            "caption": visible_lines(image.caption) if image.caption else None,
            "url": visible(image.url) if image.url else None,
            "gold_of": sorted(image.gold_of),
        }

    return picture
