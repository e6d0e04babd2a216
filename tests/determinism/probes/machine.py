"""Probes of what a program asks of its machine: clocks, chance, names, files, threads, sockets, signals, children."""

import asyncio
import concurrent.futures
import datetime
import os
import random
import secrets
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import UTC
from pathlib import Path
from time import monotonic as captured

from tests.determinism.probes.catalogue import probe

CERTIFICATE = Path(__file__).parents[2] / "hosts" / "certificate.pem"


class _Timer:
    clock = time.perf_counter  # what a function in its place would turn into a method


@probe("time.time and time.time_ns")
async def wall_clock() -> object:
    await asyncio.sleep(1.5)
    return time.time(), time.time_ns()


@probe("time.monotonic, perf_counter, process_time, thread_time and their _ns")
async def monotonic_clocks() -> object:
    await asyncio.sleep(1.5)
    clocks = ("monotonic", "perf_counter", "process_time", "thread_time")
    return [getattr(time, name + unit)() for name in clocks for unit in ("", "_ns")]


@probe("clock_gettime, localtime, gmtime, ctime, strftime")
async def calendars() -> object:
    await asyncio.sleep(1.5)
    return (
        time.clock_gettime(time.CLOCK_REALTIME),
        tuple(time.localtime()),
        tuple(time.gmtime()),
        time.ctime(),
        time.strftime("%c"),
    )


@probe("datetime.now, utcnow, today")
async def dates() -> object:
    await asyncio.sleep(1.5)
    return datetime.datetime.now(), datetime.datetime.now(UTC), datetime.date.today()


@probe("a clock that a module or a class captured before the run")
async def captured_clocks() -> object:
    await asyncio.sleep(1.5)
    return captured(), _Timer.clock(), _Timer().clock()


@probe("time.sleep that blocks", process=True)
def blocking_sleep() -> object:
    time.sleep(2)
    return time.monotonic()


@probe("functions of random")
async def module_random() -> object:
    items = list(range(20))
    random.shuffle(items)
    return random.random(), random.randrange(10**9), random.gauss(0, 1), random.choice(items), items


@probe("random.Random() without a seed, SystemRandom")
async def unseeded_random() -> object:
    return random.Random().random(), random.SystemRandom().random()


@probe("secrets")
async def secret_tokens() -> object:
    return secrets.token_hex(), secrets.token_urlsafe(), secrets.randbelow(10**9), secrets.choice(range(99))


@probe("os.urandom, os.getrandom, random.randbytes")
async def system_entropy() -> object:
    return os.urandom(8), os.getrandom(8), random.randbytes(8)


@probe("uuid1, uuid4")
async def unique_names() -> object:
    return uuid.uuid1(), uuid.uuid4()


@probe("names of temporary files")
async def temporary_names() -> object:
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile() as file:
        return Path(directory).name, Path(file.name).name


@probe("os.getpid, name and addresses of the host")
async def identity_of_host() -> object:
    return os.getpid(), socket.gethostname(), socket.gethostbyname(socket.gethostname())


def _draw(number: int) -> tuple[int, float]:
    time.sleep(random.random())
    return number, time.monotonic()


@probe("asyncio.to_thread")
async def worker_threads() -> object:
    order: list[int] = []

    async def work(number: int) -> object:
        result = await asyncio.to_thread(_draw, number)
        order.append(number)
        return result

    return await asyncio.gather(*(work(number) for number in range(6))), order


@probe("run_in_executor with a pool of the program's own")
async def executors() -> object:
    loop = asyncio.get_running_loop()
    pool = concurrent.futures.ThreadPoolExecutor(3)
    tasks = [loop.run_in_executor(pool, _draw, number) for number in range(6)]
    return [await each for each in asyncio.as_completed(tasks)]


@probe("waiting for the end of a pool, which stops the loop", refused=True)
async def end_of_executor() -> object:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, _draw, 1)


@probe("an executor of a program that may block", process=True)
def executor_of_process() -> object:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(_draw, number) for number in range(6)]
        return [future.result() for future in concurrent.futures.as_completed(futures)]


@probe("concurrent.futures.wait and as_completed: order of what is done", process=True)
def order_of_pool() -> object:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(divmod, number, 3) for number in range(17)]
        done, _ = concurrent.futures.wait(futures)
        return (
            [future.result() for future in done],
            [future.result() for future in concurrent.futures.as_completed(futures)],
        )


@probe("threads that share a list", process=True)
def raw_threads() -> object:
    order: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        for _ in range(3):
            with lock:
                order.append(number)
            time.sleep(0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return order


@probe("call_soon_threadsafe from another thread")
async def foreign_calls() -> object:
    loop, order = asyncio.get_running_loop(), []

    def work(number: int) -> None:
        time.sleep(random.random())
        loop.call_soon_threadsafe(order.append, number)

    await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(5)))
    await asyncio.sleep(2)
    return order


@probe("blocking sockets", process=True)
def blocking_sockets() -> object:
    with socket.create_server(("127.0.0.1", 7000)) as server:
        answers: list[bytes] = []

        def serve() -> None:
            for _ in range(3):
                peer, _ = server.accept()
                with peer:
                    peer.sendall(peer.recv(100).upper())

        def ask(number: int) -> None:
            with socket.create_connection(("127.0.0.1", 7000)) as sock:
                sock.sendall(b"request %d" % number)
                answers.append(sock.recv(100))

        threads = [
            threading.Thread(target=serve),
            *(threading.Thread(target=ask, args=(n,)) for n in range(3)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return answers


@probe("which of several sockets a selector names first", process=True)
def selectors_order() -> object:
    pairs = [socket.socketpair() for _ in range(6)]
    with selectors.DefaultSelector() as selector:
        for number, (ours, theirs) in enumerate(pairs):
            selector.register(ours, selectors.EVENT_READ, number)
            theirs.send(b"x")
        seen = [key.data for key, _ in selector.select()]
    for pair in pairs:
        for end in pair:
            end.close()
    return seen


@probe("names that are looked up")
async def lookups() -> object:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo("prober", 80)
    return found, await loop.getnameinfo(("127.0.0.1", 80))


@probe("a name outside the world")
async def foreign_names() -> object:
    try:
        return await asyncio.get_running_loop().getaddrinfo("example.org", 80)
    except socket.gaierror as error:
        return str(error)


@probe("streams, cut and delayed")
async def streams() -> object:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000):
            writer.write(b"%d " % len(data))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 7000)
    reader, writer = await asyncio.open_connection("127.0.0.1", 7000)
    for number in range(20):
        writer.write(b"x" * number * 50)
        await asyncio.sleep(0.001)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    server.close()
    return answer, writer.get_extra_info("sockname")


@probe("connections that a server closes by itself")
async def closing_clients() -> object:
    closed: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = int(await reader.readline())
        await reader.read()
        closed.append(number)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 7000)
    clients = [await asyncio.open_connection("127.0.0.1", 7000) for _ in range(9)]
    for number, (_, writer) in enumerate(clients):
        writer.write(b"%d\n" % number)
    await asyncio.sleep(1)
    server.close()
    if sys.version_info >= (3, 13):
        server.abort_clients()
    else:
        for _, writer in clients:
            writer.close()
    ends = [await reader.read() for reader, _ in clients]
    await asyncio.sleep(1)
    return closed, ends


@probe("TLS, whose records hold chance of OpenSSL's own")
async def secure_streams() -> object:
    times = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(CERTIFICATE)
    ours = ssl.create_default_context(cafile=str(CERTIFICATE))
    ours.check_hostname = False
    server = await asyncio.start_server(serve, "127.0.0.1", 7000, ssl=theirs)
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", 7000, ssl=ours)
        writer.write(b"hello\n")
        times.append((await reader.readline(), asyncio.get_running_loop().time()))
        writer.close()
        await asyncio.sleep(1)
    server.close()
    return times


@probe("TLS that blocks", process=True)
def blocking_tls() -> object:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(CERTIFICATE)
    ours = ssl.create_default_context(cafile=str(CERTIFICATE))
    ours.check_hostname = False
    listening = socket.create_server(("127.0.0.1", 7000))

    def serve() -> None:
        for _ in range(3):
            with theirs.wrap_socket(listening.accept()[0], server_side=True) as connection:
                connection.sendall(connection.recv(100))

    threading.Thread(target=serve).start()
    times = []
    for _ in range(3):
        with ours.wrap_socket(socket.create_connection(("127.0.0.1", 7000))) as connection:
            connection.sendall(b"hello")
            times.append((connection.recv(100), time.monotonic()))
    return times


@probe("datagrams, lost and doubled")
async def datagrams() -> object:
    loop, seen = asyncio.get_running_loop(), []

    class Listener(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            seen.append((data, addr, loop.time()))

    listener, _ = await loop.create_datagram_endpoint(Listener, local_addr=("127.0.0.1", 9))
    sender, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", 9))
    for number in range(10):
        sender.sendto(b"%d" % number)
    await asyncio.sleep(5)
    sender.close()
    listener.close()
    return seen


@probe("a module that the run is the first to import")
async def late_imports() -> object:
    for name in ("colorsys", "sndhdr", "chunk", "this"):
        sys.modules.pop(name, None)
    import colorsys

    await asyncio.sleep(0.1)
    return colorsys.rgb_to_hls(random.random(), 0.5, 0.5), time.monotonic()


_RUNS_BEFORE: list[int] = []


@probe("globals that a run before has changed", unpinned=True)
async def globals_of_module() -> object:
    _RUNS_BEFORE.append(1)
    return len(_RUNS_BEFORE)


@probe("a child process", refused=True)
async def children() -> object:
    return subprocess.run([sys.executable, "-c", "print(1)"], check=True, capture_output=True).stdout


@probe("a child process of asyncio", refused=True)
async def asyncio_children() -> object:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(1)")
    return await child.wait()


@probe("os.fork", refused=True, process=True)
def forks() -> object:
    return os.fork()


@probe("signals of the real process", refused=True)
async def signals() -> object:
    return signal.signal(signal.SIGALRM, lambda *_: None), signal.alarm(1)


@probe("a pipe on the loop")
async def pipes() -> object:
    loop, seen = asyncio.get_running_loop(), []
    reading, writing = os.pipe()
    loop.add_reader(reading, lambda: seen.append((os.read(reading, 10), loop.time())))
    loop.call_later(1, os.write, writing, b"through")
    await asyncio.sleep(2)
    loop.remove_reader(reading)
    os.close(reading)
    os.close(writing)
    return seen, reading, writing


@probe("a real descriptor on the loop", refused=True)
async def real_descriptors() -> object:
    number = os.open(os.devnull, os.O_RDONLY)
    try:
        asyncio.get_running_loop().add_reader(number, print)
        return "watched"
    finally:
        os.close(number)
