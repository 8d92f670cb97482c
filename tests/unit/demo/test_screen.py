"""The demo's output at any width: arrows, lines and the table."""

import io

import pytest

from gateway.demo.narration import Direction, EventLine, Tone
from gateway.demo.screen import (
    ASCII,
    DEVICE_SIDE,
    SERVICE_SIDE,
    UNICODE,
    Arrows,
    DeviceRow,
    Screen,
    format_event,
    ratio,
)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("arrows", [UNICODE, ASCII])
def test_arrows_have_fixed_columns(direction: Direction, arrows: Arrows) -> None:
    label = "plan 131 B" if direction in (Direction.TO_GATEWAY, Direction.TO_DEVICE) else "SendHeartbeat 1,045 B"
    text = format_event(EventLine(1.25, "dev-1", direction, label, "what", Tone.ROUTINE), arrows, "cyan").plain
    assert text.index("gateway") == 12 + DEVICE_SIDE + 1
    if direction in (Direction.TO_MANAGER, Direction.FROM_MANAGER):
        assert text.index("Edge Manager") == 12 + DEVICE_SIDE + 9 + SERVICE_SIDE + 1
    assert text.endswith("  what")
    assert (arrows.right in text) is (direction in (Direction.TO_GATEWAY, Direction.TO_MANAGER))


ROWS = [
    DeviceRow(f"dev-{n}", "MicroPython 1.29 in 64 KB", 5, "35195fc7", "SUCCESS", 160, 280, 2_930 + n, 4_000, 5, 150)
    for n in (1, 2, 3)
]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, None])
def test_the_table_has_all_figures_at_any_width(width: int | None) -> None:
    out = io.StringIO()
    Screen(["dev-1"], out, width).table(ROWS)
    shown = out.getvalue()
    assert "…" not in shown
    for figure in ("35195fc7", "160", "280", "2,931", "2,933", "480", "840", "8,796", "18.3 x", "12,000", "450"):
        assert figure in shown
    assert all(len(line) <= (width or 400) for line in shown.splitlines())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_line_never_takes_two(width: int) -> None:
    out = io.StringIO()
    Screen(["dev-1"], out, width).event(
        EventLine(1.25, "dev-1", Direction.TO_GATEWAY, "hb 28 B", "long " * 50, Tone.NEWS)
    )
    (line,) = out.getvalue().splitlines()
    assert len(line) <= width


def test_a_ratio_of_nothing_is_none() -> None:
    assert ratio(ROWS[0]) == "18.3 x"
    assert ratio(DeviceRow("dev-1", "", 0, "", "", 0, 0, 0, 0, 0, 0)) == "-"
