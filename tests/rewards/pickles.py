"""Pickles that do more than carry data, and must be refused."""

from __future__ import annotations

import collections
import datetime
import os
import pickle

import numpy as np


class Run:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


class Built:
    pass


def attacks(marker: str) -> dict[str, bytes]:
    text = marker.encode()
    return {
        "reduce": pickle.dumps(Run(marker)),
        "reduce, protocol 2": pickle.dumps(Run(marker), protocol=2),
        "reduce, protocol 0": pickle.dumps(Run(marker), protocol=0),
        "inside images": pickle.dumps({"images": [Run(marker)], "meta_datas": [{}]}),
        "global": b"cos\nmkdir\n(S'" + text + b"'\ntR.",
        "inst": b"(S'" + text + b"'\nios\nmkdir\n.",
        "obj": b"(cos\nmkdir\nS'" + text + b"'\no.",
        "new object": pickle.dumps(Built(), protocol=4),
        "build": b"\x80\x04}(\x8c\x01a\x8c\x01bub.",
        "extension registry": b"\x80\x02\x82\x01.",
        "persistent id": b"Pname\n.",
        "binary persistent id": b"\x80\x04\x8c\x01aQ.",
        "out-of-band buffer": b"\x80\x05\x97.",
        "bytearray": pickle.dumps(bytearray(b"x"), protocol=5),
        "set": pickle.dumps({1, 2}),
        "numpy": pickle.dumps(np.zeros(3)),
        "date": pickle.dumps(datetime.date(2026, 1, 1)),
        "ordered dict": pickle.dumps(collections.OrderedDict(a=1)),
        "text int": b"I1\n.",
        "keys of the sender's choice": pickle.dumps({k * (2**61 - 1): None for k in range(9)}),
        "text shared a thousand times": pickle.dumps(["x" * 10_000] * 1000),
        "key shared a thousand times": pickle.dumps([{"x" * 10_000: 1}] * 1000),
        "empty tuple called": b"\x80\x04)R.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93.",
        "a name as a value": b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93.",
        "a type as a value": pickle.dumps(np.dtype("f8")),
        "numpy object scalar": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R.",
        "another codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
        "bytes of a number": b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
        "bytes encoded a thousand times": b"\x80\x02c_codecs\nencode\nq\x00X\x10\x27\x00\x00"
        + b"x" * 10_000
        + b"X\x06\x00\x00\x00latin1\x86q\x010]("
        + b"h\x00h\x01R" * 1000
        + b"e.",
        "dup": b"\x80\x042.",
        "long of four-byte length": b"\x80\x04\x8b\xff\xff\xff\x7f\x01.",
        "decimal bomb": b"I" + b"9" * 10_000 + b"\n.",
    }
