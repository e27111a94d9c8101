import re
import xml.etree.ElementTree as ElementTree
from functools import partial

from evaluation.figures import style
from evaluation.reports.charts import chart, themed


def draw(path, top=1):
    with style.style():
        figure = style.new_figure(height=2, width=3)
        axes = figure.subplots()
        axes.plot([0, 1], [0, top], "o", color=style.RUN_COLOURS[0], markerfacecolor="white")
        axes.set_title("Dice < 1 & more")
        return style.save(figure, path)


def test_a_figure_becomes_an_element_in_the_colours_of_the_page():
    made = chart(draw, 'Dice, "all" & more')
    ElementTree.fromstring(made.svg)
    assert made.svg.startswith("<svg viewBox=")
    assert 'aria-label="Dice, &quot;all&quot; &amp; more"' in made.svg
    assert "var(--blue)" in made.svg
    assert "var(--paper)" in made.svg
    assert not re.search(r"#000000|#ffffff|#0072b2|<style|<metadata", made.svg, re.IGNORECASE)
    assert "Dice &lt; 1 &amp; more</text>" in made.svg


def test_parts_of_two_charts_have_different_names():
    first, second = (chart(partial(draw, top=top), "a").svg for top in (1, 2))
    names = [set(re.findall(r'id="([^"]+)"', svg)) for svg in (first, second)]
    assert names[0]
    assert not names[0] & names[1]
    for svg, own in zip((first, second), names, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= own


def test_a_figure_drawn_twice_is_the_same_element():
    assert chart(draw, "a") == chart(draw, "a")


def test_its_width_is_that_of_the_figure():
    svg = '<?xml version="1.0"?><svg width="100pt" height="50pt" viewBox="0 0 100 50" xmlns="x"><g id="a"/></svg>'
    assert ' width="140"' in themed(svg, "a")
