"""Counts of patients who trained the runs that are scored on them: in manifests, columns and notes."""

from evaluation.scores.trained import TrainedPatients, trained_facts, trained_notes

TRAINING = [{"records": "r", "fold": None, "cases": ["a1", "a2", "c1"]}]
PATIENTS = {"a1": "a", "a2": "a", "b1": "b"}


def test_a_patient_of_whom_a_case_trained_a_run_is_found_in_the_manifest_once():
    facts = trained_facts(TRAINING, PATIENTS, [])
    assert facts == {"training": TRAINING, "training_unknown": [], "trained_patients": ["a"]}
    patients = TrainedPatients.read(facts, 2)
    assert patients == TrainedPatients(2, frozenset({"a"}))
    assert [patients.mark(name) for name in ("a", "b")] == [1, 0]


def test_what_is_not_known_is_neither_yes_nor_no():
    doubtful = TrainedPatients.read(trained_facts(TRAINING, PATIENTS, ["run.json names no patients"]), 2)
    assert [doubtful.mark(name) for name in ("a", "b")] == [1, None]
    assert TrainedPatients.read(trained_facts([], PATIENTS, None), 2).found is None
    assert TrainedPatients.read({}, 2) == TrainedPatients(2)
    assert TrainedPatients(2).mark("a") is None


def test_sets_of_several_seeds_are_merged():
    one, other = TrainedPatients(16, frozenset({"a"})), TrainedPatients(16, frozenset({"b"}), ("a run is gone",))
    assert TrainedPatients.merged([one, other]) == TrainedPatients(16, frozenset({"a", "b"}), ("a run is gone",))
    assert TrainedPatients.merged([one, TrainedPatients(16)]).found is None


def test_equal_counts_are_said_once_and_sets_of_which_nothing_is_known_are_named():
    none, one = TrainedPatients(16, frozenset()), TrainedPatients(16, frozenset({"a"}))
    assert trained_notes({"x": none, "y": none}) == ["0 of 16 patients trained the runs that are scored on them."]
    assert trained_notes({"x": none, "y": one}) == [
        "Patients who trained the runs that are scored on them: x 0 of 16, y 1 of 16."
    ]
    assert trained_notes({"x": none, "y": TrainedPatients(16)}) == [
        "Patients who trained the runs that are scored on them: x 0 of 16.",
        "Not known whether patients trained the runs: y.",
    ]
    assert trained_notes({}) == []
