"""Texts that an attacker would put into a benchmark or a run, and a site that is full of them.

Every text that could fetch something names ``127.0.0.2:9``; every script sets ``window.ran``; every
badge, icon, colour or link says ``SPOOF`` or draws a skull; formatted text is ``FORMAT``.
"""

from __future__ import annotations

import json
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboard.site.manifest import MANIFEST, FileRecord, UnscoredRecord, file_hash, read_manifest
from leaderboard.site.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from playwright.sync_api import Page

EVIL: Final = "127.0.0.2:9"
RUN: Final = "window.top.ran=1"
BIDI: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
ZERO_WIDTH: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e"

HOSTILE: Final = (
    # Markdown images, in every way to write one
    f"![x](http://{EVIL}/1.png)",
    f"![x](//{EVIL}/2.png)",
    f"![x](<http://{EVIL}/3.png>)",
    f'![x](http://{EVIL}/4.png "title")',
    f"[![x](http://{EVIL}/5.png)](http://{EVIL}/6)",
    f"![x][r]\n\n[r]: http://{EVIL}/7.png",
    f"a\n\n![x](http://{EVIL}/8.png)\n\nb",
    f"![x](http://{EVIL}/9.png =10x10)",
    f"｜![x](http://{EVIL}/10.png)",
    f"！［x］（http://{EVIL}/11.png）",
    f"| a |\n|---|\n| ![x](http://{EVIL}/12.png) |",
    f"&#33;&#91;x&#93;(http://{EVIL}/13.png)",
    # links
    f"[SPOOF](http://{EVIL}/14)",
    f"[SPOOF](javascript:{RUN})",
    f"[SPOOF](JaVaScRiPt&colon;{RUN})",
    f"[SPOOF](data:text/html,<script>{RUN}</script>)",
    f"[SPOOF](vbscript:{RUN})",
    f"<http://{EVIL}/15>",
    f"http://{EVIL}/16",
    f"<javascript:{RUN}>",
    "mailto:SPOOF@evil.example",
    "www.evil.example/SPOOF",
    "SPOOF@evil.example",
    # HTML
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<img src='http://{EVIL}/17.png'>",
    f"<svg onload={RUN}><image href='http://{EVIL}/18.png'/></svg>",
    f"<iframe src='http://{EVIL}/19'></iframe>",
    f"<iframe srcdoc='<script>{RUN}</script>'></iframe>",
    f"<style>@import 'http://{EVIL}/20.css';*{{background:url(http://{EVIL}/21)}}</style>",
    f"<link rel=stylesheet href=http://{EVIL}/22.css>",
    f"<meta http-equiv=refresh content='0;url=http://{EVIL}/23'>",
    f"<base href='http://{EVIL}/'>",
    "<form id=SPOOF><input id=SPOOF2><button>SPOOF</button></form>",
    "</div></textarea></title></script><h1 id=SPOOF3>SPOOF</h1><!--",
    f"\"><img src=x onerror={RUN}>' onmouseover={RUN} x='",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    # badges, icons, colours, formulas, emoji
    ":material/skull: SPOOF",
    ":red[SPOOF] :green-background[SPOOF] :rainbow[SPOOF]",
    ":green-badge[SPOOF] :blue-badge[:material/skull: SPOOF]",
    ":small[SPOOF] :primary[SPOOF] :color[SPOOF]{foreground=red}",
    ":skull: :white_check_mark: SPOOF",
    ":streamlit: SPOOF",
    "$\\text{SPOOF}$ $$\\href{javascript:" + RUN + "}{SPOOF}$$",
    f"$\\includegraphics{{http://{EVIL}/24.png}}$",
    "# FORMAT\n\n- FORMAT\n\n> FORMAT\n\n```\nFORMAT\n```",
    "**FORMAT** ~~FORMAT~~ `FORMAT`",
    "a __FORMAT__ _FORMAT_",
    "|FORMAT|FORMAT|\n|-|-|\n|FORMAT|FORMAT|",
    # what cannot be seen
    "\u202eFOOPS\u202c",
    f"verified{BIDI}",
    f"gpt{ZERO_WIDTH}-4o",
    "ｖｅｒｉｆｉｅｄ",
    "a\x00b\x07c\x1b[31mSPOOF\x1b[0m\r\n\x7f",
    "Z̸̡̢̛͓̗a̷l̸g̵o̶" * 8,
    "\U000e0041\U000e0042\ufff9x\ufffb",
    # templates, formats, SQL, formulas, places
    "{model} {0.__class__.__mro__} %s %(x)s {x!r:>9999999}",
    "${RUN} #{RUN} <%= RUN %> ${{7*7}}",
    "'; DROP VIEW runs; --",
    "\" OR 1=1 UNION SELECT * FROM read_csv('/etc/passwd') --",
    "%_' ESCAPE '",
    '=HYPERLINK("http://' + EVIL + '/25";"SPOOF")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "../../../../etc/passwd",
    "..\\..\\private\\gold.jsonl",
    "CON/aux.txt:$DATA",
    "a,b&models=c#d?e=f%00",
    "x" * 5_000,
    "",
    " ",
)

LINKS: Final = (
    f"javascript:{RUN}",
    f"JAVASCRIPT:{RUN}",
    f" javascript:{RUN}",
    f"java\tscript:{RUN}",
    f"data:text/html,<script>{RUN}</script>",
    f"http://{EVIL}/30",
    f"//{EVIL}/31",
    f"https://{EVIL}/32",
    f"https://good.example@{EVIL}/33",
    f"https://good.example/)![x](http://{EVIL}/34.png",
    f'https://good.example/" onmouseover="{RUN}',
    "https://good.example/\u202egnp.x",
    "https://goo\u200bd.example/",
    "https://gооd.example/",  # two of its letters are Cyrillic
    "ftp://good.example/x",
)

# What a page must not have, and what of it is found.
LOOK: Final = r"""
() => {
  const roots = [document];  // and those of components, which a document does not search
  for (const root of roots)
    for (const e of root.querySelectorAll('*')) if (e.shadowRoot) roots.push(e.shadowRoot);
  const all = selector => roots.flatMap(root => [...root.querySelectorAll(selector)]);
  const found = [];
  const note = (what, elements) => elements.forEach(
    e => found.push(what + ': ' + e.outerHTML.slice(0, 300)));
  const fetching = 'img, image, source, iframe, object, embed, link, base, form, meta, style';
  const astray = url => !/^https?:$/.test(url.protocol) || url.username
    || /127\.0\.0\.2|evil|good|xn--|\.y$/.test(url.hostname);
  if (window.ran) found.push('script ran');
  const places = ['src', 'srcset', 'href', 'data', 'srcdoc', 'content', 'action', 'xlink:href'];
  const place = e => places.map(name => e.getAttribute(name)).join(' ')
    + (e.tagName === 'STYLE' ? e.textContent : '');
  note('fetch', all(fetching).filter(e => /127\.0\.0\.2|script:|ran=1/.test(place(e))));
  note('link', all('a[href]').filter(e => astray(new URL(e.href))));
  note('element', all('[id^=SPOOF], [onerror], [onload], [onmouseover]'));
  note('icon', all('span, i').filter(e => e.childElementCount === 0
    && /Material Symbols/.test(getComputedStyle(e).fontFamily)
    && /skull|SPOOF/.test(e.textContent)));
  note('badge', all('.stMarkdownBadge, .stMarkdownColoredText, [class*="Badge"]').filter(
    e => /SPOOF/.test(e.textContent)));
  note('format', all('h1, h2, h3, strong, em, code, blockquote, li, td, th, del').filter(
    e => /^FORMAT$/.test(e.textContent.trim())));
  note('formula', all('.katex').filter(e => /SPOOF|127|RUN/.test(e.textContent)));
  for (const root of roots) {
    const walker = document.createTreeWalker(root.body ?? root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (/^(SCRIPT|STYLE|NOSCRIPT)$/.test(node.parentElement?.tagName)) continue;
      if (/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/.test(node.data))
        found.push('bidi: ' + node.data.slice(0, 300));
      if (/💀|✅/u.test(node.data)) found.push('emoji: ' + node.data.slice(0, 200));
    }
  }
  return found;
}
"""


def spoofed(page: Page) -> list[str]:
    """What of the hostile texts took effect on a page and in its frames."""
    return [text for frame in page.frames for text in frame.evaluate(LOOK)]


def poison(site: Path) -> tuple[list[str], list[str]]:
    """Put the texts wherever a site has text from others; gives the ids of runs and samples.

    Ids stay as they are: the publisher makes those.
    """
    everything = "\n\n".join(text for text in HOSTILE if len(text) < 1_000)
    as_object = json.dumps({text: text for text in HOSTILE})
    requests = [
        {
            "part": 0,
            "utt_ids": [0],
            "messages": [
                {"role": text, "parts": [{"type": "text", "text": text}]} for text in HOSTILE
            ],
        }
    ]
    _change(site, "boards", benchmark=_cycled([HOSTILE[0]]), version=_cycled(HOSTILE))
    _change(
        site,
        "runs",
        **dict.fromkeys(
            ("label", "model", "model_version", "model_revision", "tune_on", "team", "git"),
            _cycled(HOSTILE),
        ),
        **dict.fromkeys(("options", "versions", "selection"), lambda _: as_object),
        status=_cycled(HOSTILE),
        prompt_hash=_cycled(HOSTILE),
        link=_cycled(LINKS),
        notes=lambda _: list(HOSTILE),
        incomplete=lambda old: old and HOSTILE[0],
    )
    texts = cycle([everything, *HOSTILE])
    _change(site, "queries", query=lambda _: next(texts))
    _change(
        site,
        "answers",
        response=lambda _: everything,
        finish_reason=_cycled(HOSTILE),
        error=_cycled(HOSTILE),
        prompt_note=_cycled(HOSTILE),
    )
    _change(site, "prompts", requests=lambda _: json.dumps(requests))
    _change(site, "dialogues", turns=_turns, images=_images)
    manifest = read_manifest(site)
    board = msgspec.structs.replace(manifest.boards[0], benchmark=HOSTILE[0], version=HOSTILE[1])
    unscored = tuple(UnscoredRecord(text, text, text) for text in HOSTILE)
    files = {
        name: FileRecord(file_hash(site / name), (site / name).stat().st_size)
        for name in manifest.files
    }
    changed = msgspec.structs.replace(
        manifest,
        boards=(board, *manifest.boards[1:]),
        unscored=unscored,
        files=files,
        code={text[:40]: text for text in HOSTILE},
        encoder=everything,
    )
    (site / MANIFEST).write_bytes(msgspec.json.encode(changed))
    runs = pq.read_table(site / TABLES["runs"].file).column("run_id").to_pylist()
    samples = pq.read_table(site / TABLES["queries"].file).column("sample_id").to_pylist()
    return runs, samples


def _cycled(texts: Iterable[str]) -> Callable[[Any], str]:
    endless = cycle(texts)
    return lambda _: next(endless)


def _change(site: Path, name: str, **changes: Callable[[Any], Any]) -> None:
    table = TABLES[name]
    path = site / table.file
    rows = pq.read_table(path)
    for column, change in changes.items():
        values = [change(old) for old in rows.column(column).to_pylist()]
        field = table.schema.field(column)
        rows = rows.set_column(
            rows.schema.get_field_index(column), field, pa.array(values, field.type)
        )
    pq.write_table(rows, path, row_group_size=table.row_group)


def _turns(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every text, said by a speaker of that name at a time of that name; images stay."""
    found = [dict(turn) for turn in turns]
    more = max(0, len(HOSTILE) - len(found))
    found += [
        {"utt_id": len(found) + i, "speaker": "", "text": "", "time": "", "img_ids": []}
        for i in range(more)
    ]
    for turn, text in zip(found, islice(cycle(HOSTILE), len(found)), strict=True):
        turn |= {"speaker": text, "text": text, "time": text}
    return found


def _images(images: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**image, "caption": text}
        for image, text in zip(images, islice(cycle(HOSTILE), len(images)), strict=True)
    ]
