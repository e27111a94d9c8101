from evaluation.reports.content import Paragraph, TextTable
from evaluation.reports.markdown_tables import blocks

TEXT = """# Title

Means over 5 patients; best in bold.

|      | a<br>5 patients | b |
| ---- | --- | --- |
| WT   | **0.9** | 0.8 |
| a \\| b | 0.1 | |

- p corrected by Holm's rule
"""


def test_tables_paragraphs_and_notes_are_found():
    assert list(blocks(TEXT)) == [
        Paragraph("Means over 5 patients; best in bold."),
        TextTable(["", "a\n5 patients", "b"], [["WT", "**0.9**", "0.8"], ["a | b", "0.1", ""]]),
        Paragraph("p corrected by Holm's rule", "note"),
    ]
