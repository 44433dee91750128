"""Bad and hostile files that aren't CSV, built when they're asked for; each with the code that it must be refused with.

The numbers are those of the corpus of import cases.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable

import polars as pl

CSV = b"a,b\n1,2\n3,4\n"


def zstd(content: bytes, window_log: int | None = None) -> bytes:
    try:
        from compression import zstd as library
    except ImportError:
        from backports import zstd as library

    options = {} if window_log is None else {library.CompressionParameter.window_log: window_log}
    packer = library.ZstdCompressor(options=options)
    return packer.compress(content) + packer.flush()


def zipped(*members: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, content, method)
    return target.getvalue()


def gzip_bomb(size: int = 1_050_000_000) -> bytes:
    """About a thousandth of what it holds: one compressed block of zeros, again and again, as members."""
    block = gzip.compress(b"0" * 10_500_000)
    return block * (size // 10_500_000)


def overlapping() -> bytes:
    """Two directory entries for the same bytes."""
    content = bytearray(zipped(("a.csv", CSV)))
    at = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = bytes(content[at:end])
    twin = entry.replace(b"a.csv", b"b.csv")
    tail = bytearray(content[end:])
    tail[8:12] = struct.pack("<HH", 2, 2)
    tail[12:16] = struct.pack("<I", 2 * len(entry))
    return bytes(content[:at]) + entry + twin + bytes(tail)


def encrypted() -> bytes:
    content = bytearray(zipped(("a.csv", CSV)))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1
    return bytes(content)


def wrong_size(by: int) -> bytes:
    content = bytearray(zipped(("a.csv", CSV)))
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(magic) + offset
        content[at : at + 4] = struct.pack("<I", len(CSV) + by)
    return bytes(content)


def wrong_checksum() -> bytes:
    return zipped(("a.csv", CSV)).replace(struct.pack("<I", zlib.crc32(CSV)), b"\0\0\0\0")


def many_entries() -> bytes:
    return zipped(*((f"{number}.csv", b"") for number in range(101)))


PACKED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "70 gzip bomb": ("a.csv.gz", gzip_bomb, "E_BOMB"),
    "70 zip bomb": ("a.zip", lambda: zipped(("a.csv", bytes(60_000_000))), "E_BOMB"),
    "70 zstd bomb": ("a.csv.zst", lambda: zstd(bytes(60_000_000)), "E_BOMB"),
    "71 truncated gzip": ("a.csv.gz", lambda: gzip.compress(CSV)[:-3], "E_DAMAGED"),
    "71 gzip with a wrong checksum": ("a.csv.gz", lambda: gzip.compress(CSV)[:-8] + bytes(8), "E_DAMAGED"),
    "71 gzip with more after it": ("a.csv.gz", lambda: gzip.compress(CSV) + b"more", "E_DAMAGED"),
    "71 truncated zstd": ("a.csv.zst", lambda: zstd(CSV)[:-3], "E_DAMAGED"),
    "71 truncated zip": ("a.zip", lambda: zipped(("a.csv", CSV))[:-30], "E_DAMAGED"),
    "73 gzip of gzip": ("a.csv.gz", lambda: gzip.compress(gzip.compress(CSV)), "E_FORMAT"),
    "73 gzip of zip": ("a.zip.gz", lambda: gzip.compress(zipped(("a.csv", CSV))), "E_FORMAT"),
    "73 gzip of Parquet named CSV": ("a.csv.gz", lambda: gzip.compress(parquet({"a": [1]})), "E_FORMAT"),
    "74 zip with two files": ("a.zip", lambda: zipped(("a.csv", CSV), ("b.csv", CSV)), "E_ARCHIVE"),
    "74 zip without files": ("a.zip", lambda: zipped(), "E_ARCHIVE"),
    "74 zip with a hundred and one": ("a.zip", many_entries, "E_ARCHIVE"),
    "75 a name with ..": ("a.zip", lambda: zipped(("../a.csv", CSV)), "E_ARCHIVE"),
    "75 a name with .. and backslashes": ("a.zip", lambda: zipped(("x\\..\\a.csv", CSV)), "E_ARCHIVE"),
    "75 an absolute name": ("a.zip", lambda: zipped(("/a.csv", CSV)), "E_ARCHIVE"),
    "75 a name with a drive": ("a.zip", lambda: zipped(("C:/a.csv", CSV)), "E_ARCHIVE"),
    "76 a link": ("a.zip", lambda: zipped(("a.csv", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "E_ARCHIVE"),
    "76 a folder": ("a.zip", lambda: zipped(("a/", b""), mode=stat.S_IFDIR | 0o755), "E_ARCHIVE"),
    "77 members over each other": ("a.zip", overlapping, "E_BOMB"),
    "78 encrypted": ("a.zip", encrypted, "E_ARCHIVE"),
    "78 packed in a rare way": ("a.zip", lambda: zipped(("a.csv", CSV), method=zipfile.ZIP_BZIP2), "E_ARCHIVE"),
    "79 declared smaller": ("a.zip", lambda: wrong_size(-4), "E_DAMAGED"),
    "79 declared larger": ("a.zip", lambda: wrong_size(4), "E_DAMAGED"),
    "79 another checksum": ("a.zip", wrong_checksum, "E_DAMAGED"),
    "80 a zstd window of 2 GiB": ("a.csv.zst", lambda: zstd(CSV, window_log=31), "E_BOMB"),
    "an Excel workbook": ("a.zip", lambda: zipped(("[Content_Types].xml", b"<x/>"), ("xl/a.xml", b"")), "E_FORMAT"),
    "CSV named gzip": ("a.csv.gz", lambda: CSV, "E_FORMAT"),
    "gzip named CSV": ("a.csv", lambda: gzip.compress(CSV), "E_FORMAT"),
    "nothing in a gzip": ("a.csv.gz", lambda: gzip.compress(b""), "E_EMPTY"),
    "refused content in a gzip": ("a.csv.gz", lambda: gzip.compress(b"a,b\n1,2,3\n"), "E_RAGGED"),
}

UNPACKED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("a.csv.gz", lambda: gzip.compress(CSV)),
    "72 gzip of several members": ("a.csv.gz", lambda: gzip.compress(CSV[:5]) + gzip.compress(CSV[5:])),
    "gzip filled up with zeros": ("a.csv.gz", lambda: gzip.compress(CSV) + bytes(512)),
    "zip": ("a.zip", lambda: zipped(("folder/a.csv", CSV))),
    "stored zip": ("a.zip", lambda: zipped(("a.csv", CSV), method=zipfile.ZIP_STORED)),
    "zstd": ("a.csv.zst", lambda: zstd(CSV)),
    "zstd of several frames": ("a.csv.zst", lambda: zstd(CSV[:5]) + zstd(CSV[5:])),
    "without a telling name": ("table", lambda: gzip.compress(CSV)),
    "named in capitals": ("A.CSV.GZ", lambda: gzip.compress(CSV)),
    "tabs": ("a.tsv.gz", lambda: gzip.compress(CSV.replace(b",", b"\t"))),
    "JSON in a gzip": ("a.json.gz", lambda: gzip.compress(b'[{"a":1,"b":2},{"a":3,"b":4}]')),
    "lines of JSON in a zip": ("a.zip", lambda: zipped(("a.ndjson", b'{"a":1,"b":2}\n{"a":3,"b":4}\n'))),
    "Parquet": ("a.parquet", lambda: parquet({"a": [1, 3], "b": [2, 4]})),
}
"""Each holds the columns a (1, 3) and b (2, 4)."""


def parquet(columns: object, **options: object) -> bytes:
    target = io.BytesIO()
    frame = columns if isinstance(columns, pl.DataFrame) else pl.DataFrame(columns)
    frame.write_parquet(target, **options)
    return target.getvalue()


def dictionary_bomb(rows: int = 50_000_000) -> bytes:
    """Some hundred kilobytes that say one value very often."""
    return parquet(pl.select(a=pl.repeat(1, rows, dtype=pl.Int32)), compression="zstd")


def same_names() -> bytes:
    return parquet({"aa": [1], "ab": [2]}, statistics=False).replace(b"ab", b"aa")


def damaged(at: float, by: bytes) -> bytes:
    """A file with some of its bytes replaced, `at` being their place as a share of the file."""
    content = bytearray(parquet({"n": range(300), "t": ["a", "b", "c"] * 100}, compression="uncompressed"))
    place = int(at * len(content))
    content[place : place + len(by)] = by
    return bytes(content)


PARQUET: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "81 truncated": ("a.parquet", lambda: parquet({"a": [1, 2]})[:-20], "E_DAMAGED"),
    "82 no footer": ("a.parquet", lambda: parquet({"a": [1, 2]})[:40], "E_DAMAGED"),
    "83 magic only": ("a.parquet", lambda: b"PAR1", "E_DAMAGED"),
    "83 magic twice": ("a.parquet", lambda: b"PAR1PAR1", "E_DAMAGED"),
    "85 dictionary bomb": ("a.parquet", dictionary_bomb, "E_ROWS"),
    "86 lists": ("a.parquet", lambda: parquet({"a": [[1], [2]]}), "E_NESTED"),
    "86 records": ("a.parquet", lambda: parquet({"a": [{"x": 1}]}), "E_NESTED"),
    "87 bytes": ("a.parquet", lambda: parquet({"a": [b"x"]}), "E_TYPE"),
    "87 times of day": ("a.parquet", lambda: parquet(pl.DataFrame({"a": [1]}).cast(pl.Time)), "E_TYPE"),
    "88 duplicate names": ("a.parquet", same_names, "E_DUP_HEADER"),
    "88 a blank name": ("a.parquet", lambda: parquet({" ": [1]}), "E_HEADER"),
    "89 zero rows": ("a.parquet", lambda: parquet(pl.DataFrame(schema={"a": pl.Int64})), "E_NO_ROWS"),
    "90 zero columns": ("a.parquet", lambda: parquet(pl.DataFrame()), "E_EMPTY"),
    "91 encrypted": ("a.parquet", lambda: b"PAR1" + bytes(40) + b"PARE", "E_FORMAT"),
    "92 a footer of zeros": ("a.parquet", lambda: damaged(0.9, bytes(60)), "E_DAMAGED"),
    "93 a footer longer than the file": (
        "a.parquet",
        lambda: parquet({"a": [1]})[:-8] + b"\xff\xff\xff\x7fPAR1",
        "E_DAMAGED",
    ),
    "94 a page header of ones": ("a.parquet", lambda: damaged(0.0, b"PAR1" + b"\xff" * 20), "E_DAMAGED"),
    "infinite": ("a.parquet", lambda: parquet({"a": [1.0, float("inf")]}), "E_NONFINITE"),
    "NUL": ("a.parquet", lambda: parquet({"a": ["x\0y"]}), "E_NUL"),
    "named CSV": ("a.csv", lambda: parquet({"a": [1]}), "E_FORMAT"),
    "CSV named Parquet": ("a.parquet", lambda: CSV, "E_FORMAT"),
}

JSON: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "100 depth 65": ("a.json", lambda: b'[{"a":' + b"[" * 63 + b"]" * 63 + b"}]", "E_DEPTH"),
    "100 depth 64": ("a.json", lambda: b'[{"a":' + b"[" * 62 + b"]" * 62 + b"}]", "E_NESTED"),
    "101 depth 100,000": ("a.json", lambda: b'[{"a":' + b"[" * 100_000, "E_DEPTH"),
    "101 depth 100,000 of objects": ("a.ndjson", lambda: b'{"a":' * 100_000, "E_DEPTH"),
    "102 a key twice": ("a.json", lambda: b'[{"a":1,"a":2}]', "E_DUP_KEY"),
    "102 a key twice within": ("a.json", lambda: b'[{"a":{"b":1,"b":2}}]', "E_DUP_KEY"),
    "103 NaN": ("a.json", lambda: b'[{"a":NaN}]', "E_NONFINITE"),
    "103 Infinity": ("a.json", lambda: b'[{"a":-Infinity}]', "E_NONFINITE"),
    "103 1e999": ("a.json", lambda: b'[{"a":1e999}]', "E_NONFINITE"),
    "105 a comma after the last value": ("a.json", lambda: b'[{"a":1,}]', "E_JSON"),
    "105 a comma after the last object": ("a.json", lambda: b'[{"a":1},]', "E_JSON"),
    "106 text among numbers": ("a.json", lambda: b'[{"a":1},{"a":"x"}]', "E_SHAPE"),
    "106 truth among numbers": ("a.json", lambda: b'[{"a":1},{"a":true}]', "E_SHAPE"),
    "106 other keys": ("a.json", lambda: b'[{"a":1},{"b":1}]', "E_SHAPE"),
    "106 a further key": ("a.json", lambda: b'[{"a":1},{"a":1,"b":1}]', "E_SHAPE"),
    "106 a key that lacks": ("a.json", lambda: b'[{"a":1,"b":2},{"a":1}]', "E_SHAPE"),
    "106 numbers alone": ("a.json", lambda: b"[1,2]", "E_SHAPE"),
    "106 a list in a later row": ("a.json", lambda: b'[{"a":1},{"a":[1]}]', "E_NESTED"),
    "106 objects under keys": ("a.json", lambda: b'{"rows":{"a":1}}', "E_NESTED"),
    "107 a bad line": ("a.ndjson", lambda: b'{"a":1}\n' * 4 + b'{"a":\n' + b'{"a":1}\n', "E_JSON"),
    "107 two objects on a line": ("a.ndjson", lambda: b'{"a":1} {"a":2}\n', "E_JSON"),
    "108 truncated": ("a.json", lambda: b'[{"a":1},{"a":2', "E_JSON"),
    "108 more after the end": ("a.json", lambda: b'[{"a":1}] []', "E_JSON"),
    "109 a lone surrogate": ("a.json", lambda: rb'[{"a":"\ud800"}]', "E_ENCODING"),
    "109 a lone surrogate in a key": ("a.json", lambda: rb'[{"\udfff":1}]', "E_ENCODING"),
    "109 invalid UTF-8": ("a.json", lambda: b'[{"a":"\xff"}]', "E_ENCODING"),
    "NUL": ("a.json", lambda: rb'[{"a":"\u0000"}]', "E_NUL"),
    "no objects": ("a.json", lambda: b"[]", "E_NO_ROWS"),
    "an empty object": ("a.json", lambda: b"[{}]", "E_SHAPE"),
    "a blank key": ("a.json", lambda: b'[{"":1}]', "E_HEADER"),
    "CSV named JSON": ("a.json", lambda: CSV, "E_JSON"),
    "a line without an end": ("a.ndjson", lambda: b'{"a":"' + b"x" * 11_000_000, "E_LINE"),
    "a text too large": ("a.json", lambda: b'[{"a":"' + b"x" * 1_048_577 + b'"}]', "E_CELL"),
}
