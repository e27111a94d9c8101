import re
import shutil

import pytest

from common.errors import MissingPackage
from common.exit_status import USER_ERROR

REPORT = "evaluation.report"


def sections(file):
    return re.findall(r"<h2[^>]*>([^<]+)</h2>", file.read_text())


def test_a_report_of_predictions(predictions, viewer_module, command, tmp_path):
    out = tmp_path / "report.html"
    done = command(REPORT, "--of", predictions, "--out", out)
    assert done.status == 0, done.err
    assert re.fullmatch(rf"report: {out} \([\d.]+ MB\); open it in a browser\n", done.out)
    assert sections(out) == ["Scores", "Patients", "Scans", "Learning curves", "What was done"]
    text = out.read_text()
    assert "<title>tiny</title>" in text
    assert "Report of a predictions" not in text
    assert len(re.findall(r'id="scan-\d+"', text)) == 5
    assert "case_0" in text


def test_predictions_of_another_tool_have_a_report_once_they_are_scored(predictions, viewer_module, command, tmp_path, source):
    other = tmp_path / "other"
    other.mkdir()
    for file in predictions.glob("*.nii.gz"):
        shutil.copy(file, other)
    assert command("evaluation.score", "--predictions", other, "--source", source).status == 0
    done = command(REPORT, "--of", other, "--source", source, "--out", tmp_path / "report.html")
    assert done.status == 0, done.err
    assert sections(tmp_path / "report.html") == ["Scores", "Patients", "Scans", "What was done"]
    assert len(re.findall(r'id="scan-\d+"', (tmp_path / "report.html").read_text())) == 5


def test_ids_are_hidden_everywhere(predictions, viewer_module, command, tmp_path):
    done = command(REPORT, "--of", predictions, "--hide_ids", "true", "--out", tmp_path / "report.html")
    assert done.status == 0, done.err
    text = (tmp_path / "report.html").read_text()
    assert "case_" not in text
    assert "patient 5" in text


def test_a_report_of_a_run_that_predicted_nothing(trained, command, tmp_path):
    done = command(REPORT, "--of", trained, "--out", tmp_path / "report.html")
    assert done.status == 0, done.err
    assert sections(tmp_path / "report.html") == ["Learning curves", "What was done"]


def test_a_cross_validation_without_scores_is_called_unfinished(trained, command, tmp_path):
    shutil.copytree(trained, tmp_path / "cv" / "fold0")
    (tmp_path / "cv" / "cross_validation.yaml").write_text("{}\n")
    done = command(REPORT, "--of", tmp_path / "cv", "--out", tmp_path / "report.html")
    assert done.status == 0, done.err
    assert "The cross-validation is not finished" in (tmp_path / "report.html").read_text()


def test_a_report_of_a_comparison(predictions, command, tmp_path):
    other = shutil.copytree(predictions, tmp_path / "other")
    compared = tmp_path / "compared"
    assert (
        command("evaluation.compare", "--scores", predictions, other, "--seen_patients", "warn", "--out", compared).status == 0
    )
    done = command(REPORT, "--of", compared, "--scans", 0, "--out", tmp_path / "report.html")
    assert done.status == 0, done.err
    assert sections(tmp_path / "report.html")[:3] == ["Comparison", "Scores", "Patients"]


@pytest.mark.parametrize("options", [("--scans", 0), ("--scans", 2)])
def test_scans_are_as_many_as_wanted(predictions, viewer_module, command, tmp_path, options):
    done = command(REPORT, "--of", predictions, *options, "--out", tmp_path / "report.html")
    assert done.status == 0, done.err
    assert len(re.findall(r'id="scan-\d+"', (tmp_path / "report.html").read_text())) == options[1]


def test_without_the_viewers_package_the_report_says_so(predictions, command, tmp_path, monkeypatch):
    def missing():
        raise MissingPackage("ipyniivue", "scans in reports", "--no-deps")

    monkeypatch.setattr("evaluation.report.niivue_module", missing)
    done = command(REPORT, "--of", predictions, "--out", tmp_path / "report.html")
    assert done.status == 0
    assert "pip install --no-deps ipyniivue" in done.out
    assert "pip install --no-deps ipyniivue" in (tmp_path / "report.html").read_text()


def test_scans_that_moved_are_left_out_or_given(predictions, viewer_module, command, tmp_path, source):
    copy = shutil.copytree(predictions, tmp_path / "copy")
    file = copy / "predictions.json"
    file.write_text(file.read_text().replace(str(source), str(tmp_path / "moved")))
    assert command(REPORT, "--of", copy, "--out", tmp_path / "a.html").status == 0
    assert "Scans" not in sections(tmp_path / "a.html")
    assert command(REPORT, "--of", copy, "--source", source, "--out", tmp_path / "b.html").status == 0
    assert "Scans" in sections(tmp_path / "b.html")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--of", "{tmp}"), "expected a run, a cross-validation"),
        (("--of", "{predictions}", "--scans", -1), "--scans, --megabytes: expected at least 0"),
        (("--of", "{predictions}", "--megabytes", 1), "--scans, --megabytes: expected at least 0 and more than 2"),
        (("--of", "{predictions}", "--channel", "PET"), "expected --channel to be one of"),
        (("--of", "{predictions}", "--source", "{tmp}"), "expected scans in one of the layouts"),
    ],
)
def test_mistakes_are_one_line(predictions, viewer_module, command, tmp_path, options, error):
    given = [str(option).format(tmp=tmp_path, predictions=predictions) for option in options]
    done = command(REPORT, *given, "--out", tmp_path / "report.html")
    assert done.status == USER_ERROR
    assert len(done.errors) == 1
    assert error in done.errors[0]
    assert not (tmp_path / "report.html").exists()
