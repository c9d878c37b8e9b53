#!/usr/bin/env python3
"""Makes docs/demo.svg from what a terminal shows: `goldfish demo 2>&1 | tee demo.txt`, then
`python3 docs/terminal.py demo.txt`. Progress lines are kept as they are."""
import html
import sys
from pathlib import Path

lines = ["$ goldfish demo", *Path(sys.argv[1]).read_text().rstrip().splitlines()]
width = max(map(len, lines)) * 8.43 + 32
height = len(lines) * 19 + 56
colour = {"$": "#f4a259", "device": "#8ab6d6", "notice": "#e0c36a"}
rows = []
for i, line in enumerate(lines):
    fill = next((c for word, c in colour.items() if line.startswith(word)), "#e6e1d8")
    text = html.escape(line).replace(" ", "&#160;").replace("goldfish&#160;(", '<tspan fill="#f4a259">goldfish</tspan>&#160;(')
    rows.append(f'<text x="16" y="{52 + i * 19}" fill="{fill}">{text}</text>')
Path(__file__).with_name("demo.svg").write_text(f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">
<rect width="100%" height="100%" rx="10" fill="#23272e"/>
<circle cx="20" cy="18" r="6" fill="#e06c5c"/><circle cx="40" cy="18" r="6" fill="#e0b35c"/><circle cx="60" cy="18" r="6" fill="#7db36a"/>
{chr(10).join(rows)}
</svg>
""")
