"""Why a test of CPython passes on the stock loop and cannot pass on a simulated one."""

import re

__all__ = ["reason_for"]

_REAL_SOCKET = (
    "The test makes its socket, or runs its server in a thread, outside the loop: a real one. A simulated loop refuses "
    "real descriptors, and its own sockets reach nobody on the real network. The mirrored tests in tests/hosts do the same "
    "inside a run, on both networks"
)
_REAL_PEER = r"test_(streams|sock_lowlevel|server|sendfile|events|unix_events|buffered_proto|sslproto|ssl|base_events)\."

_NO_PROCESSES = "Processes run outside the schedule, and are refused"

_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r"test_start_tls_client_corrupted_ssl|test_create_server_trsock",
        "",
        "Two objects for one simulated socket (socket.dup) are not simulated",
    ),
    (
        r"test_interrupt_wait|test_interrupt_call_soon|test_check_thread|finalization_by_gc_in_other_thread|orphan_future_close_loop|sock_connect_resolve_using",
        r"BudgetExceeded|KeyboardInterrupt",
        "The selector of the test's loop is a mock, which never waits: nobody else gets a turn, and no time passes",
    ),
    (r"ipv6_scope", r"expected call not found", "Scopes of IPv6 addresses are not simulated"),
    (
        r"soreuseport_only_defined",
        r"int\(\) argument",
        "The test puts a mock in place of the socket, which has no number that a simulated selector could look up",
    ),
    ("", r"ProcessPoolExecutor|subprocess\.|fork_exec|os\.(fork|posix_spawn)", _NO_PROCESSES),
    (r"test_datagram_send_to_non_listening_address", r"TimeoutError", _REAL_SOCKET),
    (_REAL_PEER, r"111 != 98|SSL handshake is taking longer", _REAL_SOCKET),
    (
        r"test_drain_raises",
        r"Fatal read error|BudgetExceeded",
        "Its client writes four bytes at a time and never waits, so the server's thread gets its turn when all buffers are "
        "full: that takes more than ten seconds on a loaded machine, and passes where it gets sixty",
    ),
    (
        r"test_handshake_timeout_handler_leak",
        r"is not None",
        "The test listens on a real socket, so the connection is refused, and the error's traceback keeps the context",
    ),
    (
        r"test_connect_timeout_warning",
        r"unclosed transport",
        "It looks for what a collection finds, and that is what tests before it have left that failed for a real socket",
    ),
    (
        r"read_all_from_pipe_reader|_pty|_pipe|test_internal_fds",
        "",
        "Pipes as files and terminals are real descriptors; the self-pipe of a loop that none of them wakes is not there",
    ),
    (
        "",
        r"wrap_socket",
        "TLS that blocks (ssl.SSLContext.wrap_socket) reads and writes a real descriptor, in C, and is refused; that of "
        "asyncio works in memory, and is mirrored in tests/hosts",
    ),
    (
        r"test_unix_server_cleanup|existing_path_nonsock|path_stream_bittype",
        "",
        "The path of a simulated Unix socket is a name in the world, and no file",
    ),
    (
        r"test_abort_clients",
        "",
        "The test polls with sleep(0) until bytes have come; no virtual time passes meanwhile",
    ),
    (
        "",
        r"took more than (real_timeout=)?[0-9]+ s",
        "It takes more than ten seconds here, on a loaded machine",
    ),
    (r"TestFork", "", "Processes run outside the schedule, and are refused"),
    (
        "",
        r"threading\.Thread\.start",
        "The loop of a world outside of a host has no threads; a process has",
    ),
    (
        "",
        r"a real file descriptor|made outside the run|socket\.(socket\.)?(accept|connect|send|recv)",
        _REAL_SOCKET,
    ),
    (
        _REAL_PEER,
        r"Connect call failed|Connection refused|No such file or directory|Can not create socket",
        _REAL_SOCKET,
    ),
    (_REAL_PEER, r"DeadlockError", _REAL_SOCKET),
    (
        "",
        r"add_signal_handler|[Ss]ignals? |SIGCHLD|signal\.",
        "Signals come from outside the schedule, and are refused",
    ),
    (
        "",
        r"os\.(pipe|openpty|eventfd)|select\.poll",
        "Pipes and terminals are real descriptors, and are refused",
    ),
    (
        "",
        r"new_event_loop was called inside a run|second event loop|has no attribute 'driver'",
        "A second loop on the thread of a run would run on real time, and is refused",
    ),
    (
        "",
        r"_source_traceback",
        "Handles of a simulated loop never keep a traceback of where they were made",
    ),
    ("", r"run_in_executor|executor|ThreadPool", "Executors of one's own have real threads, and are refused"),
    (
        r"[Tt]hread|executor|Executor|to_thread|call_soon_threadsafe",
        "",
        "Other threads run outside the schedule: to_thread and run_in_executor(None, …) run their function at once, inline",
    ),
)


def reason_for(test: str, error: str) -> str | None:
    """Return the reason for a test, by its name and by what it fails with; ``None`` if none is known."""
    for names, errors, reason in _REASONS:
        if re.search(names, test) and re.search(errors, error):
            return reason
    return None
