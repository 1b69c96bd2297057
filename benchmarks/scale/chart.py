"""Pictures of runs, as SVG: what is served, and how long it takes, against what is asked for."""

from collections.abc import Callable, Sequence
from typing import Any

WIDTH, HEIGHT = 760, 330
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 52, 46
LABEL = 48  # the room that a number below a graph needs
COLORS = ("#b45309", "#2b6cb0", "#1f6f3f")
Scale = Callable[[float], float]


def _scales(xs: Sequence[float], most: float) -> tuple[Scale, Scale]:
    width, height = WIDTH / 2 - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    last = max(xs)
    return (lambda x: LEFT + x / last * width), (
        lambda y: TOP + height - min(y, most) / most * height
    )


def _panel(
    results: Sequence[Any], title: str, unit: str, value: Callable[[Any], float], most: float
) -> str:
    """One graph: a line for each design, a dashed one for what was asked for."""
    across, up = _scales([each.asked for each in results], most)
    parts = [f'<text x="{LEFT}" y="18" class="t">{title}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = up(most * share)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH / 2 - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="n">{most * share:,.0f}</text>')
    free: float = WIDTH
    for asked in sorted({each.asked for each in results}, reverse=True):
        if across(asked) <= free:
            parts.append(
                f'<text x="{across(asked):.1f}" y="{HEIGHT - 28}" class="m">{asked:,.0f}</text>'
            )
            free = across(asked) - LABEL
    middle = WIDTH / 4 + 20
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" class="m">requests a second</text>')
    parts.append(f'<text x="{LEFT}" y="{TOP - 10}" class="u">{unit}</text>')
    for number, name in enumerate(dict.fromkeys(each.design for each in results)):
        points = " ".join(
            f"{across(each.asked):.1f},{up(value(each)):.1f}"
            for each in results
            if each.design == name
        )
        parts.append(f'<polyline points="{points}" stroke="{COLORS[number]}" class="l"/>')
    return "".join(parts)


def picture(results: Sequence[Any], title: str) -> str:
    """Requests served a second, and their p99, against requests asked for."""
    names = list(dict.fromkeys(each.design for each in results))
    legend = "".join(
        f'<rect x="{LEFT + 330 + 190 * number}" y="8" width="12" height="12"'
        f' fill="{COLORS[number]}"/>'
        f'<text x="{LEFT + 347 + 190 * number}" y="18">{name}</text>'
        for number, name in enumerate(names)
    )
    most = max(each.asked for each in results)
    served = _panel(results, title, "served within a second", lambda each: each.done, most)
    late = _panel(results, "", "p99, ms; above 1,000 at the top", lambda each: each.p99, 1_000)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{title}: {', '.join(names)}</title>"
        "<style>text{font:12px system-ui,sans-serif;fill:#57616d}.t{font-weight:600;fill:#1b222b}"
        ".n{text-anchor:end}.m{text-anchor:middle}.g{stroke:#dde1e7}.l{fill:none;stroke-width:2}"
        ".u{font-size:11px}</style>"
        '<rect width="100%" height="100%" fill="#fff"/>'
        f'{served}<g transform="translate({WIDTH / 2} 0)">{late}</g>{legend}</svg>\n'
    )
