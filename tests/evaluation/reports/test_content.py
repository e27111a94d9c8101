from evaluation.reports.content import MOST_VALUES, PatientColumn, PatientRow, PatientTable


def table(values):
    columns = [PatientColumn("WT", "dice"), PatientColumn("grade", attribute=True)]
    rows = [PatientRow(str(number), [0.5, value]) for number, value in enumerate(values)]
    return PatientTable(columns, rows, [("dice", "Dice")])


def test_attributes_of_few_values_choose_patients():
    assert table(["II", "III", "II", None]).choices == {"grade": ["II", "III"]}


def test_an_attribute_of_one_or_of_many_values_chooses_none():
    assert table(["II"] * 3).choices == {}
    assert table([str(age) for age in range(MOST_VALUES + 1)]).choices == {}
