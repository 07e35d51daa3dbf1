"""Downloads from a real server that misbehaves: each ends in the right file or in a reason per address."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from wheel_factory import flash_attn_wheel, sha256
from wheel_server import (
    WheelServer,
    ends_after,
    free_port,
    good,
    in_turn,
    make_certificate,
    page,
    redirect,
    reset_after,
    running_server,
    silent,
    status,
    trickle,
)

from swift_fa_launcher.errors import render_words
from swift_fa_launcher.flash.hosts import shown_url
from swift_fa_launcher.flash.name import Candidate, WheelNameError
from swift_fa_launcher.wheels.download import AllRefused, Patience, download_wheel
from swift_fa_launcher.wheels.listing import split_digest

QUICK = Patience(probe=0.5, connect=1.0, answer=1.0, silence=1.0, slow=0.6, slow_rate=1000.0, retry_after=0.3,
                 pause=0.02)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return flash_attn_wheel(tmp_path_factory.mktemp("wheel"), padding=600_000)


@pytest.fixture(scope="module")
def data(wheel):
    return wheel.read_bytes()


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def fetch(tmp_path, wheel):
    """Downloads the wheel from the addresses given, the first one being its origin."""
    def act(*urls: str, digest: str | None = sha256(wheel), size: int | None = None, origin: str | None = None,
            **options):
        candidate = Candidate(filename=wheel.name, url=origin or urls[0], source="test", sha256=digest, size=size)
        return download_wheel(candidate, urls, tmp_path / "cache", **{"patience": QUICK, **options})
    return act


def reasons(error: pytest.ExceptionInfo[AllRefused]) -> list[tuple[str, str]]:
    return [(refusal.code, render_words(refusal.reason, "en")) for refusal in error.value.refused]


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.whl*") if path.suffix != ".json"]


def test_a_good_address_gives_the_wheel_under_its_own_name(server: WheelServer, fetch, wheel, data):
    seen = []
    fetched = fetch(server.serve("/wheel", good(data)), progress=lambda *step: seen.append(step))
    assert fetched.path.read_bytes() == data and fetched.path.name == wheel.name and fetched.verified
    assert seen[-1][:2] == (len(data), len(data))


def test_the_second_time_it_comes_from_the_cache(server: WheelServer, fetch, data):
    url = server.serve("/wheel", good(data))
    fetch(url)
    again = fetch(url)
    assert len(server.log) == 1 and again.path.read_bytes() == data
    again.path.write_bytes(data[:-1] + b"!")  # a cache that rotted is seen, and fetched anew
    assert fetch(url).path.read_bytes() == data and len(server.log) == 2


def test_connection_refused(fetch, tmp_path):
    with pytest.raises(AllRefused) as error:
        fetch(f"http://127.0.0.1:{free_port()}/wheel")
    assert reasons(error) == [("mirror-unreachable", "connection refused")] and not leftovers(tmp_path / "cache")


def test_reset_in_the_middle_is_continued_with_range(server: WheelServer, fetch, data):
    url = server.serve("/wheel", in_turn(reset_after(data, 200_000), reset_after(data, 100_000), good(data)))
    assert fetch(url).path.read_bytes() == data
    starts = [int(headers["Range"][6:-1]) for headers in server.asked("/wheel")[1:]]
    assert len(starts) == 2 and 0 < starts[0] < starts[1] <= 300_000


def test_reset_in_the_middle_without_range_starts_again(server: WheelServer, fetch, data):
    url = server.serve("/wheel", in_turn(reset_after(data, 200_000, ranges=False), good(data, ranges=False)))
    assert fetch(url).path.read_bytes() == data


def test_reset_every_time_goes_on_at_the_mirror_from_the_same_byte(server: WheelServer, fetch, data):
    patience = Patience(probe=0.5, tries=1)
    url = server.serve("/wheel", in_turn(good(data), reset_after(data, 200_000)))  # answers the probe first
    mirror = server.serve("/mirror", in_turn(status(503), good(data)))  # its probe fails, so it comes last
    assert fetch(url, mirror, patience=patience).path.read_bytes() == data
    assert int(server.asked("/mirror")[-1]["Range"][6:-1]) > 0


def test_a_file_of_two_versions_is_fetched_again_as_one(server: WheelServer, fetch, data):
    other = bytes(reversed(data))
    first = reset_after(b"PK\x03\x04" + other[4:], 200_000, etag='"old"')
    url = server.serve("/wheel", in_turn(first, good(data)))
    assert fetch(url).path.read_bytes() == data


def test_without_a_digest_another_mirror_starts_from_the_first_byte(server: WheelServer, fetch, data):
    url = server.serve("/wheel", in_turn(good(data), reset_after(data, 200_000)))
    mirror = server.serve("/mirror", in_turn(status(503), good(data)))
    fetched = fetch(url, mirror, digest=None, allow_unverified=True, patience=Patience(probe=0.5, tries=1))
    assert fetched.path.read_bytes() == data and not fetched.verified
    assert "Range" not in server.asked("/mirror")[-1]


def test_no_answer(server: WheelServer, fetch):
    began = time.monotonic()
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", silent(server.over)))
    assert reasons(error) == [("mirror-unreachable", "no answer in time")] and time.monotonic() - began < 4


@pytest.mark.parametrize("headers_too", [False, True], ids=["body", "headers"])
def test_a_few_bytes_a_second_do_not_hang(server: WheelServer, fetch, data, headers_too):
    began = time.monotonic()
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", trickle(data, server.over, headers_too=headers_too)))
    assert time.monotonic() - began < 4
    assert reasons(error)[0][1].startswith("no answer in time" if headers_too else "too slow")


def test_a_slow_mirror_is_left_for_the_next(server: WheelServer, fetch, data):
    slow = server.serve("/slow", in_turn(good(data), trickle(data, server.over)))
    assert fetch(slow, server.serve("/fast", in_turn(status(503), good(data)))).path.read_bytes() == data


def test_the_fastest_answer_goes_first(server: WheelServer, fetch, data):
    slow = server.serve("/slow", lambda handler: (time.sleep(1.5), good(data)(handler))[1])
    fast = server.serve("/fast", good(data))
    assert fetch(slow, fast, patience=Patience()).url == fast


@pytest.mark.parametrize("count", [100, 300_000])
def test_truncated(server: WheelServer, fetch, data, count, tmp_path):
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", ends_after(data, count)))
    assert reasons(error)[0][0] == "mirror-unreachable"
    assert not [name for name in leftovers(tmp_path / "cache") if name.endswith(".whl")]


def test_truncated_and_lying_about_its_length(server: WheelServer, fetch, data):
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", good(data[:-1000])))
    assert reasons(error)[0][0] == "hash-mismatch"
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", good(data[:-1000])), digest=None)
    assert reasons(error)[0][0] == "not-a-wheel"


def test_longer_than_promised(server: WheelServer, fetch, data):
    def endless(handler):
        handler.begin(200)  # no length: it goes on until the client has enough
        handler.wfile.write(data)
        while not server.over.is_set():
            handler.wfile.write(bytes(100_000))
    began = time.monotonic()
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", endless), size=len(data))
    assert reasons(error)[0][0] == "hash-mismatch" and time.monotonic() - began < 4
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", good(data + b"more")), size=len(data))
    assert reasons(error) == [("hash-mismatch", f"{len(data) + 4} bytes instead of {len(data)}")]


def test_a_body_beyond_its_content_length_is_not_read(server: WheelServer, fetch, data):
    def too_much(handler):
        handler.begin(200, Content_Length=len(data))
        handler.wfile.write(data + b"more than that")
    assert fetch(server.serve("/wheel", too_much)).path.read_bytes() == data


def test_wrong_digest_and_the_next_address(server: WheelServer, fetch, data):
    liar = server.serve("/liar", good(data[:-1] + b"!"))
    with pytest.raises(AllRefused) as error:
        fetch(liar)
    assert reasons(error)[0][0] == "hash-mismatch" and hashlib.sha256(data).hexdigest() in reasons(error)[0][1]
    honest = server.serve("/honest", in_turn(status(503), good(data)))
    assert fetch(liar, honest).url == honest


def test_an_html_page_with_status_200(server: WheelServer, fetch):
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", page("\n <!DOCTYPE html><title>Just a moment</title>")))
    assert reasons(error) == [("not-a-wheel", "an HTML page instead of the file")]


def test_a_git_lfs_pointer(server: WheelServer, fetch):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", good(pointer)))
    assert reasons(error) == [("not-a-wheel", "a Git LFS pointer instead of the file")]


def test_an_empty_file(server: WheelServer, fetch):
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", good(b"")), digest=None)
    assert reasons(error) == [("not-a-wheel", "an empty file")]


def test_redirect_loop(server: WheelServer, fetch):
    server.serve("/b", redirect("/a"))
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/a", redirect("/b")))
    assert "circle" in reasons(error)[0][1]


def test_redirect_to_another_host(server: WheelServer, fetch, data):
    with running_server(host="127.0.0.2") as other:
        url = server.serve("/wheel", redirect(other.serve("/file?signature=1", good(data))))
        other.routes["/file"] = good(data)
        fetched = fetch(url)
        assert fetched.path.read_bytes() == data and fetched.url == url


def test_redirect_away_from_tls_is_refused(server: WheelServer, fetch, data, tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path, days=3)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with running_server(certificate) as secure:
        assert fetch(secure.serve("/good", good(data))).path.read_bytes() == data
        with pytest.raises(AllRefused) as error:
            fetch(secure.serve("/down", redirect(server.serve("/wheel", good(data)))), digest="0" * 64)
    assert reasons(error)[0][0] == "tls-failed" and not server.log


def test_an_expired_link_in_the_middle_of_a_resume(server: WheelServer, fetch, data):
    """The redirect's target breaks off and expires; the original address gives a new one."""
    server.serve("/signed-1", in_turn(reset_after(data, 200_000), status(403)))
    server.serve("/signed-2", good(data))
    url = server.serve("/wheel", in_turn(redirect("/signed-1"), redirect("/signed-1"), redirect("/signed-2")))
    assert fetch(url).path.read_bytes() == data
    assert int(server.asked("/signed-2")[0]["Range"][6:-1]) > 0


@pytest.mark.parametrize("code", [403, 404, 429, 500])
def test_error_answers(server: WheelServer, fetch, data, code):
    bad = server.serve("/bad", status(code))
    with pytest.raises(AllRefused) as error:
        fetch(bad)
    assert reasons(error)[0][0] == "mirror-unreachable" and str(code) in reasons(error)[0][1]
    assert fetch(bad, server.serve("/good", good(data))).path.read_bytes() == data


def test_a_short_retry_after_is_waited_for_and_a_long_one_not(server: WheelServer, fetch, data):
    url = server.serve("/wheel", in_turn(status(429, Retry_After=0), status(500), good(data)))
    assert fetch(url).path.read_bytes() == data
    with pytest.raises(AllRefused):
        fetch(server.serve("/later", in_turn(status(429, Retry_After=3600), good(data))), digest="0" * 64)
    assert len(server.asked("/later")) == 1


def test_an_expired_certificate(fetch, data, tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path, days=-1)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with running_server(certificate) as secure, pytest.raises(AllRefused) as error:
        fetch(secure.serve("/wheel", good(data)))
    assert reasons(error)[0][0] == "tls-failed" and "expired" in reasons(error)[0][1]


def test_a_mirror_without_a_digest_is_a_stranger(server: WheelServer, fetch, data):
    url = f"http://127.0.0.1:{free_port()}/wheel"
    mirror = server.serve("/mirror", good(data))
    with pytest.raises(AllRefused) as error:
        fetch(mirror, url, digest=None, origin=url)
    assert [code for code, _ in reasons(error)] == ["unverified", "mirror-unreachable"] and not server.log
    assert "allow_unverified" in str(error.value.why)
    fetched = fetch(mirror, url, digest=None, origin=url, allow_unverified=True)
    assert fetched.path.read_bytes() == data and not fetched.verified
    with pytest.raises(AllRefused):  # what was taken unverified is not trusted later
        fetch(mirror, url, digest=None, origin=url)


def test_an_address_without_tls_is_a_stranger_too(server: WheelServer, fetch, data, monkeypatch):
    """Whoever sits on the way could give any file; this machine's own addresses are another matter."""
    server.serve("http://wheels.invalid/wheel", good(data))
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(AllRefused) as error:
        fetch("http://wheels.invalid/wheel", digest=None)
    assert [code for code, _ in reasons(error)] == ["unverified"] and not server.log
    assert not fetch("http://wheels.invalid/wheel", digest=None, allow_unverified=True).verified
    assert fetch(server.serve("/wheel", good(data)), digest=None).verified


def test_a_proxy_from_the_environment_is_used(server: WheelServer, fetch, data, monkeypatch):
    server.serve("http://wheels.invalid/wheel", good(data))
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    assert fetch("http://wheels.invalid/wheel").path.read_bytes() == data
    assert server.log[0][0] == "http://wheels.invalid/wheel"


def test_two_at_once_download_once(server: WheelServer, fetch, data):
    url = server.serve("/wheel", lambda handler: (time.sleep(0.2), good(data)(handler))[1])
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(url).path.read_bytes())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [data, data] and len(server.log) == 1


FETCH = """
import os, resource, sys
from pathlib import Path
from swift_fa_launcher.errors import InstallError
from swift_fa_launcher.wheels.download import download_wheel
from swift_fa_launcher.flash.name import Candidate
url, name, digest, cache, limit, user = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
if int(user):
    import filelock, requests, zipfile
    os.setgid(int(user)), os.setuid(int(user))
try:
    print(download_wheel(Candidate(name, url, "test", digest), [url], Path(cache)).path)
except InstallError as error:
    sys.exit(str(error))
"""


def in_process(url: str, wheel: Path, cache: Path, limit: int = 0, user: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FETCH, url, wheel.name, sha256(wheel), str(cache), str(limit),
                             str(user)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_disk_full(server: WheelServer, wheel, data, tmp_path):
    """A file-size limit stops the write in the middle as a full disk does."""
    process = in_process(server.serve("/wheel", good(data)), wheel, tmp_path / "cache", limit=200_000)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and "the disk is full" in errors and "Traceback" not in errors
    assert not leftovers(tmp_path / "cache")


def test_really_full_disk(server: WheelServer, wheel, data, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], check=False,
                                      capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        process = in_process(server.serve("/wheel", good(data)), wheel, disk)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1 and "the disk is full" in errors and "Traceback" not in errors
        assert not leftovers(disk)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_permission_to_write_the_cache(server: WheelServer, wheel, data, tmp_path):
    if os.geteuid():
        pytest.skip("becoming another user needs root")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    process = in_process(server.serve("/wheel", good(data)), wheel, closed / "cache", user=65534)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and "cannot be written" in errors and "Traceback" not in errors


def test_killed_in_the_middle_it_resumes_next_time(server: WheelServer, fetch, wheel, data, tmp_path):
    arrived = threading.Event()

    def half(handler):
        handler.send_slice(data, True, '"one"', 300_000)
        arrived.set()
        server.over.wait(20)
    url = server.serve("/wheel", in_turn(half, good(data)))
    process = in_process(url, wheel, tmp_path / "cache")
    arrived.wait(20)
    part = tmp_path / "cache" / "wheels" / sha256(wheel) / f"{wheel.name}.part"
    while not part.exists() or part.stat().st_size < 300_000:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert fetch(url).path.read_bytes() == data
    assert server.asked("/wheel")[-1]["Range"] == "bytes=300000-"


def test_a_local_file_is_looked_at_where_it_is(fetch, wheel, tmp_path):
    assert fetch(wheel.as_uri()).path == wheel and fetch(str(wheel), digest=None).verified
    with pytest.raises(AllRefused) as error:
        fetch(str(wheel), digest="0" * 64)
    assert reasons(error)[0][0] == "hash-mismatch"
    with pytest.raises(AllRefused):
        fetch(str(tmp_path / "absent.whl"))


def test_every_damaged_byte_of_an_unverified_wheel_is_seen_or_harmless(server: WheelServer, fetch, data):
    """Without a digest the zip's own sums are what there is: a flipped byte of ballast does not pass."""
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    with pytest.raises(AllRefused) as error:
        fetch(server.serve("/wheel", good(bytes(damaged))), digest=None)
    assert reasons(error)[0][0] == "not-a-wheel"


def test_names_and_addresses():
    assert split_digest("https://h/a.whl#sha256=" + "AB" * 32) == ("https://h/a.whl", "ab" * 32)
    assert shown_url("https://user:pw@h:8/a.whl?sig=secret") == "https://h:8/a.whl"
    for name in ("../a.whl", "/etc/a.whl", "a.txt", "a/b.whl", "a-1+../../b-py3-none-any.whl", "a-1-1/b-py3-none-any.whl"):
        with pytest.raises(WheelNameError):
            download_wheel(Candidate(name, "https://h/x", "test"), (), Path("."))


def test_an_unused_port_stays_unused():
    """The helper's port really refuses: the tests above stand on it."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port()), timeout=1)
