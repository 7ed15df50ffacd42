"""Draw every picture of the bundled `ffr-sample` benchmark.

The drawing has no randomness: the same Pillow and the same font give the same files. The bundled
pictures were drawn with WenQuanYi Micro Hei.

    python scripts/draw_sample_images.py --out ffr_eval/data/ffr-sample/images

`SHEETS` holds tables, receipts and charts; in each line the parts are separated by " / ", cells by
"|". `SKETCHES` holds free drawings as commands of one letter, separated by ";":

    T x y size color words     text with its middle at (x, y)
    R x0 y0 x1 y1 fill words   rectangle with a label
    O x y radius color fill    circle, "-" for no fill
    L color width x y x y ...  line         D color x y x y ...   dashed line
    A color x0 y0 x1 y1        arrow        C color x0 y0 x1 y1   open curl (a leaf)
    P fill x y x y ...         polygon
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT_PACKAGE = "fonts-wqy-microhei"
FONT_FILES = ("wqy-microhei.ttc", "wqy-zenhei.ttc", "NotoSansCJK-Regular.ttc")
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
Point = tuple[float, float]

SHEETS = """
receipt zh01_booking / 订位成功 / 稻香小院  河滨路 8 号
日期|6月14日 周六 / 时间|17:30 / 包间|听雨 (一楼) / 人数|10 人 / 最低消费|1280 元
已付定金|200 元 / 停车请走后门  联系人 小满

receipt zh01_repair_receipt / 老顾修车行 / 收据  2025-06-07
8 速链条|68.00 / 飞轮 11-32T|95.00 / 变速线|15.00 / 工时|40.00 / 熟客减免|-18.00
合计|200.00 / 配件保三个月

table zh02_sports_day / 春田小学运动会  5月15日 (周四)
时间|项目|地点 / 8:20|入场式|主操场 / 9:00|二年级 50 米|直道 / 9:40|跳绳 (一分钟)|体育馆
10:30|亲子接力|主操场 / 11:15|颁奖|主席台 / * 接力请提前 15 分钟检录

lines zh02_crash_chart / 5月15日 崩溃率 (%) / 0 3 0.5 / limit 1.0 警戒线
10时 / 11时 / 12时 / 13时 / 14时 / 15时 / 16时
灰度用户 / 0.3 0.3 0.4 0.7 1.8 2.6 2.4

receipt zh02_camp_receipt / 百惠超市 / 购物小票  2025-05-20
牛肉串 x12|96.00 / 鸡翅 x2 盒|58.00 / 玉米 x6|24.00 / 棉花糖 x3 包|27.00 / 面包 x4 袋|32.00
木炭 x2 箱|56.00
合计|293.00 / 谢谢惠顾

table zh03_ferry / 白石码头 → 青屿岛
班次|开船|到岛|票价|备注 / 1|07:10|08:25|85|仅周六日 / 2|09:30|10:45|85|每天 / 3|12:40|13:55|85|每天
4|15:50|17:05|70|周五 周日 / * 请提前 30 分钟到码头换票

table zh03_lodging / 青屿岛住处
名称|平日|周末|到灯塔|露台 / 听潮小筑|218|268|300 米|无 / 礁石民宿|350|420|1.2 公里|有
渔火客栈|158|198|2 公里|无

table zh03_film_notes / 第二卷  ISO 200
张|地点|光圈|快门 / 1|菜市场门口|f/5.6|1/125 / 2|江边 阴天|f/4|1/60 / 3|楼道窗下|f/2|1/30
4|晚霞|f/8|1/125

lines zh03_blood_pressure / 家庭血压 9月1日-14日 (早晨 mmHg) / 70 170 20 / mark 7 换药
1 / 2 / 3 / 4 / 5 / 6 / 7 / 8 / 9 / 10 / 11 / 12 / 13 / 14
高压 / 152 149 155 151 148 153 150 146 142 139 136 133 131 130
低压 / 96 94 97 95 93 96 94 92 90 88 86 85 83 82

receipt en01_movers_quote / DRAY BROTHERS / Quote for Sat 22 March
Three movers, half day|340.00 / Piano, wrap and carry|85.00 / Stairs (flat fee)|30.00
20 boxes|40.00 / Online discount|-25.00
TOTAL (GBP)|470.00 / Deposit 100.00 to confirm

bars en01_bean_chart / Maya's beans: height on day 14 / 0 30 5
tap water / rain water / cold tea
mean of three pots, cm / 18.2 24.6 11.4

table en01_fair_schedule / Hillside Primary Science Fair
Time|What|Where / 12:45|Judging, Year 3|Hall / 13:10|Judging, Year 4|Library
13:35|Judging, Year 5|Hall / 14:00|Doors open to families|Hall / 14:50|Prizes|Stage
* Friday 14 March. Please use the side gate.

table en01_cat_note / BISCUIT
When|What / 7 am|half a pouch, fresh water / 6 pm|other half + handful of dry
Twice a day|eye drops, left eye / Always|will act as if he hasn't been fed / Hates|the hoover
Loves|the sink / * Vet: Moor Lane, 01632 960 118

bars en02_cost_chart / One seeded loaf costs 3.30 to make / 0 1.4 0.2
flour / seeds / labour / oven / packaging
GBP a loaf, stall fee not included / 0.62 0.98 1.15 0.34 0.21

table en02_physio_sheet / Harbour Physio: Gus, right knee
Exercise|Sets|How often / Straight-leg raise|3 x 12|daily / Shallow wall sit|3 x 30 s|daily
Heel slide|2 x 15|twice daily / Calf raise|3 x 15|daily / * No kneeling, no twisting.
* Next review: Friday 13 June

bars en02_sales_chart / Saturday 14 June: loaves sold / 0 20 5
8:00 / 8:30 / 9:00 / 9:30 / 10:00 / 10:30 / 11:00 / 11:30 / 12:00
half hour from / 4 8 11 14 16 12 3 9 7

table en03_forecast / Reservoir Road, overnight
Night|Cloud|Clear from|Moonrise|Wind / Thu 13|70%|02:30|00:48|18 mph
Fri 14|100%|never|01:58|22 mph / Sat 15|10%|20:00|03:05|6 mph / Sun 16|25%|22:40|04:11|8 mph

table en03_settings / Perseids, August
Setting|Value / Lens|14 mm at f/2.8 / Shutter|20 s, interval 1 s / ISO|3200, RAW
White balance|3900 K / Noise reduction|OFF / Aim|45 degrees off the radiant

receipt en03_invoice / DOYLE HEATING / Invoice 0417, 12 Nov 2025
Call-out|60.00 / Labour, 1.5 h|82.50 / Fan unit|148.00 / Gasket|6.50 / Referral discount|-20.00
TO PAY (GBP)|277.00 / Part guaranteed 12 months
"""

SKETCHES = """
zh01_bike_sketch 640 420 ivory
O 210 210 150 gray -; O 210 210 58 black -; O 210 210 44 black -; O 210 210 30 black -
O 210 210 18 black -; O 500 220 70 black -; L navy 4 205 192 500 150
L navy 4 212 228 245 300 270 345 500 290; O 245 300 12 black -; O 270 345 12 black -
O 210 206 34 red -; A red 92 80 190 182; T 70 62 20 red 这里打滑; T 500 220 20 black 牙盘
T 400 148 20 black 链条; T 320 372 20 black 后拨; T 305 265 20 black 飞轮
T 560 60 20 black 指拨 7 → 8 档

zh01_tomato 480 520 aliceblue
P sienna 150 400 330 400 300 500 180 500; L green 7 240 400 236 280 246 150 240 80
L green 5 238 330 178 310; C green 121 273 185 323; L green 5 238 280 298 260
C green 291 223 355 273; L green 5 242 220 182 200; C green 125 163 189 213
L green 5 244 160 304 140; C green 297 103 361 153; L green 5 240 100 180 80; C green 123 43 187 93
O 216 258 14 red red; O 266 196 14 red red; T 390 340 22 red 叶边往里卷; T 390 60 20 gray 南阳台

zh02_whiteboard 720 380 gray
R 8 8 712 372 white; T 200 48 30 navy 拾光相册 2.0 上线排期; A navy 174 165 204 165
R 40 110 172 220 white; T 106 140 28 red 5/12; T 106 186 25 black 提测; T 106 246 20 gray 老许
R 208 110 340 220 white; T 274 140 28 red 5/15; T 274 186 25 black 灰度 10%; T 274 246 20 gray 唐宁
R 376 110 508 220 white; T 442 140 28 red 5/19; T 442 186 25 black 全量; T 442 246 20 gray 全员
R 544 110 676 220 white; T 610 140 28 red 5/20; T 610 186 25 black 复盘; T 610 246 20 gray 唐宁
A navy 342 165 372 165; A navy 510 165 540 165
T 300 310 22 green 待办  备份接口联调 / 引导页插画 x2 / 海报

zh02_camp_map 680 480 honeydew
L skyblue 46 60 470 150 360 130 230 230 120 220 10; A navy 150 220 215 140; T 276 150 20 navy 上游
O 458 226 96 black wheat; P orange 374 235 426 235 400 190; P orange 434 235 486 235 460 190
P orange 489 235 541 235 515 190; T 455 262 20 black 高地 扎营; T 92 290 20 black 云溪
L red 5 200 350 250 400; L red 5 250 350 200 400; T 225 425 20 black 河滩 别扎
R 520 380 650 450 silver 停车场; R 560 40 640 90 white 厕所; D gray 540 200 600 140 600 92
T 640 150 20 black 5 分钟; O 330 330 18 red orange; T 330 365 20 black 火塘
O 300 70 14 navy skyblue; T 360 70 20 black 山泉水

zh03_island_map 680 500 skyblue
P wheat 110 300 150 160 280 80 430 60 570 130 610 270 520 400 380 440 220 420
D red 190 360 210 210 300 130 430 110 530 180 550 280 460 380 320 400 190 360
O 190 360 10 navy navy; T 140 390 20 black 码头; O 300 130 10 red red; T 228 80 20 black 灯塔
R 265 180 375 220 white 听潮小筑; R 405 225 515 265 white 礁石民宿; R 330 320 440 360 white 渔村
T 268 270 20 black 台阶 412 级; T 385 160 20 red 环岛步道 5.2 公里; T 590 440 22 navy 青屿岛
A black 640 110 640 40; T 640 24 20 black 北

en01_floor_plan 700 480 ivory
R 40 40 300 240 white; R 300 40 660 240 white; R 40 300 260 440 white; R 260 300 430 440 white
R 430 300 660 440 white; R 40 240 660 300 silver; R 60 110 160 220 wheat bed
T 150 370 20 black Kitchen; R 480 60 640 110 wheat piano; R 320 180 440 225 wheat sofa
R 450 250 590 290 pink wardrobe?; R 530 380 650 430 wheat Maya's bed; T 230 75 20 black Bedroom 1
T 390 75 20 black Living room; T 150 270 20 black Hall; T 345 370 20 black Bath
T 500 335 20 black Bedroom 2; T 560 462 18 gray Larch Street, 2nd floor

en02_stall_map 700 460 ivory
R 50 100 640 160 white 1 - 8  waterfront; R 0 0 700 80 skyblue; T 350 40 24 navy HARBOUR
T 350 200 19 gray walkway; R 350 240 415 300 wheat 17; R 50 240 115 300 white 13
R 125 240 190 300 white 14; R 200 240 265 300 white 15; R 275 240 340 300 white 16
R 425 240 490 300 white 18; R 500 240 565 300 white 19; R 575 240 640 300 white 20
R 0 370 700 420 silver; T 300 395 22 black Quay Road; R 560 336 680 369 orange Gate B
T 350 440 19 red Traders unload at Gate B. Power at even numbers only.

en02_label 600 420 sienna
R 16 16 584 404 ivory; T 300 60 44 sienna THE GULL; T 300 104 22 black seeded sourdough, 800 g
O 180 222 58 black white; O 250 175 36 black white; P orange 284 168 324 182 284 192
L black 5 238 152 268 166; O 260 176 4 black black; L black 3 120 220 180 200 220 236
L orange 4 160 270 160 300; L orange 4 200 270 200 300; T 450 190 22 black wheat, rye, water,
T 450 224 22 black pumpkin, sunflower,; T 450 258 22 black linseed, sesame, salt
T 300 356 20 gray Baked by Tern & Crumb. Best within 4 days.

en03_boiler_panel 600 400 gray
R 30 30 570 370 white; T 300 66 24 gray Halden Combi 24; R 190 100 410 220 black
T 300 160 72 orange E28; O 110 160 54 black -; A red 110 160 124 118; T 110 240 20 black 1.4 bar
O 490 160 26 red pink; T 490 240 20 black FAULT; O 180 300 26 gray silver; T 180 346 18 black heat
O 300 300 26 gray silver; T 300 346 18 black water; O 420 300 26 gray silver
T 420 346 18 black reset

en03_seating 700 400 ivory
R 140 140 560 260 wheat pavlova here; R 155 76 270 126 white Ruth; R 293 76 408 126 white Callum
R 431 76 546 126 white Ines; R 155 274 270 324 white Mum; R 293 274 408 324 white Tess
R 431 274 546 324 white Uncle Pat; R 30 175 130 225 pink Orla; R 570 175 670 225 pink Dev
T 80 150 18 black HEAD; T 350 366 18 gray kitchen door; T 350 36 22 navy Saturday, 8 at the table
"""


def find_font() -> Path:
    """Return a font that has Chinese glyphs, or exit with a line saying what to install."""
    for name in FONT_FILES:
        for folder in FONT_FOLDERS:
            for path in sorted(Path(folder).expanduser().rglob(name)):
                return path
    raise SystemExit(
        "error: no font with Chinese glyphs found; install one "
        f"(Debian: apt-get install {FONT_PACKAGE}) or name one with --font"
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


def draw_chart(font: Path, head: list[str], body: list[list[str]], bars: bool) -> Canvas:
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


def draw_sheet(font: Path, block: str) -> tuple[str, Canvas]:
    """Draw one block of SHEETS and return its name with it."""
    (title, *head), *body = [line.split(" / ") for line in block.splitlines()]
    kind, name = title.split()
    if kind == "table":
        return name, draw_table(font, head, body)
    if kind == "receipt":
        return name, draw_receipt(font, head, body)
    return name, draw_chart(font, head, body, bars=kind == "bars")


def draw_sketch(font: Path, block: str) -> tuple[str, Canvas]:
    """Draw one block of SKETCHES and return its name with it."""
    title, *lines = block.splitlines()
    name, width, height, background = title.split()
    canvas = Canvas(font, int(width), int(height), background)
    for command in ";".join(lines).split(";"):
        canvas.command(command)
    return name, canvas


def main() -> None:
    """Draw all pictures into a folder, as PNG files of at most 32 colors."""
    parser = argparse.ArgumentParser(description="Draw the pictures of ffr-sample.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--font", type=Path, help="font with Chinese glyphs (default: search)")
    args = parser.parse_args()
    font = args.font or find_font()
    args.out.mkdir(parents=True, exist_ok=True)
    pictures = [draw_sheet(font, block) for block in SHEETS.strip().split("\n\n")]
    pictures += [draw_sketch(font, block) for block in SKETCHES.strip().split("\n\n")]
    for name, canvas in pictures:
        small = canvas.image.quantize(32, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        small.save(args.out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
