"""Layers that look like tar: a plain one, and ones with which something is wrong."""
import io
import random
import tarfile


def archive(entries, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size = kind, len(data)
            entry.linkname = "target" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def header(name=b"file", size=b"00000000144\0", kind=b"0", magic=b"ustar\x0000", sum_it=True):
    block = bytearray(512)
    block[0:len(name)] = name[:100]
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:124 + len(size)] = size
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = magic
    if sum_it:
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def odd_tars():
    file, text = tarfile.REGTYPE, random.Random(7).randbytes
    plain = archive([("a/", b"", tarfile.DIRTYPE), ("a/small", b"hello\n", file), ("a/empty", b"", file),
                     ("a/large", text(900_000), file), ("a/words", b"many words " * 40_000, file),
                     ("a/link", b"", tarfile.SYMTYPE), ("a/" + "long" * 60, text(3000), file)])
    yield "plain", plain
    yield "GNU names", archive([("b/" + "long" * 60, text(3000), file), ("b/x", text(70_000), file)], tarfile.GNU_FORMAT)
    yield "hard links, devices", archive([("x", text(5000), file), ("y", b"", tarfile.LNKTYPE), ("z", b"", tarfile.CHRTYPE)])
    outside = [("../../outside", text(3000), file), ("/etc/shadow", text(70_000), file), ("a/../../b", text(10), file),
               ("link", b"", tarfile.SYMTYPE), ("link/below", text(5000), file), ("twice", text(100), file), ("twice", text(90_000), file),
               ("a\tb\x7f", text(100), file), ("n" * 5000, text(100), file), (".wh..wh..opq", b"", file), ("", text(100), file),
               ("device", b"", tarfile.BLKTYPE), ("pipe", b"", tarfile.FIFOTYPE), (".", b"", tarfile.DIRTYPE)]
    yield "names that lead out", archive(outside)
    yield "names that lead out, GNU", archive(outside, tarfile.GNU_FORMAT)
    yield "4,000 empty files of one name", header(size=b"00000000000\0") * 4000
    yield "without its end", plain[:-10_240]
    yield "cut in a header", plain[:700]
    yield "cut in a file", plain[:300_000]
    yield "garbage behind the end", plain + text(5001)
    yield "another tar behind the end", plain + plain
    yield "a hole in the middle", plain[:1024] + bytes(1024) + plain[1024:]
    yield "a size that is no number", header(size=b"zzzzzzzzzzz\0") + bytes(1024)
    yield "a size of 8 exabytes", header(size=b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7) + text(3000)
    yield "a negative size", header(size=b"\xff" * 12) + text(3000)
    yield "a wrong sum", header(sum_it=False) + text(2000)
    yield "a size beyond the end", header(size=b"77777777777\0") + text(2000)
    yield "a pax header of 1 GB", header(kind=b"x", size=b"10000000000\0") + b"30 size=1\n" + text(2000)
    yield "a pax header that contradicts", header(kind=b"x", size=b"00000000014\0") + b"12 size=999\n".ljust(512, b"\0") + header() + text(512)
    yield "pax records without an end", header(kind=b"x", size=b"00000001000\0") + b"99999999 path=" + b"a" * 498 + header() + bytes(512)
    yield "a long name without a file", header(kind=b"L", size=b"00000000400\0") + b"n" * 512
    yield "1,000 long names", (header(kind=b"L", size=b"00000000400\0") + b"n" * 512) * 1000
    yield "old magic", header(magic=b"ustar  \0") + text(100) + bytes(412) + bytes(1024)
    yield "sparse", header(kind=b"S") + text(512) + bytes(1024)
    yield "a directory with content", header(name=b"d/", kind=b"5") + text(512) + bytes(1024)
    yield "only zeros", bytes(100_000)
    yield "a first block and nothing", header(size=b"00000000000\0")
    yield "half a block", header()[:256]
    yield "noise", text(200_000)
    yield "gzip", b"\x1f\x8b\x08" + text(50_000)
    yield "nothing", b""
