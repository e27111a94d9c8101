"""Watchdog: stacks of all threads where no step ends, and silence where steps do."""

import threading
import time
from types import SimpleNamespace

import pytest

from training.state.watchdog import STACKS, Watchdog, beats

QUICK = 0.05  # seconds


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(QUICK / 5)
    assert condition()


def hang_here(event):
    event.wait()


def test_a_hang_is_written_once_with_the_stacks_of_all_threads(tmp_path, capsys):
    file, event = tmp_path / STACKS, threading.Event()
    other = threading.Thread(target=hang_here, args=(event,), daemon=True)
    other.start()
    with Watchdog(tmp_path, QUICK) as watchdog:
        wait_for(file.exists)
        time.sleep(4 * QUICK)  # said once
        first = file.read_text()
        watchdog.beat()
        wait_for(lambda: file.read_text() != first)
    event.set()
    other.join()
    text = file.read_text()
    assert text.startswith(first)
    assert text.count("no step has ended for 0.05 s") == 2
    assert "in hang_here" in first
    assert f"in {test_a_hang_is_written_once_with_the_stacks_of_all_threads.__name__}" in first
    assert capsys.readouterr().err.count(f"what each thread does: {file}; if nothing follows") == 2


def test_nothing_is_said_where_steps_end(tmp_path, capsys):
    with Watchdog(tmp_path, 60) as watchdog:
        watchdog.beat()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")
    assert not any(thread.name == "watchdog" for thread in threading.enumerate())


def test_a_place_that_cannot_be_written_to_harms_no_training(tmp_path):
    (tmp_path / "file").touch()
    with Watchdog(tmp_path / "file", QUICK):
        time.sleep(6 * QUICK)


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_test_batch_end", "on_epoch_begin", "on_epoch_end"])
def test_steps_of_training_and_of_validation_are_beats(hook):
    counted = []
    (callback,) = beats(SimpleNamespace(beat=lambda: counted.append(hook)))
    getattr(callback, hook)(3, logs={"loss": 1.0})
    assert counted == [hook]
