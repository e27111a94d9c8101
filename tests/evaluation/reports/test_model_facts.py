from evaluation.reports.checklists import CLAIM, TRIPOD_AI
from evaluation.reports.model_facts import score_facts, training_facts
from training.run import Run


def test_facts_of_a_training(trained):
    facts = training_facts({"tiny": Run(trained)})
    assert facts["Classes"].startswith("edema, non-enhancing tumor, enhancing tumor (WT = edema + non-enhancing tumor + ")
    assert facts["Split"] == "by patient"
    assert facts["Voxel size"].endswith("mm (z, y, x)")
    assert "Ensemble" not in facts
    assert "Missing channels" not in facts


def test_facts_of_a_classifier(classified):
    assert training_facts({"tiny": Run(classified)})["Classes"]


def test_runs_together_are_an_ensemble(trained):
    facts = training_facts({"a": Run(trained), "b": Run(trained)})
    assert facts["Ensemble"] == "mean of the class probabilities of 2 runs"


def test_facts_of_scores(predictions):
    facts = score_facts(predictions)
    assert facts["Scored patients"] == "5 patients, 3 of whom trained the runs"
    assert facts["Scores"].startswith("WT (region) Dice 0.")
    assert facts["Missing predictions"] == "none"
    assert facts["Worst patients"].count("0.") == 3
    assert "case_" not in repr(facts)
    assert facts["Post-processing"] == "post-processing: none"


def test_checklists_ask_for_facts_that_exist(trained, predictions):
    run = Run(trained)
    known = training_facts({"a": run, "b": run}) | score_facts(predictions)
    wanted = {name for item in (*CLAIM, *TRIPOD_AI) for name in item.answers}
    assert wanted - set(known) <= {"Missing channels"}
