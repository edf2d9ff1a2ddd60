"""An HDF5 file that is not what it should be is refused by name and place, and left as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurosim.errors import FileError
from neurosim.files.untrusted_hdf5 import Group, opened, opened_in_place

Make = Callable[[h5py.File], None]


def whole(file: h5py.File) -> None:
    file["layer/0/type"] = np.array([b"input"], "S10")
    file["layer/0/name"] = "first"
    file["layer/0/size"] = 3
    file.create_dataset("layer/0/weight", data=np.arange(6.0).reshape(2, 3), compression="gzip", shuffle=True)
    file["layer/0/edges"] = np.array([["a", "b"]], h5py.string_dtype())


def written(path: Path, make: Make) -> Path:
    with h5py.File(path, "w") as file:
        make(file)
    return path


def refused(path: Path, limit: int = 2**20) -> str:
    """Return the message with which a file is refused; it must name the file and leave it alone."""
    before = path.read_bytes()
    with pytest.raises(FileError) as caught, opened(path, what="a network", limit=limit):
        pass
    assert path.read_bytes() == before
    assert str(path) in str(caught.value) and "left as it is" in str(caught.value)
    return str(caught.value)


def refused_in_place(path: Path) -> str:
    """Return the message with which a file is refused that is to be read piece by piece."""
    before = path.read_bytes()
    with pytest.raises(FileError) as caught:
        opened_in_place(path, what="a recording")
    assert path.read_bytes() == before
    assert str(path) in str(caught.value) and "left as it is" in str(caught.value)
    return str(caught.value)


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    with opened(written(tmp_path / "a.h5", whole), what="a network") as root:
        layer = root.group("layer").group("0")
        assert set(layer.names) == {"type", "name", "size", "weight", "edges"}
        assert "weight" in layer and "bias" not in layer
        assert layer.text("type") == "input" and layer.text("name") == "first"
        assert layer.texts("edges") == ["a", "b"]
        assert layer.integer("size", low=1) == 3
        assert layer.array("weight", shape=(2, None)).tolist() == [[0, 1, 2], [3, 4, 5]]
        assert layer.integers("weight").dtype == np.int64


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = written(tmp_path / "a.h5", whole)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "truncated, damaged or of another kind" in refused(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.h5: there is no such file"), opened(tmp_path / "none.h5", what="x"):
        pass


def _external_link(file: h5py.File) -> None:
    file["layer"] = h5py.ExternalLink("other.h5", "/secret")


def _soft_link(file: h5py.File) -> None:
    file["layer"] = h5py.SoftLink("/nowhere")


def _itself(file: h5py.File) -> None:
    file.create_group("a/b")
    file["a/b/c"] = file["a"]


def _other_file(file: h5py.File) -> None:
    file.create_dataset("a/x", (4,), "f4", external=[("numbers.bin", 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("x", layout)


def _huge(file: h5py.File) -> None:
    file.create_dataset("x", (2**40, 2**20), "f8", chunks=(1, 8))


def _many(file: h5py.File) -> None:
    for k in range(17):
        file.create_dataset(f"x{k:02}", (2**13,), "f8", chunks=(8,))


def _unstored(file: h5py.File) -> None:
    file.create_dataset("x", (2**14,), "f8", chunks=(8,))


def _texts(file: h5py.File) -> None:
    file.create_dataset("x", (100_001,), h5py.string_dtype())


def _reference(file: h5py.File) -> None:
    file.create_dataset("x", (2,), h5py.ref_dtype)


def _lists(file: h5py.File) -> None:
    file.create_dataset("x", (2,), h5py.vlen_dtype(np.int64))


def _compound(file: h5py.File) -> None:
    file["x"] = np.zeros(2, [("a", "f4"), ("b", "i4")])


def _opaque(file: h5py.File) -> None:
    file["x"] = np.zeros(2, "V16")


def _named_type(file: h5py.File) -> None:
    file["x"] = np.dtype("f8")


def _empty(file: h5py.File) -> None:
    file["x"] = h5py.Empty("f4")


def _deep(file: h5py.File) -> None:
    file.create_group("/".join("d" * 40))


def _filter(file: h5py.File) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4,))
    settings.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((4,)), settings)


HOSTILE = [
    (_external_link, "/layer points into another file, 'other.h5'"),
    (_soft_link, "/layer is a link to '/nowhere'"),
    (_itself, "/a/b/c contains itself"),
    (_other_file, "/a/x keeps its values in another file"),
    (_virtual, "/x keeps its values in another file"),
    (_huge, r"/x of shape [1099511627776, 1048576] and type float64 brings the file to"),
    (_many, "/x16 of shape [8192] and type float64 brings the file to 1,114,112 bytes; 1,048,576 are allowed"),
    (_unstored, "/x declares 131,072 bytes, of which the file stores 0"),
    (_texts, "/x holds 100,001 texts; 100,000 are allowed"),
    (_reference, "/x is of type reference; only numbers and text are read"),
    (_lists, "/x is of type lists of int64; only numbers and text are read"),
    (_compound, "/x is of type [('a', '<f4'), ('b', '<i4')]; only numbers and text are read"),
    (_opaque, "/x is of type |V16; only numbers and text are read"),
    (_named_type, "/x is a Datatype; only groups and arrays are read"),
    (_empty, "/x is an empty dataset without a shape"),
    (_deep, "lies more than 32 levels deep"),
    (_filter, "/x needs the filter 32015"),
]


@pytest.mark.parametrize(("make", "message"), HOSTILE)
def test_a_hostile_file_is_refused_unread(tmp_path: Path, make: Make, message: str) -> None:
    (tmp_path / "numbers.bin").write_bytes(b"\0" * 16)
    assert message in refused(written(tmp_path / "a.h5", make))


# In place a file may be large, so that `_many` is none too many.
@pytest.mark.parametrize(("make", "message"), [case for case in HOSTILE if case[0] is not _many])
def test_a_hostile_file_is_refused_in_place(tmp_path: Path, make: Make, message: str) -> None:
    (tmp_path / "numbers.bin").write_bytes(b"\0" * 16)
    assert message in refused_in_place(written(tmp_path / "a.h5", make))


def _text_attribute(file: h5py.File) -> None:
    file.create_group("a").attrs["order"] = ["x", "y"]


def _attribute_of_an_array(file: h5py.File) -> None:
    file["x"] = 1.0
    file["x"].attrs["unit"] = "s"


def _text(file: h5py.File) -> None:
    file["x"] = "of any length"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_text_attribute, "/a attribute 'order' is of type text; only numbers and fixed text are read"),
        (_attribute_of_an_array, "/x attribute 'unit' is of type text; only numbers and fixed text are read"),
        (_text, "/x holds texts stored in a way that is not read"),
    ],
)
def test_nothing_of_variable_length_is_read_in_place(tmp_path: Path, make: Make, message: str) -> None:
    path = written(tmp_path / "a.h5", make)
    assert message in refused_in_place(path)
    with opened(path, what="a network"):
        pass


def test_a_harmless_file_is_opened_in_place(tmp_path: Path) -> None:
    def harmless(file: h5py.File) -> None:
        file.attrs["format"], file.attrs["order"] = 2, np.array([b"v", b"i"])
        file["x"] = np.arange(3)

    with opened_in_place(written(tmp_path / "a.h5", harmless), what="a recording") as file:
        assert file["x"][1:].tolist() == [1, 2] and file.attrs["format"] == 2
    with pytest.raises(FileError, match=r"none\.h5: there is no such file"):
        opened_in_place(tmp_path / "none.h5", what="a recording")
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:500])
    assert "truncated, damaged or of another kind" in refused_in_place(tmp_path / "b.h5")


def lists_of(file: h5py.File, *rows: list[int], **options: object) -> None:
    data = file.create_dataset("x", (len(rows),), h5py.vlen_dtype(np.uint16), **options)
    for number, row in enumerate(rows):
        data[number] = np.array(row, np.uint16)


@pytest.mark.parametrize("kind", [1, 2, 15])
def test_lists_of_an_unknown_kind_are_refused(kind: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", lambda file: lists_of(file, [1, 2, 3]))
    content = path.read_bytes()
    stored = bytes((0x19, 0, 0, 0, 16, 0, 0, 0))  # class 9, its flags, 16 bytes of a list
    assert content.count(stored) == 1
    path.write_bytes(content.replace(stored, bytes((0x19, kind, 0, 0, 16, 0, 0, 0))))
    message = "where lists of numbers are expected" if kind == 1 else "lists of a kind that HDF5 does not define"
    with pytest.raises(FileError, match=message), opened(path, what="spikes", lists=True) as root:
        root.list("x", 0)


@pytest.mark.parametrize("options", [{}, {"chunks": (2,)}, {"chunks": (2,), "compression": "gzip"}])
def test_lists_of_numbers_are_read_where_they_are_allowed(tmp_path: Path, options: dict[str, object]) -> None:
    path = written(tmp_path / "a.h5", lambda file: lists_of(file, [1, 2, 3], [], [7], **options))
    with opened(path, what="spikes", lists=True) as root:
        assert [root.list("x", k).tolist() for k in range(3)] == [[1, 2, 3], [], [7]]
        for index in (-1, 3):
            with pytest.raises(FileError, match=f"/x holds 3 lists, where number {index} is needed"):
                root.list("x", index)
    message = r"/size is of type int64, where lists of numbers are expected"
    with opened(written(path, whole), what="x", lists=True) as root, pytest.raises(FileError, match=message):
        root.group("layer").group("0").list("size", 0)


def test_one_list_repeated_until_memory_is_full_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", lambda file: lists_of(file, list(range(2**14)), *[[1]] * 99))
    with h5py.File(path) as file:
        start = file["x"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start : start + 1600] = content[start : start + 16] * 100
    path.write_bytes(content)
    message = r"/x of shape \[100\] and type lists of uint16 brings the file to 3,277,600 bytes"
    with pytest.raises(FileError, match=message), opened(path, what="spikes", limit=2**20, lists=True):
        pass


def test_one_text_repeated_until_memory_is_full_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.array(["a" * 2**15, *"b" * 99], h5py.string_dtype())
        start = file["x"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start : start + 1600] = content[start : start + 16] * 100
    path.write_bytes(content)
    assert "/x of shape [100] and type text brings the file to 3,2" in refused(path)


def test_a_text_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = "short"
        start = file["x"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start + 3] = 0xFF
    path.write_bytes(content)
    assert "brings the file to 4,278,190,093 bytes" in refused(path)


def test_a_heap_in_which_hdf5_never_finds_an_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", lambda file: file.create_dataset("x", data="short") and None)
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 2] = bytes(2)
    content[first + 8 : first + 16] = bytes(8)
    path.write_bytes(content)
    assert "has free space without a size" in refused(path)


def test_a_heap_with_an_item_beyond_its_end_is_refused(tmp_path: Path) -> None:
    # Rounded up to the next item, a size of 2**64 - 1 is 0: HDF5 would look at one item forever.
    path = written(tmp_path / "a.h5", lambda file: file.create_dataset("x", data="short") and None)
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first + 8 : first + 16] = b"\xff" * 8
    path.write_bytes(content)
    assert "beyond its end" in refused(path)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda g: g.group("weight"), "/layer/0/weight is an array, where a group is expected"),
        (lambda g: g.array("bias"), "/layer/0/bias is missing; there is edges"),
        (lambda g: g.array("type"), "/layer/0/type is of type |S10, where numbers are expected"),
        (lambda g: g.array("weight", shape=(3, 2)), "/layer/0/weight is of shape [2, 3], where [3, 2] is expected"),
        (lambda g: g.array("weight", shape=(None,)), "/layer/0/weight is of shape [2, 3], where [any] is expected"),
        (lambda g: g.integer("weight"), "/layer/0/weight is of shape [2, 3], where one number is expected"),
        (lambda g: g.integer("size", low=4), "/layer/0/size is 3, where 4 to any is allowed"),
        (lambda g: g.integer("size", high=2), "/layer/0/size is 3, where any to 2 is allowed"),
        (lambda g: g.text("weight"), "/layer/0/weight is of type float64, where text is expected"),
        (lambda g: g.text("edges"), "/layer/0/edges holds 2 texts, where one is expected"),
    ],
)
def test_a_member_that_does_not_fit_is_refused(tmp_path: Path, ask: Callable[[Group], object], message: str) -> None:
    with (
        opened(written(tmp_path / "a.h5", whole), what="a network") as root,
        pytest.raises(FileError) as caught,
    ):
        ask(root.group("layer").group("0"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "ask", "message"),
    [
        (np.nan, Group.array, "/x holds NaN or infinity"),
        (np.inf, Group.integers, "/x holds NaN or infinity"),
        (0.5, Group.integers, "/x holds 0.5, where integers are expected"),
        (1e30, Group.integers, "/x holds 1e+30, which is out of range"),
        (b"\xff\xfe", Group.texts, "truncated, damaged or of another kind"),
    ],
)
def test_numbers_and_texts_that_cannot_be_are_refused(tmp_path: Path, value: object, ask: object, message: str) -> None:
    path = written(tmp_path / "a.h5", lambda file: file.create_dataset("x", data=value) and None)
    with opened(path, what="a network") as root, pytest.raises(FileError, match=message.replace("+", r"\+")):
        ask(root, "x")


def test_an_error_of_the_reader_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), opened(written(tmp_path / "a.h5", whole), what="a network"):
        raise ValueError("mine")


def test_a_damaged_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    # In a process of its own: what would crash the interpreter must be seen as that.
    path = written(tmp_path / "a.h5", whole)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from neurosim.errors import FileError\nfrom neurosim.files.untrusted_hdf5 import opened\n"
        "path, refused = Path(sys.argv[1]), 0\n"
        "whole = path.read_bytes()\n"
        "def read(group):\n"
        "    for name in group.names:\n"
        "        for ask in (group.array, group.texts, lambda n: read(group.group(n))):\n"
        "            try:\n"
        "                ask(name)\n"
        "            except FileError:\n"
        "                pass\n"
        "for place in range(0, len(whole), 101):\n"
        "    path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1:])\n"
        "    try:\n"
        "        with opened(path, what='a network', limit=2**24) as root:\n"
        "            read(root)\n"
        "    except FileError:\n"
        "        refused += 1\n"
        "print(refused)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 5
