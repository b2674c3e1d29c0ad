"""Frames through a Unix socket, whatever parts the system delivers them in."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest

from spark_keras.training.wire.unix_stream import Stream

FRAMES = [b"", b"x", b"a message", bytes(70_000), b"the last one"]
SENT = b"".join(struct.pack("<Q", len(frame)) + frame for frame in FRAMES)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with contextlib.closing(Stream(ours)) as stream, theirs:
        yield stream, theirs


@pytest.mark.parametrize("part", [1, 7, 8, 9, 65_536, len(SENT)])
def test_frames_arrive_as_they_were_sent_in_parts_of_any_size(pair, part):
    stream, theirs = pair
    parts = [SENT[start : start + part] for start in range(0, len(SENT), part)]
    thread = threading.Thread(target=lambda: [theirs.sendall(each) for each in parts])
    thread.start()
    assert [stream.receive(100_000) for _ in FRAMES] == FRAMES
    assert not stream.unread
    thread.join()


def test_what_arrived_with_a_frame_is_not_forgotten(pair):
    stream, theirs = pair
    theirs.sendall(struct.pack("<Q", 1) + b"x" + struct.pack("<Q", 2) + b"yz" + b"\1")
    assert stream.receive(1) == b"x" and stream.unread
    assert stream.receive(2) == b"yz" and stream.unread
    theirs.sendall(bytes(7) + b"!")
    assert stream.receive(1) == b"!" and not stream.unread


def test_two_streams_understand_each_other(pair):
    stream, theirs = pair
    other = Stream(theirs)
    thread = threading.Thread(target=lambda: [stream.send(frame) for frame in FRAMES])
    thread.start()
    assert [other.receive(2**20) for _ in FRAMES] == FRAMES
    thread.join()


def test_a_frame_that_is_too_long_is_refused_at_once(pair):
    stream, theirs = pair
    theirs.sendall(struct.pack("<Q", 2**62))
    with pytest.raises(OSError, match=f"{2**62} bytes is announced where at most 10 are expected"):
        stream.receive(10)


@pytest.mark.parametrize("sent", [b"", b"\1", struct.pack("<Q", 5) + b"four"])
def test_the_end_of_the_other_side_is_an_error(pair, sent):
    stream, theirs = pair
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(EOFError, match="closed"):
        stream.receive(100)


def test_a_stream_is_closed_once_and_knows_it(pair):
    stream, _ = pair
    assert not stream.closed and stream.fileno() >= 0
    stream.close()
    stream.close()
    assert stream.closed
    with pytest.raises(OSError):
        stream.receive(100)


def test_connecting_where_nobody_listens_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Stream.to(str(tmp_path / "socket"))
