import base64
import gzip
import json
import re
from html.parser import HTMLParser

import pytest

from evaluation.reports.content import (
    Chart,
    FactList,
    Paragraph,
    PatientColumn,
    PatientRow,
    PatientTable,
    Report,
    ScanViewer,
    Section,
    TextTable,
)
from evaluation.reports.page import html, shown, slug

EVIL = '</script><script>alert("1")</script> & "quoted"'
MODULE = "export{Niivue,NVImage,SLICE_TYPE}"
VOID = {"meta", "input", "br"}


class Tree(HTMLParser):
    """Elements that are open, to see that every one is closed in its place, and all attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def of(*blocks, title="T"):
    return Report(title, "of a run", [Section("What was done", blocks)])


def patients(name="p1", grade="II"):
    columns = [PatientColumn("WT", "dice"), PatientColumn("WT", "hd95", 2), PatientColumn("grade", attribute=True)]
    rows = [PatientRow(name, [0.5, None, grade], 0, ["WT missed"]), PatientRow("p2", [0.75, 3.0, "III"])]
    return PatientTable(columns, rows, [("dice", "Dice ↑"), ("hd95", "HD95 (mm) ↓")])


def test_every_block_is_on_the_page():
    page = html(
        of(
            Paragraph("plain", "warning"),
            FactList([("Seed", "0")]),
            TextTable(["", "Dice"], [["WT", "**0.9**"]], "caption"),
            Chart("<svg></svg>", "a chart"),
            patients(),
        ),
        "the end",
    )
    tree = Tree(page)
    assert tree.open == []
    for text in (
        '<p class="warning">plain</p>',
        "<dt>Seed</dt><dd>0</dd>",
        "<td><strong>0.9</strong></td>",
        "<figure><svg></svg><figcaption>a chart</figcaption></figure>",
        '<td class="remarks">WT missed</td>',
        "<footer>the end</footer>",
    ):
        assert text in page


def test_names_of_elements_differ_and_links_have_a_target():
    tree = Tree(html(of(Paragraph("a"), patients())))
    names = [attributes["id"] for _, attributes in tree.found if "id" in attributes]
    assert len(set(names)) == len(names)
    links = {attributes["href"][1:] for tag, attributes in tree.found if tag == "a" and "data-scan" not in attributes}
    assert links <= set(names)


def test_no_text_becomes_code():
    scan = {"name": EVIL, "caption": EVIL, "labels": {}}
    blocks = (
        Paragraph(EVIL),
        FactList([(EVIL, EVIL)]),
        TextTable([EVIL], [[EVIL, f"**{EVIL}**"]], EVIL),
        patients(EVIL, EVIL),
        ScanViewer([scan], [EVIL], [("prediction", EVIL)], MODULE, EVIL),
    )
    page = html(of(*blocks, title=EVIL), EVIL)
    assert 'alert("1")</script>' not in page
    scripts = [attributes for tag, attributes in Tree(page).found if tag == "script"]
    assert [each.get("type") for each in scripts] == ["text/plain", "application/json", "application/json", "module", None]


def test_the_page_needs_no_network():
    page = html(of(patients(), ScanViewer([{"name": "a", "labels": {}}], ["tumour"], [("prediction", "prediction")], MODULE)))
    assert set(re.findall(r'https?://[^"\s)]+', page)) <= {"http://www.w3.org/1999/xlink"}
    assert not re.search(r'(src|href)="(?!#)', page)


def test_the_viewer_has_its_module_settings_and_scans():
    scans = [{"name": "a", "labels": {}}, {"name": "b", "labels": {}}]
    page = html(of(ScanViewer(scans, ["edema", "core"], [("truth", "annotation"), ("prediction", "prediction")], MODULE)))
    inside = dict(re.findall(r'<script type="[^"]+" id="([^"]+)">(.*?)</script>', page, re.DOTALL))
    assert gzip.decompress(base64.b64decode(inside["niivue"])).decode() == MODULE
    settings = json.loads(inside["viewer-settings"])
    assert (settings["scans"], settings["classes"], len(settings["colours"])) == (2, ["edema", "core"], 2)
    assert [json.loads(inside[f"scan-{number}"])["name"] for number in range(2)] == ["a", "b"]


def test_columns_of_one_metric_are_shown_at_first():
    page = html(of(patients()))
    headings = re.findall(r"<th scope=\"col\"[^>]*data-of=\"(\w+)\"( hidden)?>", page)
    assert headings == [("dice", ""), ("hd95", " hidden")]


@pytest.mark.parametrize(("cell", "decimals", "expected"), [(None, 3, ""), ("II", 3, "II"), (0.5, 3, "0.500"), (3.0, 1, "3.0")])
def test_cells(cell, decimals, expected):
    assert shown(cell, decimals) == expected


def test_names_of_sections():
    assert slug("What was done?") == "what-was-done"
