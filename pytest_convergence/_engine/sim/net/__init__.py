"""The simulated kernel's network: addresses, ports, streams and datagrams, and the socket objects in front of them.

:mod:`.directory` knows names and addresses, :mod:`.stack` is what one host's kernel keeps, :mod:`.stream` and
:mod:`.datagram` are its sockets, :mod:`.descriptors` its table of descriptors, :mod:`.facade` the ``socket.socket`` that a
program holds. What goes from host to host is a message of the session's network, with a fate, a label and a place in the
trace like any other.
"""
