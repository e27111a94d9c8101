"""How long a training waits for its batches."""

import time

import grain
import numpy as np
import pytest

from training.data.stopwatch import StopWatch, Timed

BATCHES = 5


def source(seconds):
    """Batches that take their time to be read."""

    def read(number):
        time.sleep(seconds)
        return np.array([number])

    return grain.MapDataset.range(BATCHES).map(read).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))


def test_a_slow_source_is_seen():
    watch = StopWatch()
    found = [int(batch[0]) for batch in Timed(source(0.02), watch)]
    assert found == list(range(BATCHES))
    assert watch.seconds >= BATCHES * 0.02
    before = watch.seconds
    time.sleep(0.03)
    assert watch.seconds == before  # what is done with a batch is no waiting


def test_a_source_that_is_ahead_costs_next_to_nothing():
    watch, steps = StopWatch(), 200
    ready = grain.MapDataset.range(steps).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    iterator = iter(Timed(ready, watch))
    quick = []
    for _ in range(steps):
        before = watch.seconds
        next(iterator)
        quick.append(watch.seconds - before)
    assert 0 < sorted(quick)[steps // 2] < 0.005  # the median: another process may take the processor


def test_it_goes_on_from_a_state():
    whole = [int(batch[0]) for batch in Timed(source(0), StopWatch())]
    iterator = iter(Timed(source(0), StopWatch()))
    next(iterator), next(iterator)
    state = iterator.get_state()
    other = iter(Timed(source(0), StopWatch()))
    other.set_state(state)
    assert [int(batch[0]) for batch in other] == whole[2:] == [int(batch[0]) for batch in iterator]


def test_a_source_that_has_ended_ends():
    iterator = iter(Timed(source(0), StopWatch()))
    list(iterator)
    with pytest.raises(StopIteration):
        next(iterator)
