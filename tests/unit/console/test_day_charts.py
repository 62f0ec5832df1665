"""The charts of a day: bars of five minutes, and hours by the clock."""

from __future__ import annotations

from console.day_charts import day_chart

MINUTE_MS = 60_000
UNTIL_MS = 20_000 * 86_400_000 + 130 * MINUTE_MS  # ten minutes past two


def test_a_bar_is_the_mean_of_the_known_minutes_of_five() -> None:
    chart = day_chart([10, 20, None, None, 30, 5, 5, 5, 5, 5], UNTIL_MS)
    assert chart.path == "M0 48v-48h1v48M1 48v-12h1v12"
    assert (chart.known, chart.total, chart.peak, chart.width) == (8, 85, 30, 2)


def test_numbers_of_five_minutes_are_drawn_over_the_same_hours_as_those_of_one() -> None:
    minutes = day_chart([1] * 130, UNTIL_MS)
    slots = day_chart([None, *[5] * 25], UNTIL_MS, minutes_each=5)
    assert [(hour.x, hour.width, hour.from_ms) for hour in slots.hours] == [
        (hour.x, hour.width, hour.from_ms) for hour in minutes.hours
    ]
    assert [hour.total for hour in minutes.hours] == [60, 60, 10]
    assert [hour.total for hour in slots.hours] == [55, 60, 10]
    assert [hour.peak for hour in slots.hours] == [5, 5, 5]
    assert slots.width == minutes.width == 26
