"""Synthetic patients as TIFF slices: the arrays come back, in 8 bits, with the grade and the institution."""

from collections import Counter

import numpy as np

from data_prep.make_phantom import MakePhantomConfig, main
from data_prep.phantom.patient import PhantomConfig, make_patient
from data_prep.phantom.slices import row_name
from data_prep.sources import open_source
from data_prep.sources.checks import check_cases

SIZE = (28, 26, 24)


def test_the_slices_are_read_as_the_data_set_they_imitate(tmp_path):
    options = {"tumour": "lower_grade", "size": SIZE, "lgg_share": 0.5}
    main(MakePhantomConfig(out=tmp_path, cases=3, seed=1, workers=1, **options))
    source = open_source(tmp_path)
    assert (source.layout, source.channels) == ("kaggle_3m", ["pre", "flair", "post"])
    assert check_cases(source, source.cases(), progress=False) == []
    assert [files.attributes["neoplasm_histologic_grade"] for files in source.cases()] == ["2", "1", "2"]
    for index, files in enumerate(source.cases()):
        patient, case = make_patient(PhantomConfig(**options), 1, index), source.read(files)
        np.testing.assert_array_equal(case.label.swapaxes(0, 1), np.where(patient.label > 0, 255, 0))
        for name, ours in (("pre", "t1"), ("flair", "flair"), ("post", "t1ce")):
            expected = patient.channels[ours].astype(float)
            scaled = case.channels[name].swapaxes(0, 1)
            inside = (scaled > 0) & (scaled < 255)
            assert np.corrcoef(scaled[inside], expected[inside])[0, 1] > 0.999
            assert not scaled[expected == 0].any()


def test_institutions_have_patients_of_both_grades():
    pairs = Counter((row_name(index).split("_")[1], index % 2) for index in range(16))
    assert set(pairs.values()) == {2}
    assert len(pairs) == 8
