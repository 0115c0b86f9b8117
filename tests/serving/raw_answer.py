"""Reading answers from a connection that the test writes its requests to byte by byte."""

import socket


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer, which has a Content-Length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # One byte at a time: the next answer may follow closely.
        byte = connection.recv(1)
        assert byte, head
        head += byte
    lines = head.decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(lines[0].split()[1]), body
