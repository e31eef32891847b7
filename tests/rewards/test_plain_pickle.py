from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_spatial.errors import InputError
from t2i_spatial.rewards.server.plain_pickle import loads_plain
from tests.rewards.pickles import attacks

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=300)
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(max_size=8), inner, max_size=6)
        | st.tuples(inner, inner)
    ),
    max_leaves=25,
)


@given(PLAIN, st.integers(2, 5))
def test_plain_data_comes_back(value, protocol):
    assert loads_plain(pickle.dumps(value, protocol=protocol)) == value


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "value",
    [np.float64(1.5), np.float32(-2), np.float16(0.5), np.int64(-3), np.uint8(255), np.bool_(True),
     np.bool_(False), np.str_("a “cat”"), np.str_(""), np.dtype(">i4").type(7)],
    ids=repr,
)  # fmt: skip
def test_numpy_scalars_come_back_as_those_of_python(value, protocol):
    record = {"count": [value, value], "more": value}
    found = loads_plain(pickle.dumps(record, protocol=protocol))
    plain = value.item()
    assert found == {"count": [plain, plain], "more": plain}
    assert type(found["more"]) is type(plain)
    old = pickle.dumps(record, protocol=2).replace(b"numpy._core", b"numpy.core")  # numpy 1
    assert loads_plain(old)["more"] == plain


def test_a_record_that_is_shared_comes_back_as_often_as_it_stood():
    record = {"tag": "position", "include": [{"class": "cat"}]}
    value = {"meta_datas": [record] * 24, "only_strict": True}
    assert loads_plain(pickle.dumps(value)) == value


@pytest.mark.parametrize("name", attacks(""))
def test_an_attack_is_refused_and_does_nothing(name, tmp_path):
    marker = tmp_path / "owned"
    with pytest.raises(InputError):
        loads_plain(attacks(str(marker))[name])
    assert not marker.exists()


def self_containing() -> bytes:
    loop: list[object] = []
    loop.append(loop)
    return pickle.dumps(loop)


def laughs() -> bytes:
    value: object = "ha"
    for _ in range(14):
        value = [value] * 10
    return pickle.dumps(value)


def deep() -> bytes:
    return b"\x80\x04" + b"]" * 5000 + b"a" * 4999 + b"."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x04",
        b"\x80\x04N",
        b"\x80\x04NN.",
        b"\x80\x04a.",
        b"\x80\x04(a.",
        b"\x80\x04Ne.",
        b"\x80\x04N(e.",
        b"\x80\x04}(Nu.",
        b"\x80\x04}(]Nu.",
        b"\x80\x04h\x00.",
        b"\x80\x04\x85.",
        b"\x80\x04(.",
        b"\x80\x04\x94.",
        b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.",
        b"\x80\x04\x8c\x02\xff\xff.",
        b"\xff\xfe",
        b"not a pickle at all",
        self_containing(),
        laughs(),
        deep(),
        pickle.dumps(list(range(300_000))),
    ],
)
def test_broken_and_exploding_programs_are_refused(data):
    with pytest.raises(InputError):
        loads_plain(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        loads_plain(data)
    except InputError:
        return


@given(PLAIN, st.data())
def test_a_changed_byte_is_read_or_refused(value, data):
    program = bytearray(pickle.dumps(value))
    place = data.draw(st.integers(0, len(program) - 1))
    program[place] = data.draw(st.integers(0, 255))
    try:
        loads_plain(bytes(program))
    except InputError:
        return
