from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from data_prep.records.shard import Shard, shard_layout, write_shard


def volume(shape, dtype="float16", seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, shape).astype(dtype)
    return image, (1 << rng.integers(0, 4, shape[:3])).astype(np.uint8)


def write(path, shape=(5, 6, 7, 4), dtype="float16", case="case_1", copy=0):
    image, label = volume(shape, dtype)
    return image, label, write_shard(path, image, label, case, copy)


def test_a_shard_is_read_back_as_views_of_its_file(tmp_path):
    image, label, layout = write(tmp_path / "a.tfrecord")
    shard = Shard.open(tmp_path / "a.tfrecord", asdict(layout))
    np.testing.assert_array_equal(shard.image, image)
    np.testing.assert_array_equal(shard.label, label)
    assert shard.image.dtype == np.float16
    assert not shard.image.flags.writeable
    assert shard.image.base is not None
    assert shard.damaged() == []


def test_no_label_is_stored_as_not_annotated(tmp_path):
    image, _ = volume((3, 4, 4, 1))
    layout = write_shard(tmp_path / "a.tfrecord", image, None, "a")
    assert not Shard.open(tmp_path / "a.tfrecord", asdict(layout)).label.any()


def test_an_image_of_any_memory_order_is_stored_alike(tmp_path):
    image, label, layout = write(tmp_path / "a.tfrecord")
    turned = np.asfortranarray(image)[::-1][::-1]
    assert write_shard(tmp_path / "b.tfrecord", turned, np.asfortranarray(label), "case_1") == layout
    assert (tmp_path / "a.tfrecord").read_bytes() == (tmp_path / "b.tfrecord").read_bytes()


def test_the_checksum_names_the_content(tmp_path):
    image, label = volume((3, 4, 4, 2))
    first = write_shard(tmp_path / "a.tfrecord", image, label, "a")
    image[1, 2, 3, 0] += 1
    second = write_shard(tmp_path / "a.tfrecord", image, label, "a")
    assert first.checksum != second.checksum
    assert replace(first, checksum=0) == replace(second, checksum=0)


def parsed(path):
    """What any TensorFlow program reads: checksums verified, Examples parsed one by one and as a batch."""
    import tensorflow as tf

    text = tf.io.FixedLenFeature([], tf.string)
    features = dict.fromkeys(("image", "label", "case", "copy", "slice", "dtype", "align", "pad"), text)
    features["shape"] = tf.io.FixedLenFeature([3], tf.int64)
    raw = list(tf.data.TFRecordDataset([str(path)]))
    single = [{name: value.numpy() for name, value in tf.io.parse_single_example(one, features).items()} for one in raw]
    batch = {name: value.numpy() for name, value in tf.io.parse_example(tf.stack(raw), features).items()}
    return [one.numpy() for one in raw], single, batch


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
@pytest.mark.parametrize("shape", [(3, 5, 7, 3), (4, 6, 8, 4), (1, 1, 1, 1)])
def test_any_tensorflow_program_reads_it(tmp_path, shape, dtype):
    image, label, _ = write(tmp_path / "a.tfrecord", shape, dtype, case="Fälle 7", copy=2)
    raw, single, batch = parsed(tmp_path / "a.tfrecord")
    assert len(raw) == shape[0]
    assert len({len(one) for one in raw}) == 1
    for z, example in enumerate(single):
        assert example["case"].decode() == "Fälle 7"
        assert example["dtype"].decode() == dtype
        assert tuple(example["shape"]) == shape[1:]
        assert np.frombuffer(example["slice"], "<i4") == z
        assert np.frombuffer(example["copy"], "<i4") == 2
        pixels = np.frombuffer(example["image"], np.dtype(dtype).newbyteorder("<")).reshape(example["shape"])
        np.testing.assert_array_equal(pixels, image[z])
        np.testing.assert_array_equal(np.frombuffer(example["label"], np.uint8).reshape(shape[1:3]), label[z])
        for name, value in example.items():
            np.testing.assert_array_equal(batch[name][z], value)


def test_tensorflow_finds_a_flipped_byte(tmp_path):
    import tensorflow as tf

    path = tmp_path / "a.tfrecord"
    _, _, layout = write(path)
    flip(path, layout.image_offset)
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset([str(path)]))


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 21), st.integers(1, 21), st.integers(1, 5)),
    dtype=st.sampled_from(["float16", "uint8"]),
    case=names,
    copy=st.integers(0, 2**31 - 1),
)
def test_any_shape_and_name_comes_back(tmp_path, shape, dtype, case, copy):
    path = tmp_path / "any.tfrecord"
    image, label, layout = write(path, shape, dtype, case, copy)
    assert path.stat().st_size == layout.file_size
    shard = Shard.open(path, asdict(layout))
    np.testing.assert_array_equal(shard.image, image)
    np.testing.assert_array_equal(shard.label, label)
    assert shard.damaged() == []


@pytest.mark.parametrize("length", range(1, 13))
def test_pixels_and_records_begin_at_even_offsets(length):
    # 5380 to 5440 pixels are around 16 KiB, where the number of a record's length gets a byte longer.
    for pixels in (*range(1, 12), *range(5380, 5440)):
        layout = shard_layout((1, 1, pixels, 1), "float16", "a" * length)
        assert (layout.image_offset % 2, layout.record_length % 2) == (0, 0), pixels


def test_the_size_is_told_beforehand(tmp_path):
    _, _, layout = write(tmp_path / "a.tfrecord", (4, 5, 6, 4), "uint8", "some_case")
    foretold = shard_layout((4, 5, 6, 4), "uint8", "some_case")
    assert foretold == replace(layout, checksum=0)
    assert foretold.file_size == (tmp_path / "a.tfrecord").stat().st_size


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("z", [0, 2, 4])
def test_a_flipped_byte_is_found_with_its_slice(tmp_path, z):
    path = tmp_path / "a.tfrecord"
    _, _, layout = write(path)
    for offset in (layout.image_offset, layout.label_offset, layout.record_length - 1):
        flip(path, z * layout.record_length + offset)
        assert Shard.open(path, asdict(layout)).damaged() == [z]
        flip(path, z * layout.record_length + offset)
    assert Shard.open(path, asdict(layout)).damaged() == []


@pytest.mark.parametrize("change", [-1, 1, -1000])
def test_a_file_of_another_length_is_refused(tmp_path, change):
    path = tmp_path / "a.tfrecord"
    _, _, layout = write(path)
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(
        UserError, match=f"has {len(content) + change} bytes, expected {len(content)}; call glioskull make_records again"
    ):
        Shard.open(path, asdict(layout))


def test_a_missing_file_is_refused(tmp_path):
    _, _, layout = write(tmp_path / "a.tfrecord")
    with pytest.raises(UserError, match="shard is missing"):
        Shard.open(tmp_path / "b.tfrecord", asdict(layout))
