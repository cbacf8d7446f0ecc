"""Does `wp serve` hold under load, and what does HTTP cost beside the fill?

Clients in threads send photos to a real ``wp serve`` process for a while. Among the good requests are wrong ones,
bodies that are too large, and connections that are cut in the middle. Every good answer is compared, byte for byte,
with what the library writes. Before and after, the same photos are filled in a loop without HTTP, in as many streams.

The report, serve_load.json and serve_load.md, goes into a new folder. The exit status is 1 if a connection was reset,
if an answer was wrong, or if a status was none of 200, 503 and what the request deserved.
"""

import io
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
from PIL import Image

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.contract import assets_folder
from wavepaint.machine import count_cores
from wavepaint.runtime.images import encode_photo, read_mask, read_photo
from wavepaint.runtime.service.streams import open_streams

Pair = tuple[bytes, bytes]

BAD_SHARE, CUT_SHARE = 0.15, 0.05
"""Shares of the requests that are wrong, and of the connections that are cut."""

_TOO_LARGE = 33 << 20
_WAIT_S = 0.5
"""Seconds that a client waits after it was refused."""


def make_pairs(side: int) -> list[Pair]:
    """Return photos as JPEG files, and masks of three boxes as PNG files."""
    generator, pairs = np.random.default_rng(0), []
    for path in sorted((assets_folder() / "verification").glob("*.jpg")):
        with Image.open(path) as image:
            photo = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        mask = np.zeros((side, side), np.uint8)
        for _ in range(3):
            high, wide = generator.integers(16, 65, 2)
            top, left = generator.integers(0, [side - high, side - wide])
            mask[top : top + high, left : left + wide] = 255
        pairs.append((_encode(photo, "JPEG"), _encode(Image.fromarray(mask), "PNG")))
    return pairs


def _encode(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return stream.getvalue()


def run_loop(pairs: list[Pair], engine: Any, streams: int, num_photos: int) -> tuple[dict[str, float], list[bytes]]:
    """Fill photos without HTTP. Return images for each second and each CPU second, and the file of each pair."""
    with ExitStack() as opened:
        models = open_streams(engine=engine, streams=streams)
        for model in models:
            opened.callback(model.close)

        def fill(index: int) -> bytes:
            image, mask = pairs[index % len(pairs)]
            model = models[index % len(models)]
            return encode_photo(model.fill_photo(read_photo(image), read_mask(mask)))

        for index in range(len(models)):
            fill(index)
        started, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(len(models)) as pool:
            files = list(pool.map(fill, range(num_photos)))
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        return {"images_per_s": num_photos / seconds, "images_per_cpu_s": num_photos / cpu_s}, files[: len(pairs)]


@dataclass
class Tally:
    """What the clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    num_cut: int = 0


class Clients:
    """Clients of one service.

    Args:
        address: The service.
        pairs: Photos and masks.
        expected: The file that the library writes for each pair.
    """

    def __init__(self, address: str, pairs: list[Pair], expected: list[bytes]) -> None:
        self._address, self._pairs, self._expected = address, pairs, expected
        self._host, self._port = address.removeprefix("http://").split(":")
        self._end = threading.Event()
        self.tally = Tally()

    def run(self, num_clients: int, seconds: float) -> None:
        """Send requests for a while."""
        threads = [threading.Thread(target=self._run_one, args=(number,)) for number in range(num_clients)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._end.set()
        for thread in threads:
            thread.join()

    def _run_one(self, number: int) -> None:
        rng = random.Random(number)
        with httpx.Client(base_url=self._address, timeout=120) as client:
            while not self._end.is_set():
                dice = rng.random()
                try:
                    if dice < CUT_SHARE:
                        self._cut(rng)
                    elif dice < CUT_SHARE + BAD_SHARE:
                        self._send_wrong(client, rng)
                    else:
                        self._send_good(client, rng)
                except (httpx.HTTPError, OSError) as error:
                    self.tally.problems.append(f"reset: {type(error).__name__}")

    def _send_good(self, client: httpx.Client, rng: random.Random) -> None:
        index = rng.randrange(len(self._pairs))
        image, mask = self._pairs[index]
        started = time.perf_counter()
        answer = client.post("/v1/fill", files={"image": image, "mask": mask})
        self.tally.statuses[f"good {answer.status_code}"] += 1
        if answer.status_code == 200:
            self.tally.seconds.append(time.perf_counter() - started)
            if answer.content != self._expected[index]:
                self.tally.problems.append("an answer differs from the library's")
        elif answer.status_code == 503:
            self._end.wait(_WAIT_S)
        else:
            self.tally.problems.append(f"status {answer.status_code} for a good request")

    def _send_wrong(self, client: httpx.Client, rng: random.Random) -> None:
        (image, mask), files = rng.choice(self._pairs), {}
        path, fields, headers, deserved = "/v1/fill", {}, {}, 400
        match rng.randrange(8):
            case 0:
                files = {"image": image}
            case 1:
                files = {"image": image[: len(image) // 2], "mask": mask}
            case 2:
                files, fields = {"image": image, "mask": mask}, {"dilate": "100"}
            case 3:
                files = {"image": image, "mask": image}
            case 4:
                files, path, deserved = {"image": image, "mask": mask}, "/v1/none", 404
            case 5:
                files, headers, deserved = {"image": image, "mask": mask}, {"host": "evil.example.org"}, 421
            case 6:
                files, headers, deserved = {"image": image, "mask": mask}, {"origin": "http://evil.example.org"}, 403
            case 7:
                files, deserved = {"image": bytes(_TOO_LARGE), "mask": mask}, 413
        answer = client.post(path, files=files, data=fields, headers=headers)
        self.tally.statuses[f"wrong {answer.status_code}"] += 1
        if answer.status_code not in (deserved, 503):
            self.tally.problems.append(f"status {answer.status_code} instead of {deserved}")

    def _cut(self, rng: random.Random) -> None:
        """Close a connection in the middle of a body, or while the photo waits."""
        image, mask = rng.choice(self._pairs)
        request = httpx.Request("POST", f"{self._address}/v1/fill", files={"image": image, "mask": mask})
        body = request.read()
        lines = [f"POST /v1/fill HTTP/1.1\r\nHost: {self._host}", f"Content-Type: {request.headers['content-type']}"]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}\r\n\r\n"]).encode()
        with socket.create_connection((self._host, int(self._port)), timeout=60) as connection:
            connection.sendall(head + (body if rng.random() < 0.7 else body[: len(body) // 2]))
            time.sleep(rng.random() / 2)
        self.tally.num_cut += 1


@contextmanager
def run_server(engine: str, streams: int, queue: int) -> Iterator[str]:
    """Run ``wp serve`` on a free port, and yield its address."""
    options = ["--port", "0", "--engine", engine, "--streams", str(streams), "--queue", str(queue), "--quiet"]
    command = [sys.executable, "-m", "wavepaint", "serve", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.match(r"http://\S+", line := process.stderr.readline())
            if not found:
                raise click.ClickException(f"wp serve did not start: {line}")
            yield found[0]
        finally:
            process.terminate()


def read_metrics(address: str) -> dict[str, float]:
    """Return CPU seconds, memory in MB and the number of photos filled."""
    text = httpx.get(f"{address}/metrics", timeout=60).text
    found = {name: float(value) for name, value in re.findall(r"^(\w+) ([\d.e+-]+)$", text, flags=re.M)}
    return {
        "cpu_s": found["process_cpu_seconds_total"],
        "memory_mb": found["process_resident_memory_bytes"] / 2**20,
        "num_filled": found["wavepaint_batch_photos_sum"],
    }


def measure(
    pairs: list[Pair], expected: list[bytes], engine: str, streams: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Run a service and its clients, and return what was measured."""
    with run_server(engine, streams, options["queue"]) as address:
        for image, mask in pairs:
            httpx.post(f"{address}/v1/fill", files={"image": image, "mask": mask}, timeout=120)
        clients, before = Clients(address, pairs, expected), read_metrics(address)
        memory, stop = [before["memory_mb"]], threading.Event()

        def watch() -> None:
            while not stop.wait(1.0):
                with suppress(httpx.HTTPError):
                    memory.append(read_metrics(address)["memory_mb"])

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.perf_counter()
        clients.run(options["clients"], options["seconds"])
        seconds = time.perf_counter() - started
        stop.set()
        watcher.join()
        after = read_metrics(address)
    tally, num_filled = clients.tally, after["num_filled"] - before["num_filled"]
    half = len(memory) // 2
    return {
        "seconds": seconds,
        "images_per_s": num_filled / seconds,
        "images_per_cpu_s": num_filled / (after["cpu_s"] - before["cpu_s"]),
        "p50_s": float(np.percentile(tally.seconds, 50)) if tally.seconds else None,
        "p99_s": float(np.percentile(tally.seconds, 99)) if tally.seconds else None,
        "statuses": dict(sorted(tally.statuses.items())),
        "num_cut": tally.num_cut,
        "problems": dict(Counter(tally.problems)),
        "memory_mb": {"start": memory[0], "middle": max(memory[: half + 1]), "end": max(memory[half:])},
    }


def make_page(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    served, memory = report["served"], report["served"]["memory_mb"]
    lines = [
        "# The service under load",
        "",
        f"{report['date'][:10]}, {report['clients']} clients for {served['seconds']:.0f} s, photos of {report['side']} "
        f"pixels a side, {report['streams']} streams of {report['engine']}, {report['machine']['processor']}. "
        f"{BAD_SHARE:.0%} of the requests are wrong and {CUT_SHARE:.0%} of the connections are cut. Command: "
        f"`{report['command']}`",
        "",
        *make_markdown_table(
            [
                ["", "images/s", "images/CPU s", "p50 s", "p99 s"],
                *([name, f"{one['images_per_s']:.2f}", f"{one['images_per_cpu_s']:.2f}", "", ""]
                  for name, one in (("loop, before", report["loop_before"]), ("loop, after", report["loop_after"]))),
                ["served", f"{served['images_per_s']:.2f}", f"{served['images_per_cpu_s']:.2f}",
                 f"{served['p50_s'] or 0:.2f}", f"{served['p99_s'] or 0:.2f}"],
            ]
        ),
        "",
        f"The service fills {report['share_of_loop']:.0%} of the loop's images for each CPU second.",
        "",
        f"Statuses: {', '.join(f'{name}: {count}' for name, count in served['statuses'].items())}; {served['num_cut']} "
        f"connections cut. Problems: {', '.join(f'{k}: {v}' for k, v in served['problems'].items()) or 'none'}.",
        "",
        f"Memory: {memory['start']:.0f} MB at the start, at most {memory['middle']:.0f} MB in the first half and "
        f"{memory['end']:.0f} MB in the second.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


@click.command(cls=OneLineErrors)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--seconds", type=click.FloatRange(min=1), default=60, show_default=True, help="Length of the load.")
@click.option("--clients", type=click.IntRange(min=1), default=32, show_default=True, help="Clients at once.")
@click.option("--queue", type=click.IntRange(min=1), default=24, show_default=True, help="Places of the service.")
@click.option(
    "--side", type=click.IntRange(min=128), default=512, show_default=True, help="Side of the photos in pixels."
)
@click.option("--engine", default="auto", show_default=True, help="Engine, as of wp serve.")
@click.option("--streams", type=click.IntRange(min=1), default=count_cores(), help="Photos at once. Default: cores.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(out: Path, engine: str, streams: int, side: int, overwrite: bool, **options: Any) -> None:
    """Load a service and write a report."""
    pairs = make_pairs(side)
    num_photos = max(12, 4 * streams)
    before, expected = run_loop(pairs, engine, streams, num_photos)
    served = measure(pairs, expected, engine, streams, options)
    after, _ = run_loop(pairs, engine, streams, num_photos)
    loop = (before["images_per_cpu_s"] + after["images_per_cpu_s"]) / 2
    report = {
        **describe_run("serve_load"),
        **options,
        "engine": engine,
        "streams": streams,
        "side": side,
        "loop_before": before,
        "loop_after": after,
        "served": served,
        "share_of_loop": served["images_per_cpu_s"] / loop,
    }
    page = make_page(report)
    write_report(out, "serve_load", report, page, overwrite=overwrite)
    click.echo(page)
    sys.exit(1 if served["problems"] else 0)


if __name__ == "__main__":
    main()
