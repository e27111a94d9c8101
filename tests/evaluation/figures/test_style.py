import pytest

from evaluation.figures import style


@pytest.mark.parametrize(
    "names",
    [
        [f"run{index}" for index in (1, 10, 2, 20, 3, 30, 4, 40)],
        ["unet", *(f"unet {word}" for word in ("a", "b", "c", "d", "e", "f", "g"))],
    ],
)
def test_runs_that_are_alike_in_name_alone_or_too_many_variants_have_a_colour_each(names):
    styles = style.run_styles(names)
    assert len({style["color"] for style in styles}) == len({style["marker"] for style in styles}) == 8


def test_up_to_three_variants_share_a_colour_and_differ_in_line_and_fill():
    styles = style.run_styles(["unet", "unet a", "unet b"])
    assert len({style["color"] for style in styles}) == 1
    assert len({(style["linestyle"], style["markerfacecolor"]) for style in styles}) == 3


@pytest.mark.parametrize(("letters", "columns"), [(4, 3), (40, 2), (90, 1)])
def test_a_legend_has_columns_of_equal_length_and_folds_long_names(letters, columns):
    with style.style():
        figure = style.new_figure(height=2)
        lines = figure.subplots().plot([[0] * 3, [1] * 3])
        names = [f"{letter} " * (letters // 2) + letter for letter in "abc"]
        style.legend_below(figure, lines, names)
    (legend,) = figure.legends
    assert legend._ncols == columns
    texts = [text.get_text() for text in legend.get_texts()]
    assert [" ".join(text.split()) for text in texts] == names
    assert all(len(line) <= style.LEGEND_LETTERS for text in texts for line in text.splitlines())


def test_a_new_figure_is_in_the_style_of_the_block_alone():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    with style.style():
        figure = style.new_figure(height=3, gaps=(0.1, 0.2))
        assert matplotlib.rcParams["font.size"] == style.STYLE["font.size"] != before
    assert matplotlib.rcParams["font.size"] == before
    assert tuple(figure.get_size_inches()) == (style.WIDTH, 3)
    assert (figure.get_layout_engine().get()["w_pad"], figure.get_layout_engine().get()["h_pad"]) == (0.1, 0.2)


def test_a_figure_is_saved_for_papers_and_screens_with_equal_bytes_each_time(tmp_path):
    for folder in ("a", "b"):
        figure = style.new_figure(height=1, width=2)
        figure.subplots().plot([0, 1])
        files = style.save(figure, tmp_path / folder / "v1.2")
        assert files == [tmp_path / folder / "v1.2.pdf", tmp_path / folder / "v1.2.png"]
    for name in ("v1.2.pdf", "v1.2.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["v1.2.pdf", "v1.2.png"]


def test_the_suffix_chooses_the_format_and_dpi_the_size(tmp_path):
    from PIL import Image

    figure = style.new_figure(height=1, width=2)
    with Image.open(style.save_as(figure, tmp_path / "figure.png", dpi=50)) as picture:
        assert (picture.format, picture.size) == ("PNG", (100, 50))


def test_ids_are_left_out_inside_the_block_alone():
    assert style.named("case_a, flair", "flair") == "case_a, flair"
    with style.ids(False):
        assert style.named("case_a, flair", "flair") == "flair"
        assert style.named("case_a") == ""
    assert style.named("case_a") == "case_a"


def test_other_formats_are_written_inside_the_block_alone(tmp_path):
    figure = style.new_figure(height=1, width=2)
    figure.subplots().plot([0, 1])
    rows = [["x", "y"], [1, 0.5]]
    with style.formats(".svg"):
        assert [file.name for file in style.save(figure, tmp_path / "a", rows)] == ["a.svg"]
    files = style.save(figure, tmp_path / "b", rows)
    assert [file.name for file in files] == ["b.pdf", "b.png", "b.csv"]
    assert files[-1].read_text() == "x,y\n1,0.500000\n"


def test_long_names_beside_an_axis_are_not_cut_in_print(tmp_path):
    with style.style():
        figure = style.new_figure(height=2, width=3)
        axes = figure.subplots()
        axes.set_yticks(range(3), [f"Brats18_TCIA{number:02}_{number}{number}{number}_1" for number in range(3)], fontsize=6)
        style.save(figure, tmp_path / "a")
    figure.dpi = style.DPI
    figure.draw_without_rendering()
    assert min(label.get_window_extent().x0 for label in axes.get_yticklabels()) >= 0
