"""The child process that decodes: whatever it does, one error comes back and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clinical import Permanent, Quarantine, RadDraftError, Transient
from imaging import DecodeLimits
from imaging.limited_process import run_limited

_DECODERS = """
import ctypes, os, pathlib, signal, subprocess, sys, time
from clinical import Permanent


def _note(arguments):
    pathlib.Path(arguments["pid"]).write_text(str(os.getpid()))


def echo(arguments):
    return {"said": arguments["word"]}, b"x" * arguments["size"]


def environment(arguments):
    return {"names": sorted(os.environ)}, b""


def surroundings(arguments):
    held = []
    for name in os.listdir("/proc/self/fd"):
        try:
            held.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # the listing's own
            pass
    return {"pid": os.getpid(), "server": os.getppid(), "group": os.getpgrp(), "held": held}, b""


def segfault(arguments):
    _note(arguments)
    ctypes.string_at(0)


def abort(arguments):
    _note(arguments)
    os.abort()


def leave(arguments):
    os._exit(3)


def hang(arguments):
    _note(arguments)
    time.sleep(600)


def stop(arguments):
    _note(arguments)
    os.kill(os.getpid(), signal.SIGSTOP)


def leave_a_child(arguments):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(arguments["pid"]).write_text(str(child.pid))
    return {}, b""


def eat_memory(arguments):
    _note(arguments)
    hoard = []
    while True:
        hoard.append(bytearray(50_000_000))


def spin(arguments):
    _note(arguments)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def nonsense(arguments):
    reply_fd = next(fd for fd in range(3, 99) if "raddraft-decode" in os.readlink(f"/proc/self/fd/{fd}"))
    os.pwrite(reply_fd, b"\\xff" * 64, 0)
    os._exit(0)


def refuse(arguments):
    raise Permanent("no-such-decoder", "there is none", tag="(0002,0010)")


def raise_with_patient_data(arguments):
    raise ValueError("DOE^JANE")
"""
_ROOMY = DecodeLimits(timeout_s=60)


@pytest.fixture
def decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Module of badly behaved decoders on the path the child inherits."""
    (tmp_path / "raddraft_odd_decoders.py").write_text(_DECODERS)
    monkeypatch.syspath_prepend(tmp_path)
    return "raddraft_odd_decoders"


def _failure(call: Callable[[], object]) -> RadDraftError:
    with pytest.raises(RadDraftError) as caught:
        call()
    return caught.value


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A grandchild that nobody has reaped yet is dead all the same.
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def _noted_is_gone(note: Path) -> bool:
    """Whether the process that noted its id is gone; on a busy machine it may have been ended before it could."""
    text = note.read_text() if note.exists() else ""
    return not text or _is_gone(int(text))


def _soon(condition: Callable[[], bool]) -> bool:
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_reply_of_any_size_comes_back_whole(decoders: str) -> None:
    for size in (0, 1, 3_000_000):
        reply = run_limited(f"{decoders}:echo", {"word": "ö", "size": size}, _ROOMY)
        assert reply.facts == {"said": "ö"}
        assert reply.payload == b"x" * size


def test_no_setting_of_the_service_reaches_the_child(decoders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADDRAFT_DATABASE__URL", "postgresql://user:secret@book/raddraft")
    names = run_limited(f"{decoders}:environment", {}, _ROOMY).facts["names"]
    assert not [name for name in names if name.startswith("RADDRAFT")]


def test_images_are_decoded_by_forks_of_one_process_that_hold_nothing_of_it(decoders: str) -> None:
    """Each image has a process of its own, with its request's memory file and no socket of the service's."""
    first, second = (run_limited(f"{decoders}:surroundings", {}, _ROOMY).facts for _ in range(2))
    assert first["server"] == second["server"] and first["pid"] != second["pid"]
    assert first["group"] == first["pid"]
    open_files = [name for name in first["held"] if not name.startswith(("/dev/null", "/proc/"))]
    assert len(open_files) == 1 and "raddraft-decode" in open_files[0]
    assert _is_gone(first["pid"]) and _is_gone(second["pid"])


def test_a_lost_fork_server_costs_a_retry_and_comes_back(decoders: str, tmp_path: Path) -> None:
    before = run_limited(f"{decoders}:surroundings", {}, _ROOMY).facts["server"]
    note = tmp_path / "pid"
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(run_limited, f"{decoders}:hang", {"pid": str(note)}, _ROOMY)
        assert _soon(lambda: note.exists() and bool(note.read_text()))
        os.kill(before, signal.SIGKILL)
        assert isinstance(lost.exception(), Transient)
    assert _soon(lambda: _noted_is_gone(note))
    assert run_limited(f"{decoders}:surroundings", {}, _ROOMY).facts["server"] != before


@pytest.mark.parametrize("way", ["segfault", "abort"])
def test_a_crashing_decoder_is_quarantined(decoders: str, tmp_path: Path, way: str) -> None:
    note = tmp_path / "pid"
    failure = _failure(lambda: run_limited(f"{decoders}:{way}", {"pid": str(note)}, _ROOMY))
    assert isinstance(failure, Quarantine)
    assert failure.code == "decode-crashed"
    assert _is_gone(int(note.read_text()))


@pytest.mark.parametrize("way", ["leave", "nonsense"])
def test_a_decoder_that_ends_without_an_answer_is_quarantined(decoders: str, way: str) -> None:
    failure = _failure(lambda: run_limited(f"{decoders}:{way}", {}, _ROOMY))
    assert isinstance(failure, Quarantine)
    assert failure.code == "decode-crashed"


@pytest.mark.parametrize("way", ["hang", "stop"])
def test_a_hanging_decoder_is_ended_and_quarantined(decoders: str, tmp_path: Path, way: str) -> None:
    note = tmp_path / "pid"
    limits = DecodeLimits(timeout_s=3)
    failure = _failure(lambda: run_limited(f"{decoders}:{way}", {"pid": str(note)}, limits))
    assert isinstance(failure, Quarantine)
    assert failure.code == "decode-timeout"
    assert _noted_is_gone(note)


def test_a_spinning_decoder_that_ignores_signals_is_ended(decoders: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    limits = DecodeLimits(timeout_s=3)
    failure = _failure(lambda: run_limited(f"{decoders}:spin", {"pid": str(note)}, limits))
    assert failure.code == "decode-timeout"
    assert _noted_is_gone(note)


def test_a_greedy_decoder_is_stopped_by_its_memory_limit(decoders: str, tmp_path: Path) -> None:
    limits = DecodeLimits(timeout_s=60, memory_bytes=1_000_000_000)
    failure = _failure(lambda: run_limited(f"{decoders}:eat_memory", {"pid": str(tmp_path / "pid")}, limits))
    assert isinstance(failure, Quarantine)
    assert failure.code == "decode-memory"


def test_a_child_of_the_decoder_does_not_outlive_it(decoders: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    run_limited(f"{decoders}:leave_a_child", {"pid": str(note)}, _ROOMY)
    assert _soon(lambda: _is_gone(int(note.read_text())))


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_decoder_ended_from_outside_is_tried_again(
    decoders: str, tmp_path: Path, by: signal.Signals
) -> None:
    note = tmp_path / "pid"
    killed: list[bool] = []

    def end_it() -> None:
        killed.append(_soon(lambda: note.exists() and bool(note.read_text())))
        os.kill(int(note.read_text()), by)

    thread = threading.Thread(target=end_it)
    thread.start()
    failure = _failure(lambda: run_limited(f"{decoders}:hang", {"pid": str(note)}, _ROOMY))
    thread.join()
    assert isinstance(failure, Transient)
    assert failure.code == "decode-interrupted"


def test_the_decoder_dies_with_the_worker(decoders: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "from imaging import DecodeLimits\n"
        "from imaging.limited_process import run_limited\n"
        f"run_limited('{decoders}:hang', {{'pid': {str(note)!r}}}, DecodeLimits(timeout_s=600))\n"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(entry for entry in sys.path if entry))
    worker = subprocess.Popen([sys.executable, "-c", program], env=environment)
    assert _soon(lambda: note.exists() and bool(note.read_text()))
    worker.kill()
    worker.wait()
    assert _soon(lambda: _noted_is_gone(note))


def test_what_the_decoder_refuses_arrives_as_it_was(decoders: str) -> None:
    failure = _failure(lambda: run_limited(f"{decoders}:refuse", {}, _ROOMY))
    assert isinstance(failure, Permanent)
    assert (failure.code, failure.tag) == ("no-such-decoder", "(0002,0010)")


def test_an_exception_is_told_without_its_words(decoders: str) -> None:
    failure = _failure(lambda: run_limited(f"{decoders}:raise_with_patient_data", {}, _ROOMY))
    assert isinstance(failure, Quarantine)
    assert failure.code == "decode-failed"
    assert "DOE" not in str(failure)


def test_one_bad_decoder_does_not_disturb_others_at_the_same_time(decoders: str, tmp_path: Path) -> None:
    def good(number: int) -> int:
        return len(run_limited(f"{decoders}:echo", {"word": "", "size": number}, _ROOMY).payload)

    with ThreadPoolExecutor(4) as pool:
        arguments = {"pid": str(tmp_path / "pid")}
        bad = [pool.submit(run_limited, f"{decoders}:segfault", arguments, _ROOMY) for _ in range(2)]
        assert list(pool.map(good, range(6))) == list(range(6))
        assert all(isinstance(future.exception(), Quarantine) for future in bad)
