"""Real images on a web server of this machine; ends with standard input.

    images.py COUNT     makes that many PNGs of noise, each another one, and serves them as img/0000.png; prints its port

Each fifth image is refused once with 503. What is not there is 404. GET /gets answers how often images were asked for.
"""

import os
import struct
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def png(side):
    chunk = lambda kind, data: (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    rows = b"".join(b"\0" + os.urandom(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    ends = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


images = {f"/img/{number:04}.png": png(8 + number % 40) for number in range(int(sys.argv[1]))}
refused = {path for number, path in enumerate(images) if number % 5 == 0}
lock = threading.Lock()
gets = 0


class Images(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global gets
        with lock:
            gets += self.path in images
            busy = self.path in refused
            refused.discard(self.path)
            body = str(gets).encode() if self.path == "/gets" else images.get(self.path)
        status = 503 if busy else 404 if body is None else 200
        body = body if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
