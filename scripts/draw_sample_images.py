"""Draw the pictures of `ffr-sample`, which are described in `ffr_sample/*.pictures.txt`.

The drawing has no randomness: the same Pillow and the same font give the same files. The bundled
pictures were drawn with WenQuanYi Micro Hei. `build_sample.py` calls this module.

A file holds blocks separated by blank lines; the first word of a block says what it is. In all but
sketches, parts are separated by " / " and cells by "|":

    receipt NAME / HEADING / LINE     rows name|value; the last line is  total|value / foot
    screen NAME / TITLE / LINE        a telephone's screen: rows title|value, then a button
    product NAME / NAME / MAKER       a product sheet: rows key|value, then  price / foot
    table NAME / HEADING              rows, the first of head cells; "*" begins a note below
    board NAME / TITLE                a whiteboard; a part begins with "x " (ticked), "o " (open),
                                      "- " or "! " (in red)
    lines NAME / HEADING / LOW HIGH STEP [/ limit VALUE WORDS] [/ mark INDEX WORDS]
    bars NAME / HEADING / LOW HIGH STEP
                                      charts: a line of labels, then a line a series: name / values
    sketch NAME WIDTH HEIGHT COLOR    commands of one letter, separated by ";":

    T x y size color words     text with its middle at (x, y)
    R x0 y0 x1 y1 fill words   rectangle with a label
    O x y radius color fill    circle, "-" for no fill
    L color width x y x y ...  line         D color x y x y ...   dashed line
    A color x0 y0 x1 y1        arrow        C color x0 y0 x1 y1   open curl (a leaf)
    P fill x y x y ...         polygon
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT_PACKAGE = "fonts-wqy-microhei"
FONT_FILES = ("wqy-microhei.ttc", "wqy-zenhei.ttc", "NotoSansCJK-Regular.ttc")
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
Point = tuple[float, float]


def find_font() -> Path:
    """Return a font that has Chinese glyphs, or exit with a line saying what to install."""
    for name in FONT_FILES:
        for folder in FONT_FOLDERS:
            for path in sorted(Path(folder).expanduser().rglob(name)):
                return path
    raise SystemExit(
        "error: no font with Chinese glyphs found; install one "
        f"(Debian: apt-get install {FONT_PACKAGE})"
    )


def pairs(values: list[str]) -> list[Point]:
    """Group "x y x y ..." into points."""
    numbers = [float(value) for value in values]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


class Canvas:
    """A drawing surface: Pillow with one font and named colors."""

    def __init__(self, font: Path, width: int, height: int, background: str = "white") -> None:
        self.font = font
        self.image = Image.new("RGB", (width, height), background)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: int, color: str, anchor: str) -> None:
        """Write one line; the anchor is Pillow's (la: left top, mm: middle, ra: right top)."""
        self.draw.text((x, y), text, color, ImageFont.truetype(self.font, size), anchor=anchor)

    def line(self, points: list[Point], color: str, width: int = 3) -> None:
        """Draw a line through the points."""
        self.draw.line(points, fill=color, width=width, joint="curve")

    def dashes(self, points: list[Point], color: str) -> None:
        """Draw a dashed line through the points."""
        for (x0, y0), (x1, y1) in pairwise(points):
            steps = max(2, int(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 / 9))
            for k in range(0, steps, 2):
                ends = (k / steps, (k + 1) / steps)
                self.line([(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in ends], color)

    def arrow(self, start: Point, end: Point, color: str) -> None:
        """Draw a straight arrow."""
        self.line([start, end], color)
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = (dx * dx + dy * dy) ** 0.5
        ux, uy = dx / length * 12, dy / length * 12
        wings = [(end[0] - ux + s * uy * 0.6, end[1] - uy - s * ux * 0.6) for s in (1, -1)]
        self.draw.polygon([end, *wings], fill=color)

    def command(self, command: str) -> None:
        """Run one command of the sketch language (see the top of the file)."""
        op, *args = command.split()
        if op == "T":
            x, y = map(float, args[:2])
            self.text(x, y, " ".join(args[4:]), int(args[2]), args[3], "mm")
        elif op == "R":
            x0, y0, x1, y1 = map(float, args[:4])
            self.draw.rectangle((x0, y0, x1, y1), args[4], "black", 2)
            self.text((x0 + x1) / 2, (y0 + y1) / 2, " ".join(args[5:]), 19, "black", "mm")
        elif op == "O":
            x, y, radius = map(float, args[:3])
            area = (x - radius, y - radius, x + radius, y + radius)
            self.draw.ellipse(area, None if args[4] == "-" else args[4], args[3], 3)
        elif op == "L":
            self.line(pairs(args[2:]), args[0], int(args[1]))
        elif op == "D":
            self.dashes(pairs(args[1:]), args[0])
        elif op == "A":
            start, end = pairs(args[1:])
            self.arrow(start, end, args[0])
        elif op == "C":
            self.draw.arc(pairs(args[1:]), 20, 330, args[0], 5)
        elif op == "P":
            self.draw.polygon(pairs(args[1:]), args[0], "black")
        else:
            raise ValueError(f"unknown sketch command: {command}")


def draw_table(font: Path, head: list[str], body: list[list[str]]) -> Canvas:
    """Draw a ruled table; parts that begin with "*" are notes below it."""
    parts = [part for line in body for part in line]
    rows = [part.split("|") for part in parts if not part.startswith("*")]
    notes = [part for part in parts if part.startswith("*")]
    measure = ImageFont.truetype(font, 20)
    widths = [max(measure.getlength(cell) for cell in column) for column in zip(*rows, strict=True)]
    spare = max(36.0, (440 - sum(widths)) / len(widths))
    widths = [width + spare for width in widths]
    bottom = 74 + 44 * len(rows)
    canvas = Canvas(font, int(sum(widths)) + 40, bottom + 20 + 34 * len(notes), "ivory")
    canvas.text(canvas.image.width / 2, 38, head[0], 27, "navy", "mm")
    for r, row in enumerate(rows):
        left, top = 20.0, 74 + r * 44
        for cell, width in zip(row, widths, strict=True):
            fill = "skyblue" if r == 0 else "ivory"
            canvas.draw.rectangle((left, top, left + width, top + 44), fill, "gray")
            canvas.text(left + width / 2, top + 22, cell, 20, "black", "mm")
            left += width
    for k, note in enumerate(notes):
        canvas.text(24, bottom + 12 + 34 * k, note, 20, "red", "la")
    return canvas


def draw_receipt(font: Path, head: list[str], body: list[list[str]]) -> Canvas:
    """Draw a receipt; the last line of its body is the total and the foot."""
    rows = [part for line in body[:-1] for part in line]
    total, foot = body[-1]
    end = 112 + 40 * len(rows)
    canvas = Canvas(font, 480, end + 100, "ivory")
    canvas.text(240, 36, head[0], 28, "black", "mm")
    canvas.text(240, 72, head[1], 19, "gray", "mm")
    for y in (96, end):
        canvas.dashes([(24, y), (456, y)], "gray")
    places = [(112 + 40 * k, row, 21) for k, row in enumerate(rows)] + [(end + 14, total, 26)]
    for y, row, size in places:
        name, value = row.split("|")
        canvas.text(28, y, name, size, "black", "la")
        canvas.text(452, y, value, size, "black", "ra")
    canvas.text(240, end + 76, foot, 18, "gray", "mm")
    return canvas


def draw_chart(font: Path, head: list[str], body: list[list[str]], *, bars: bool) -> Canvas:
    """Draw a line or bar chart: labels, then one line a series; the head gives axis and extras."""
    canvas = Canvas(font, 720, 440)
    low, high, step = map(float, head[1].split())
    labels = body[0]
    xs = [80 + (k + 0.5) * 600 / len(labels) for k in range(len(labels))]

    def height(value: float) -> float:
        return 370 - 280 * (value - low) / (high - low)

    canvas.text(360, 34, head[0], 25, "black", "mm")
    for k in range(round((high - low) / step) + 1):
        y = height(low + k * step)
        canvas.line([(80, y), (680, y)], "silver", 1)
        canvas.text(70, y, f"{low + k * step:g}", 18, "black", "rm")
    for x, label in zip(xs, labels, strict=True):
        canvas.text(x, 392, label, 17, "black", "mm")
    for (name, numbers), color in zip(body[1:], ("navy", "green"), strict=False):
        points = [(x, height(float(v))) for x, v in zip(xs, numbers.split(), strict=True)]
        if bars:
            for x, y in points:
                area = (x - 200 / len(xs), y, x + 200 / len(xs), height(low))
                canvas.draw.rectangle(area, color)
        else:
            canvas.line(points, color)
        for (x, y), number in zip(points, numbers.split(), strict=True):
            canvas.text(x, y - 16, number, 17, "black" if bars else color, "mm")
        x, y = (360, 420) if bars else (640, points[-1][1] + 26)
        canvas.text(x, y, name, 18, "gray" if bars else color, "mm")
    for extra in head[2:]:
        kind, where, words = extra.split(" ", 2)
        if kind == "limit":
            canvas.dashes([(80, height(float(where))), (680, height(float(where)))], "red")
            canvas.text(90, height(float(where)) - 26, f"{words} {where}", 18, "red", "la")
        else:
            x = 80 + int(where) * 600 / len(labels)
            canvas.dashes([(x, 90), (x, 370)], "gray")
            canvas.text(x + 8, 66, words, 18, "red", "la")
    return canvas


def draw_screen(font: Path, head: list[str], body: list[list[str]]) -> Canvas:
    """Draw a telephone's screen; the last line of its body is a button."""
    rows = [part.split("|") for line in body[:-1] for part in line]
    measure = ImageFont.truetype(font, 21)
    widest = max(sum(measure.getlength(cell) for cell in row) for row in rows)
    width = max(420, int(widest) + 110)
    end = 138 + 62 * len(rows)
    canvas = Canvas(font, width, end + 92, "whitesmoke")
    canvas.draw.rectangle((0, 0, width, 30), "midnightblue")
    canvas.text(16, 15, "9:41", 16, "white", "lm")
    canvas.draw.rectangle((width - 46, 9, width - 16, 21), None, "white", 2)
    canvas.draw.rectangle((0, 30, width, 124), "steelblue")
    canvas.text(20, 64, head[0], 27, "white", "lm")
    canvas.text(20, 102, head[1], 18, "white", "lm")
    for k, (title, value) in enumerate(rows):
        top = 138 + 62 * k
        canvas.draw.rounded_rectangle((12, top, width - 12, top + 54), 10, "white", "lightgray")
        canvas.text(28, top + 27, title, 20, "dimgray", "lm")
        canvas.text(width - 28, top + 27, value, 21, "black", "rm")
    canvas.draw.rounded_rectangle((60, end + 14, width - 60, end + 68), 26, "seagreen")
    canvas.text(width / 2, end + 41, body[-1][0], 22, "white", "mm")
    return canvas


def draw_product(font: Path, head: list[str], body: list[list[str]]) -> Canvas:
    """Draw a product sheet; the last line of its body is the price and the foot."""
    rows = [part.split("|") for line in body[:-1] for part in line]
    price, foot = body[-1]
    measure = ImageFont.truetype(font, 20)
    widths = [max(measure.getlength(row[k]) for row in rows) for k in (0, 1)]
    width = max(520, int(sum(widths)) + 110, int(measure.getlength(foot)) + 60)
    end = 122 + 42 * len(rows)
    canvas = Canvas(font, width, end + 116)
    canvas.draw.rectangle((0, 0, width, 104), "darkslategray")
    canvas.text(24, 40, head[0], 30, "white", "lm")
    canvas.text(24, 80, head[1], 18, "lightgray", "lm")
    for k, (key, value) in enumerate(rows):
        top = 116 + 42 * k
        canvas.draw.rectangle((16, top, width - 16, top + 42), "aliceblue" if k % 2 else "white")
        canvas.text(30, top + 21, key, 20, "dimgray", "lm")
        canvas.text(max(widths[0] + 64, width * 0.42), top + 21, value, 20, "black", "lm")
    canvas.line([(16, end + 8), (width - 16, end + 8)], "darkslategray")
    canvas.text(30, end + 44, price, 30, "firebrick", "lm")
    canvas.text(30, end + 88, foot, 18, "dimgray", "lm")
    return canvas


def draw_board(font: Path, head: list[str], body: list[list[str]]) -> Canvas:
    """Draw a whiteboard with a list on it."""
    parts = [part for line in body for part in line]
    measure = ImageFont.truetype(font, 24)
    width = max(540, int(max(measure.getlength(part) for part in parts)) + 110)
    canvas = Canvas(font, width, 118 + 46 * len(parts), "gray")
    canvas.draw.rectangle((10, 10, width - 10, canvas.image.height - 10), "white")
    canvas.text(width / 2, 50, head[0], 29, "navy", "mm")
    canvas.line([(60, 76), (width - 60, 76)], "navy", 2)
    for k, part in enumerate(parts):
        y = 112 + 46 * k
        sign, words = part[:1], part[2:]
        if part[1:2] != " " or sign not in "xo-!":
            sign, words = "", part
        if sign in ("x", "o"):
            canvas.draw.rectangle((32, y - 11, 54, y + 11), None, "black", 2)
        if sign == "x":
            canvas.line([(36, y), (42, y + 7), (58, y - 14)], "green", 4)
        if sign == "-":
            canvas.draw.ellipse((38, y - 5, 48, y + 5), "black")
        canvas.text(68, y, words, 24, "red" if sign == "!" else "black", "lm")
    return canvas


def draw_sketch(font: Path, title: str, lines: list[str]) -> Canvas:
    """Draw commands of the sketch language (see the top of the file)."""
    width, height, background = title.split()[2:]
    canvas = Canvas(font, int(width), int(height), background)
    for command in ";".join(lines).split(";"):
        canvas.command(command)
    return canvas


SHEETS = {
    "table": draw_table,
    "receipt": draw_receipt,
    "screen": draw_screen,
    "product": draw_product,
    "board": draw_board,
    "lines": partial(draw_chart, bars=False),
    "bars": partial(draw_chart, bars=True),
}


def draw(font: Path, block: str) -> tuple[str, Image.Image]:
    """Draw one block of a picture file: the picture's name, and the picture in at most 32 colors.

    Raises:
        ValueError: If the block cannot be understood.
    """
    first, *lines = block.splitlines()
    kind, name = first.split(" / ")[0].split()[:2]
    if kind == "sketch":
        canvas = draw_sketch(font, first, lines)
    elif kind in SHEETS:
        head = first.split(" / ")[1:]
        canvas = SHEETS[kind](font, head, [line.split(" / ") for line in lines])
    else:
        raise ValueError(f"unknown kind of picture {kind!r}: {', '.join([*SHEETS, 'sketch'])}")
    quantized = canvas.image.quantize(32, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return name, quantized
