import pytest

from common.errors import UserError
from data_prep.scans.dicom import index_files
from data_prep.sources.dicom_rules import DicomRules, SeriesRule, has_contrast, load_rules
from tests.dicom_files import AXIAL, blob, oblique, write_series


def series(folder, description="t1 mpr", **options):
    (found,) = index_files(write_series(folder, blob(), description=description, **options)).series
    return found


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"modality": "mr"}, True),
        ({"modality": "CT"}, False),
        ({"description": "T1.*sag"}, True),
        ({"description": "^sag"}, False),
        ({"exclude": "sag"}, False),
        ({"plane": "axial"}, True),
        ({"plane": "sagittal"}, False),
        ({"contrast": True}, False),
        ({"max_spacing_mm": 2.0}, True),
        ({"max_spacing_mm": 1.9}, False),
        ({"min_slices": 9}, False),
        ({"original": False}, False),
        ({"uid": ["UID"]}, True),
        ({"uid": ["1.2.3.4.5"], "modality": "MR"}, False),
    ],
)
def test_all_that_is_given_must_hold(tmp_path, rule, fits):
    found = series(tmp_path, "t1 mpr sag")
    if rule.get("uid") == ["UID"]:
        rule = {"uid": [found.uid[-8:]], "modality": "CT"}  # a UID passes over the rest
    assert SeriesRule(**rule).fits(found) == fits


def test_scouts_and_pictures_never_fit(tmp_path):
    assert not SeriesRule(min_slices=1).fits(series(tmp_path / "a", "localizer"))
    assert not SeriesRule(min_slices=1).fits(series(tmp_path / "b", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))


@pytest.mark.parametrize(
    ("description", "agent", "expected"),
    [
        ("t1 mpr", "", False),
        ("t1 mpr", "Gadovist", True),
        ("t1 mpr", "NO", False),
        ("t1 mpr +C", "", True),
        ("T1 post", "", True),
        ("t1_tse_km", "", True),
        ("t1 tra Gd", "", True),
        ("t1 cerebellum", "", False),
        ("T1CE", "", True),
        ("AX T1 PRE CONTRAST", "", False),
        ("AX T1 W/O CONTRAST", "", False),
        ("SAG T1 NON-CONTRAST", "", False),
        ("t1 ohne KM", "", False),
        ("T1 SE NO GAD", "", False),
        ("AX T1 PRE/POST GD", "", True),
        ("t1 mpr", "NO CONTRAST", False),
        ("t1 mpr", "without", False),
        ("posterior fossa", "", False),
    ],
)
def test_contrast_is_named_or_described(tmp_path, description, agent, expected):
    assert has_contrast(series(tmp_path, description, ContrastBolusAgent=agent)) == expected


def test_shipped_rules_choose_the_usual_series(tmp_path):
    names = {
        "t1_mprage_sag": "t1",
        "t1_mprage_sag +C": "t1ce",
        "t2_tse_tra": "t2",
        "t2_tirm_tra_dark-fluid": "flair",
        "Ax T2 FLAIR": "flair",
        "Ax T1 FLAIR": "t1",
        "t2*_fl2d": None,
        "ep2d_diff_ADC": None,
    }
    rules, _ = load_rules(None)
    for number, (description, expected) in enumerate(names.items()):
        found = series(tmp_path / str(number), description, number=number)
        assert [name for name, rule in rules.channels.items() if rule.fits(found)] == [expected] * (expected is not None), (
            description
        )


def test_several_series_need_a_preference(tmp_path):
    coarse = series(tmp_path / "a", number=1)
    fine = series(tmp_path / "b", number=2, affine=AXIAL @ [[0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    (long,) = index_files(write_series(tmp_path / "c", blob((12, 10, 9)), oblique(), number=3)).series
    chosen = {
        prefer: [
            each.number for each in DicomRules(channels={"t1": SeriesRule()}, prefer=prefer).choose("t1", [coarse, fine, long])
        ]
        for prefer in (None, "finest", "slices", "first", "last")
    }
    assert chosen == {None: [1, 2, 3], "finest": [2], "slices": [3], "first": [1], "last": [3]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "expected rules of series"),
        ("chanels: {}", "chanels: unknown key; did you mean channels"),
        ("channels: {}", "channels: expected at least one name"),
        ("channels: {t1: {modalty: MR}}", "modalty"),
        ("channels: {t1: {min_slices: x}}", "expected a whole number; received x"),
        ("channels: {t1: {plane: coronary}}", "plane"),
        ("channels: {t1: {description: '('}}", "is no regular expression"),
        ("channels: {t1: {uid: ['1.2']}}", "at least 6 characters"),
        ("channels: {t1: {}}\nreference: t2", "reference: expected one of t1; received t2"),
        ("channels: {t1: {}}\nmax_gap: 0.5", "max_gap of at least 1"),
        ("channels: {t1: {}}\nlabel: {finer: 99}", "label.finer"),
        ("channels: [", "is not YAML"),
    ],
)
def test_wrong_rules_are_one_line(tmp_path, text, message):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_rules(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_rule_in_words_names_what_is_given():
    assert (
        str(SeriesRule(modality="MR", description="t1", contrast=False))
        == "modality MR, description t1, contrast False, at least 5 slices"
    )
    assert str(SeriesRule(uid=["1.2.3.4"])) == "uid 1.2.3.4"
