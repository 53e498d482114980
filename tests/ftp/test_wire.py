from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadPath
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.ids import reserved_on_windows
from discomputify_ftp import wire
from discomputify_ftp.hashing import digest_of

letters = st.characters(codec="utf-8", exclude_characters="/\\:. \x7f", min_codepoint=33)
names = st.text(letters, min_size=4, max_size=12).filter(lambda name: not reserved_on_windows(name))
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    entries: list[Entry] = []
    for path in draw(st.lists(paths, max_size=12, unique=True)):
        folder = draw(st.booleans())
        size = 0 if folder else draw(st.integers(0, 2**60))
        digest = "" if folder else digest_of(draw(st.binary(max_size=8)))
        entry = Entry(path, size, digest, draw(st.booleans()) and not folder, folder)
        try:
            Manifest([*entries, entry])
        except BadPath:
            continue
        entries.append(entry)
    return Manifest(entries)


@given(manifests(), st.randoms())
def test_a_manifest_survives_packing_and_its_order_does_not_matter(manifest: Manifest, random: object) -> None:
    packed, digest = wire.packed_digest(manifest)
    assert wire.unpack(packed, digest) == manifest
    assert wire.pack(Manifest(reversed(manifest.entries))) == packed


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.integers(-5, 5) | st.text(max_size=5) | st.booleans(),
            lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ).map(msgpack.packb),
    )
)
def test_anything_else_is_refused_and_never_crashes(data: bytes) -> None:
    try:
        wire.unpack(data, "blake3:x")
    except BadPath:
        return
    assert isinstance(msgpack.unpackb(data), list)


@pytest.mark.parametrize("path", ["../up", "/abs", "a/../b", "a//b", "C:/x", "nul", "a\\b"])
def test_a_manifest_with_a_bad_path_names_it(path: str) -> None:
    with pytest.raises(BadPath) as caught:
        wire.unpack(msgpack.packb([[path, 0, digest_of(b""), 0]]), "blake3:x")
    assert path.encode("unicode_escape").decode() in str(caught.value)
