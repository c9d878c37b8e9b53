#!/usr/bin/env python3
"""Draws the five illustrations of goldfish/: `pip install pillow`, then `python3 draw.py`.

Five styles, sizes and formats: a flat bowl (PNG), an ink sketch with a palette (GIF), pixel art (BMP),
a pond from above (JPEG) and a postage stamp of facets (WebP, lossless).
"""
import math
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

OUT = Path(__file__).parent / "goldfish"


def curve(points, steps=24):
    """A closed Catmull-Rom spline through the points."""
    out = []
    n = len(points)
    for i in range(n):
        p0, p1, p2, p3 = (points[(i + j - 1) % n] for j in range(4))
        for s in range(steps):
            t = s / steps
            out.append(tuple(
                0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)
                for a, b, c, d in zip(p0, p1, p2, p3)))
    return out


def place(points, x, y, scale, angle=0.0, flip=False):
    """Points in fish coordinates to the picture."""
    c, s = math.cos(angle), math.sin(angle)
    out = []
    for px, py in points:
        if flip:
            px = -px
        out.append((x + scale * (c * px - s * py), y + scale * (s * px + c * py)))
    return out


def gradient(size, top, bottom):
    image = Image.new("RGB", (1, size[1]))
    for y in range(size[1]):
        t = y / (size[1] - 1)
        image.putpixel((0, y), tuple(round(a + (b - a) * t) for a, b in zip(top, bottom)))
    return image.resize(size)


# A fancy goldfish from the side, nose to the right, about 2 wide.
BODY = [(0.95, 0.02), (0.75, -0.3), (0.3, -0.5), (-0.25, -0.42), (-0.6, -0.12), (-0.6, 0.12), (-0.25, 0.42), (0.3, 0.52), (0.75, 0.3)]
TAIL = [(-0.5, 0.0), (-0.85, -0.4), (-1.35, -0.75), (-1.2, -0.3), (-1.05, 0.0), (-1.25, 0.35), (-1.3, 0.85), (-0.85, 0.42)]
DORSAL = [(0.35, -0.46), (0.2, -0.85), (-0.2, -0.95), (-0.42, -0.75), (-0.4, -0.34)]
BELLY = [(0.1, 0.45), (-0.05, 0.85), (-0.3, 0.95), (-0.3, 0.42)]
PECTORAL = [(0.35, 0.2), (0.2, 0.5), (-0.1, 0.55), (0.1, 0.25)]


def bowl():
    k = 3
    w, h = 640 * k, 480 * k
    image = gradient((w, h), (255, 236, 205), (250, 205, 170))
    d = ImageDraw.Draw(image)
    d.rectangle([0, 385 * k, w, h], fill=(176, 112, 78))
    d.rectangle([0, 385 * k, w, 393 * k], fill=(203, 138, 99))
    d.rectangle([40 * k, 30 * k, 190 * k, 230 * k], fill=(160, 205, 226), outline=(255, 250, 240), width=9 * k)
    d.line([115 * k, 30 * k, 115 * k, 230 * k], fill=(255, 250, 240), width=6 * k)
    d.ellipse([200 * k, 405 * k, 480 * k, 445 * k], fill=(140, 86, 60))
    d.ellipse([160 * k, 90 * k, 520 * k, 430 * k], fill=(214, 238, 244))
    water = Image.new("L", (w, h), 0)
    wd = ImageDraw.Draw(water)
    wd.ellipse([170 * k, 100 * k, 510 * k, 420 * k], fill=255)
    wd.rectangle([0, 0, w, 175 * k], fill=0)
    image.paste(gradient((w, h), (133, 206, 230), (60, 146, 196)), (0, 0), water)
    d.ellipse([207 * k, 163 * k, 473 * k, 187 * k], fill=(176, 226, 240))
    random.seed(3)
    for _ in range(90):
        a = random.uniform(0.25, math.pi - 0.25)
        r = random.uniform(120, 150)
        x, y = 340 + r * math.cos(a), 262 + r * math.sin(a)
        if y > 365:
            s = random.uniform(5, 9)
            d.ellipse([(x - s) * k, (y - s * 0.7) * k, (x + s) * k, (y + s * 0.7) * k],
                      fill=random.choice([(226, 214, 190), (196, 176, 148), (240, 232, 214)]))
    for x, height in [(250, 130), (262, 100), (430, 115)]:
        points = [(x + 10 * math.sin(i / 3), 395 - height * i / 14) for i in range(15)]
        d.line([(px * k, py * k) for px, py in points], fill=(58, 140, 92), width=8 * k, joint="curve")
    x, y, s = 345 * k, 270 * k, 88 * k
    for shape, colour in [(TAIL, (255, 166, 64)), (DORSAL, (255, 150, 50)), (BELLY, (255, 166, 64)), (BODY, (250, 120, 30))]:
        d.polygon(curve(place(shape, x, y, s)), fill=colour)
    d.polygon(curve(place([(0.8, 0.2), (0.2, 0.3), (-0.4, 0.15), (-0.2, 0.36), (0.3, 0.45)], x, y, s)), fill=(255, 196, 110))
    for row in range(4):
        for i in range(5):
            cx, cy = x + s * (-0.35 + 0.19 * i + 0.09 * (row % 2)), y + s * (-0.25 + 0.15 * row)
            d.arc([cx - 9 * k, cy - 9 * k, cx + 9 * k, cy + 9 * k], 290, 70, fill=(222, 92, 14), width=2 * k)
    d.polygon(curve(place(PECTORAL, x, y, s)), fill=(255, 176, 80))
    d.ellipse([x + 46 * k, y - 24 * k, x + 70 * k, y], fill=(255, 255, 255))
    d.ellipse([x + 54 * k, y - 19 * k, x + 67 * k, y - 6 * k], fill=(30, 24, 30))
    d.ellipse([x + 61 * k, y - 17 * k, x + 65 * k, y - 13 * k], fill=(255, 255, 255))
    d.arc([x + 62 * k, y - 2 * k, x + 84 * k, y + 16 * k], 40, 150, fill=(150, 50, 10), width=3 * k)
    for bx, by, r in [(455, 240, 7), (462, 215, 5), (452, 195, 8)]:
        d.ellipse([(bx - r) * k, (by - r) * k, (bx + r) * k, (by + r) * k], outline=(225, 245, 250), width=2 * k)
    d.arc([180 * k, 110 * k, 500 * k, 410 * k], 150, 215, fill=(245, 252, 255), width=7 * k)
    d.ellipse([222 * k, 88 * k, 458 * k, 122 * k], outline=(236, 248, 250), width=6 * k)
    image.resize((640, 480), Image.LANCZOS).save(OUT / "bowl.png", optimize=True)


def ink():
    k = 4
    w, h = 420 * k, 560 * k
    image = Image.new("RGB", (w, h), (247, 242, 230))
    d = ImageDraw.Draw(image)
    random.seed(11)
    angle = -0.9
    x, y, s = 200 * k, 250 * k, 105 * k

    def brush(points, width, colour=(28, 26, 30), close=True):
        points = list(points) + ([points[0]] if close else [])
        for i in range(len(points) - 1):
            (ax, ay), (bx, by) = points[i], points[i + 1]
            t = i / len(points)
            r = width * k * (0.45 + 0.75 * abs(math.sin(5 * t * math.pi)) + random.uniform(-0.05, 0.05)) / 2
            n = max(1, int(math.hypot(bx - ax, by - ay) / k))
            for j in range(n + 1):
                px, py = ax + (bx - ax) * j / n, ay + (by - ay) * j / n
                d.ellipse([px - r, py - r, px + r, py + r], fill=colour)

    wash = curve(place([(px * 0.97 + 0.03, py * 0.93 + 0.03) for px, py in BODY], x, y, s, angle))
    d.polygon(wash, fill=(238, 140, 84))
    for shape in (TAIL, DORSAL, BELLY):
        d.polygon(curve(place([(px * 0.98, py * 0.96) for px, py in shape], x, y, s, angle)), fill=(246, 190, 150))
    for shape in (TAIL, DORSAL, BELLY, PECTORAL):
        brush(curve(place(shape, x, y, s, angle)), 4)
    brush(curve(place(BODY, x, y, s, angle)), 6)
    for i in range(7):
        t = -0.55 + i * 0.11
        brush(place([(-0.55, 0.01), (-0.9, t * 0.75), (-1.15, t * 1.25)], x, y, s, angle), 1.5, close=False)
        brush(place([(0.25 - i * 0.09, -0.5), (0.15 - i * 0.09, -0.68), (0.02 - i * 0.07, -0.84)], x, y, s, angle), 1.5, close=False)
    for row in range(5):
        for i in range(5):
            px, py = -0.4 + 0.17 * i + 0.085 * (row % 2), -0.28 + 0.14 * row
            arc = [(px + 0.09 * math.cos(a), py + 0.09 * math.sin(a)) for a in (-1.1, -0.5, 0.0, 0.5, 1.1)]
            brush(place(arc, x, y, s, angle), 1.8, close=False)
    gill = [(0.5 + 0.12 * math.cos(a), 0.05 + 0.32 * math.sin(a)) for a in (1.9, 2.4, 2.9, 3.4, 3.9, 4.4)]
    brush(place(gill, x, y, s, angle), 3, close=False)
    ex, ey = place([(0.7, -0.1)], x, y, s, angle)[0]
    d.ellipse([ex - 12 * k, ey - 12 * k, ex + 12 * k, ey + 12 * k], fill=(247, 242, 230), outline=(28, 26, 30), width=3 * k)
    d.ellipse([ex - 5 * k, ey - 6 * k, ex + 6 * k, ey + 5 * k], fill=(28, 26, 30))
    for i in range(3):
        yy = 455 + 22 * i
        brush([((60 + 20 * i + j * 12) * k, (yy + 7 * math.sin(j / 2 + i)) * k) for j in range(22 - 3 * i)], 3.5, (112, 128, 140), close=False)
    d.rectangle([352 * k, 470 * k, 392 * k, 520 * k], fill=(190, 40, 34))
    for yy in (480, 494, 508):
        d.line([360 * k, yy * k, 384 * k, yy * k], fill=(247, 242, 230), width=3 * k)
    d.line([372 * k, 476 * k, 372 * k, 514 * k], fill=(247, 242, 230), width=3 * k)
    image = image.resize((420, 560), Image.LANCZOS)
    image.quantize(32, dither=Image.Dither.NONE).save(OUT / "ink.gif")


def pixels():
    rows = [
        "............................................",
        "............................................",
        ".................kkkkkk.....................",
        "...............kkyyoyyok....................",
        "..............kyyoyyoyyok...................",
        "...kkk.......kooooooooooookkk...............",
        "..kyyyk....kkoooooooooooooooookk............",
        "..kyoyyk..kooooooooooooooooooookk...........",
        "...kyooykkooroorooroorooooooooooook.........",
        "...kyoooyooroorooroorooroooorwwwooook.......",
        "....kyoooorooroorooroorooroowkkwwooook......",
        "....kyooorooroorooroorooroorwkkwwoooook.....",
        ".....kooorooroorooroorooroorwwwwwooorok.....",
        "....kyoooroorooryyyyrooroororwwwoooorrk.....",
        "....kyooooroorooyyyyyrooroooooooooorrk......",
        "...kyoooykorooroyyyyyoorooroooooooook.......",
        "...kyooykkkroorooyyyooroorooooooyyok........",
        "..kyoyyk..kkyyyyyyyyyyyyyyyyyyyyykk.........",
        "..kyyyk.....kkyyyyyyyyyyyyyyyykk............",
        "...kkk........kkkyyokkkyyokkkk..............",
        "................kyoyk.kyoyk.................",
        ".................kkk...kkk..................",
        "............................................",
        "............................................",
    ]
    colours = {"k": (58, 20, 30), "o": (255, 136, 24), "r": (222, 84, 16), "y": (255, 206, 74), "w": (255, 255, 255)}
    width, height = 52, 40
    image = Image.new("RGB", (width, height))
    bands = [(20, 52, 108), (24, 76, 140), (32, 104, 168), (48, 136, 196)]
    for y in range(height):
        for x in range(width):
            level = 3.4 - 3.6 * y / height + 0.5 * ((x + y) % 2)
            image.putpixel((x, y), bands[max(0, min(3, int(level)))])
    d = ImageDraw.Draw(image)
    for x, top in [(3, 26), (5, 30), (46, 22), (48, 28), (44, 31)]:
        for y in range(top, 36):
            image.putpixel((x + (y // 3) % 2, y), (36, 148, 84) if y % 3 else (24, 112, 64))
    d.rectangle([0, 36, width, height], fill=(196, 164, 104))
    random.seed(5)
    for _ in range(40):
        image.putpixel((random.randrange(width), random.randrange(36, height)), random.choice([(160, 128, 76), (224, 196, 136)]))
    for y, row in enumerate(rows):
        for x, c in enumerate(row):
            if c in colours:
                image.putpixel((x + 4, y + 8), colours[c])
    for x, y in [(47, 14), (48, 9), (46, 5)]:
        d.rectangle([x, y, x + 1, y + 1], fill=(196, 232, 248))
    image.resize((width * 6, height * 6), Image.NEAREST).save(OUT / "pixels.bmp")


def pond():
    k = 2
    w, h = 900 * k, 600 * k
    random.seed(21)
    image = gradient((w, h), (40, 96, 92), (16, 54, 66))
    glow = Image.new("RGB", (w, h))
    gd = ImageDraw.Draw(glow)
    for _ in range(60):
        x, y, r = random.uniform(0, w), random.uniform(0, h), random.uniform(40, 140) * k
        c = random.randint(4, 16)
        gd.ellipse([x - r, y - r * 0.6, x + r, y + r * 0.6], fill=(c, c * 2, c * 2))
    image = ImageChops.add(image, glow.filter(ImageFilter.GaussianBlur(30 * k)))

    def fish(x, y, s, angle, main, patch):
        nonlocal image
        shadow = Image.new("L", (w, h), 0)
        top = [(1.0, 0), (0.75, -0.22), (0.2, -0.3), (-0.4, -0.2), (-0.75, -0.05), (-0.75, 0.05), (-0.4, 0.2), (0.2, 0.3), (0.75, 0.22)]
        tail = [(-0.7, 0), (-1.15, -0.38), (-1.6, -0.3), (-1.3, -0.05), (-1.35, 0.08), (-1.65, 0.42), (-1.1, 0.34)]
        fins = [[(0.45, 0.25), (0.35, 0.62), (0.02, 0.66), (0.15, 0.28)], [(0.45, -0.25), (0.35, -0.62), (0.02, -0.66), (0.15, -0.28)]]
        bend = lambda pts: [(px, py + 0.18 * math.sin(px * 2.2)) for px, py in pts]
        at = lambda pts: curve(place(bend(pts), x * k, y * k, s * k, angle))
        ImageDraw.Draw(shadow).polygon([(px + 14 * k, py + 22 * k) for px, py in at(top)], fill=130)
        image.paste((6, 24, 30), (0, 0), shadow.filter(ImageFilter.GaussianBlur(9 * k)))
        veil = Image.new("L", (w, h), 0)
        vd = ImageDraw.Draw(veil)
        for shape in [tail, *fins]:
            vd.polygon(at(shape), fill=165)
        image.paste(tuple(min(255, c + 30) for c in main), (0, 0), veil.filter(ImageFilter.GaussianBlur(2 * k)))
        mask = Image.new("L", (w, h), 0)
        ImageDraw.Draw(mask).polygon(at(top), fill=255)
        skin = Image.new("RGB", (w, h), main)
        sd = ImageDraw.Draw(skin)
        for px, py, r in patch:
            (cx, cy), = place(bend([(px, py)]), x * k, y * k, s * k, angle)
            sd.ellipse([cx - r * s * k, cy - r * s * k, cx + r * s * k, cy + r * s * k], fill=(255, 244, 226))
        skin = skin.filter(ImageFilter.GaussianBlur(5 * k))
        light = Image.new("L", (w, h), 0)
        ImageDraw.Draw(light).polygon(at([(px * 0.8 + 0.05, py * 0.35 - 0.05) for px, py in top]), fill=110)
        skin.paste((255, 214, 150), (0, 0), light.filter(ImageFilter.GaussianBlur(8 * k)))
        image.paste(skin, (0, 0), mask.filter(ImageFilter.GaussianBlur(1 * k)))
        d = ImageDraw.Draw(image)
        for side in (-0.17, 0.17):
            (cx, cy), = place(bend([(0.72, side)]), x * k, y * k, s * k, angle)
            d.ellipse([cx - 5 * k, cy - 5 * k, cx + 5 * k, cy + 5 * k], fill=(24, 16, 18))

    fish(520, 330, 150, 0.55, (240, 104, 24), [(0.1, 0.05, 0.16)])
    fish(240, 210, 105, -0.5, (246, 132, 34), [])
    fish(690, 120, 85, 2.7, (232, 88, 22), [(0.3, 0, 0.2), (-0.4, 0, 0.15)])
    d = ImageDraw.Draw(image)
    for x, y, r, notch in [(110, 480, 95, 30), (250, 545, 62, 200), (815, 470, 105, 140), (60, 330, 48, 300)]:
        box = [(x - r) * k, (y - r * 0.86) * k, (x + r) * k, (y + r * 0.86) * k]
        d.pieslice([box[0] + 8 * k, box[1] + 14 * k, box[2] + 8 * k, box[3] + 14 * k], notch + 24, notch + 340, fill=(10, 40, 44))
        d.pieslice(box, notch + 24, notch + 340, fill=(86, 148, 66))
        for a in range(notch + 40, notch + 330, 32):
            t = math.radians(a)
            d.line([x * k, y * k, (x + 0.9 * r * math.cos(t)) * k, (y + 0.77 * r * math.sin(t)) * k], fill=(126, 180, 92), width=2 * k)
    for ring in range(10):
        t = math.radians(36 * ring)
        cx, cy = (110 + 26 * math.cos(t)) * k, (470 + 18 * math.sin(t)) * k
        d.ellipse([cx - 17 * k, cy - 11 * k, cx + 17 * k, cy + 11 * k], fill=(246, 196, 214), outline=(226, 150, 180), width=k)
    d.ellipse([98 * k, 461 * k, 122 * k, 479 * k], fill=(250, 222, 110))
    ripples = Image.new("L", (w, h), 0)
    rd = ImageDraw.Draw(ripples)
    for x, y in [(640, 395), (330, 150)]:
        for r in (36, 60, 88):
            rd.ellipse([(x - r) * k, (y - r * 0.6) * k, (x + r) * k, (y + r * 0.6) * k], outline=90, width=3 * k)
    image.paste((200, 232, 230), (0, 0), ripples.filter(ImageFilter.GaussianBlur(1.5 * k)))
    image.resize((900, 600), Image.LANCZOS).save(OUT / "pond.jpg", quality=88, subsampling=0)


def stamp():
    k = 4
    w = h = 360 * k
    image = Image.new("RGB", (w, h), (92, 104, 112))
    d = ImageDraw.Draw(image)
    d.rectangle([24 * k, 24 * k, 336 * k, 336 * k], fill=(250, 246, 236))
    for i in range(14):
        for x, y in [(24 + 24 * i, 24), (24 + 24 * i, 336), (24, 24 + 24 * i), (336, 24 + 24 * i)]:
            d.ellipse([(x - 6) * k, (y - 6) * k, (x + 6) * k, (y + 6) * k], fill=(92, 104, 112))
    random.seed(8)
    d.rectangle([48 * k, 48 * k, 312 * k, 312 * k], fill=(28, 92, 110))
    step = 44
    grid = {(i, j): ((48 + step * i + (random.uniform(-12, 12) if 0 < i < 6 else 0)) * k,
                     (48 + step * j + (random.uniform(-12, 12) if 0 < j < 6 else 0)) * k) for i in range(7) for j in range(7)}
    for i in range(6):
        for j in range(6):
            for corners in ([(i, j), (i + 1, j), (i, j + 1)], [(i + 1, j), (i + 1, j + 1), (i, j + 1)]):
                t = random.uniform(-14, 14) + 10 * (5 - j)
                d.polygon([grid[c] for c in corners], fill=tuple(int(v + t) for v in (22, 88, 106)))
    def facet(points, colour):
        d.polygon(place(points, 185 * k, 190 * k, 88 * k, -0.12, flip=True), fill=colour)
    p = dict(nose=(1.0, 0.05), brow=(0.75, -0.32), back=(0.25, -0.55), hump=(-0.25, -0.42), root=(-0.62, -0.05),
             vent=(-0.3, 0.4), belly=(0.25, 0.55), chin=(0.75, 0.35), mid=(0.25, -0.02), rear=(-0.2, 0.0))
    for names, colour in [
        (("nose", "brow", "mid"), (255, 158, 52)), (("brow", "back", "mid"), (250, 128, 30)), (("back", "hump", "mid"), (238, 104, 24)),
        (("hump", "rear", "mid"), (250, 136, 40)), (("hump", "root", "rear"), (222, 86, 22)), (("root", "vent", "rear"), (240, 116, 30)),
        (("vent", "belly", "rear"), (255, 170, 70)), (("belly", "mid", "rear"), (255, 150, 48)), (("belly", "chin", "mid"), (255, 190, 96)),
        (("chin", "nose", "mid"), (255, 176, 74)),
    ]:
        facet([p[n] for n in names], colour)
    for points, colour in [
        ([(-0.6, -0.05), (-1.2, -0.7), (-1.0, -0.1)], (255, 140, 44)), ([(-0.6, -0.05), (-1.0, -0.1), (-1.3, 0.15)], (236, 98, 24)),
        ([(-0.6, -0.05), (-1.3, 0.15), (-1.05, 0.75)], (255, 160, 62)), ([(0.25, -0.55), (-0.1, -0.95), (-0.25, -0.42)], (255, 176, 80)),
        ([(-0.1, -0.95), (-0.45, -0.75), (-0.25, -0.42)], (232, 110, 34)), ([(0.1, 0.5), (-0.2, 0.92), (-0.2, 0.42)], (232, 110, 34)),
        ([(0.35, 0.15), (0.05, 0.42), (0.1, 0.12)], (255, 210, 130)),
    ]:
        facet(points, colour)
    (ex, ey), = place([(0.68, -0.04)], 185 * k, 190 * k, 88 * k, -0.12, flip=True)
    d.regular_polygon((ex, ey, 10 * k), 6, fill=(255, 250, 240))
    d.regular_polygon((ex, ey, 6 * k), 6, fill=(26, 26, 34))
    for x, y, r in [(90, 120, 9), (76, 96, 6), (98, 84, 7)]:
        d.regular_polygon((x * k, y * k, r * k), 6, rotation=15, fill=(150, 206, 214))
    for i, bar in enumerate([(262, 292, 34), (262, 280, 22)]):
        d.rectangle([bar[0] * k, (bar[1] - 6) * k, (bar[0] + bar[2]) * k, bar[1] * k], fill=(250, 246, 236))
    image.resize((360, 360), Image.LANCZOS).save(OUT / "stamp.webp", lossless=True, method=6)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for draw in (bowl, ink, pixels, pond, stamp):
        draw()
