import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import MissingPackage, Problems, UserError
from common.parallel import check_workers, map_cases

CASES = [f"case_{number}" for number in range(5)]
WORKERS = [1, 2]


@pytest.fixture(params=[1, 2, "dask"])
def workers(request):
    """This process, a pool, and a Dask cluster where it is installed."""
    if request.param != "dask":
        yield request.param
        return
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster.scheduler_address


def reversed_name(case):
    if case == CASES[0]:
        time.sleep(0.2)  # so that the others are ready first
    return case[::-1]


def fail(error, case):
    if case == CASES[2]:
        raise error
    return case


def die(parent, case):
    if os.getpid() != parent:
        os._exit(1)


def own_id(case):
    time.sleep(0.1)
    return os.getpid()


def test_results_are_in_the_order_of_the_cases(workers):
    assert map_cases(reversed_name, CASES, workers) == [case[::-1] for case in CASES]


def test_several_workers_are_several_processes(workers):
    found = set(map_cases(own_id, CASES, workers))
    assert (os.getpid() in found) == (workers == 1)
    assert len(found) == (1 if workers == 1 else 2)


def test_a_users_error_names_its_case(workers):
    with pytest.raises(UserError, match=r"^case_2: expected a scan; received a poem$"):
        map_cases(partial(fail, UserError("expected a scan; received a poem")), CASES, workers)


def test_several_problems_name_their_case(workers):
    with pytest.raises(Problems) as error:
        map_cases(partial(fail, Problems(["one", "two"], "cannot be read")), CASES, workers)
    assert error.value.lines == ["one", "two"]
    assert error.value.summary == "case_2: cannot be read"


def test_any_other_error_keeps_its_type_and_names_its_case(workers):
    with pytest.raises(ZeroDivisionError) as error:
        map_cases(partial(fail, ZeroDivisionError("nothing")), CASES, workers)
    assert "case case_2" in error.value.__notes__


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    "error", [UserError("/scans/case_2.nii: truncated"), Problems(["case_2: a", "b"], "bad"), MissingPackage("x", "all")]
)
def test_an_error_that_names_its_case_stays_as_it_is(error, workers):
    with pytest.raises(type(error)) as raised:
        map_cases(partial(fail, error), CASES, workers)
    assert str(raised.value) == str(error)


def test_cases_are_named_by_their_id_or_as_asked():
    failing = partial(divmod, 1)
    with pytest.raises(TypeError) as error:
        map_cases(failing, [SimpleNamespace(id="anna")])
    assert error.value.__notes__ == ["case anna"]
    with pytest.raises(ZeroDivisionError) as division:
        map_cases(failing, [0], name=lambda number: f"patient {number}")
    assert division.value.__notes__ == ["case patient 0"]


def write_marker(folder, case):
    (folder / case).touch()
    if case == CASES[0]:
        raise UserError("bad")


@pytest.mark.parametrize("workers", WORKERS)
def test_after_an_error_the_rest_is_dropped(tmp_path, workers):
    cases = [*CASES, *(f"later_{number}" for number in range(200))]
    with pytest.raises(UserError, match="case_0: bad"):
        map_cases(partial(write_marker, tmp_path), cases, workers)
    assert len(list(tmp_path.iterdir())) < len(cases)


def test_no_cases_give_no_results(workers):
    assert map_cases(reversed_name, [], workers) == []


def test_a_worker_that_dies_is_one_line():
    with pytest.raises(UserError, match=r"^a worker process died, perhaps for lack of memory; use fewer than 2 --workers$"):
        map_cases(partial(die, os.getpid()), CASES, 2)


def test_progress_is_shown_on_standard_error_where_there_is_a_title(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    map_cases(str, CASES, title="counting")
    shown = capsys.readouterr()
    assert "counting: 100%" in shown.err
    assert shown.out == ""
    map_cases(str, CASES)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("workers", "message"), [(0, "expected at least 1; received 0"), ("two", "a Dask scheduler's address.*; received two")]
)
def test_workers_that_make_no_sense_are_refused(workers, message):
    for refuse in (check_workers, partial(map_cases, str, CASES)):
        with pytest.raises(UserError, match=f"--workers: expected.*{message}|--workers: {message}"):
            refuse(workers)
    check_workers(3)
    check_workers("tcp://host:8786")


def test_without_dask_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackage, match=r"Dask scheduler needs the package 'distributed': pip install distributed"):
        map_cases(str, CASES, "tcp://127.0.0.1:1")


def test_a_scheduler_that_does_not_answer_is_one_line():
    distributed = pytest.importorskip("distributed")
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(UserError, match="no Dask scheduler"):
        map_cases(str, CASES, "tcp://127.0.0.1:9")
    assert distributed


def test_a_dask_worker_that_dies_is_one_line_and_a_client_stays_open():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        with pytest.raises(UserError, match="a Dask worker died"):
            map_cases(partial(die, os.getpid()), CASES[:1], client)
        client.wait_for_workers(1, timeout=30)
        assert map_cases(reversed_name, CASES, client) == [case[::-1] for case in CASES]


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from common import cli
from common.parallel import map_cases
from dataclasses import dataclass
from tests.common.test_parallel import wait

@dataclass
class Nothing:
    '''Nothing.'''

if __name__ == "__main__":
    cli.run(lambda config: map_cases(partial(wait, Path(sys.argv[1])), list("abcdefgh"), 2), Nothing, [])
"""


def wait(folder, case):
    (folder / f"{case}.{os.getpid()}").touch()
    time.sleep(1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")
def test_ctrl_c_is_one_line_and_leaves_no_process(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "begun"
    script.write_text(SCRIPT)
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, script, folder], stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 30
        while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=30)
    assert process.returncode == 130
    assert printed.strip().splitlines() == ["stopping ...", "stopped by the user; anything that was finished is kept"]
    begun = [path.suffix[1:] for path in folder.iterdir()]
    assert 2 <= len(begun) < 8  # the rest was dropped
    assert not any(Path(f"/proc/{number}").exists() for number in begun)
