"""A small HTTP server on 127.0.0.1 that plays an OpenAI-compatible endpoint, well or badly."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Any, dict[str, Any]], None]


class Loopback:
    """A server in a thread.

    Attributes:
        answers: What the next requests get; the last one stays.
        requests: The bodies that came in, each with its `headers`.
    """

    def __init__(self) -> None:
        self.answers: list[Answer] = [texts("ok")]
        self.requests: list[dict[str, Any]] = []
        self.released = threading.Event()
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.requests.append(
                        {**body, "path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
                    )
                    answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                answer(self, body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def hang(self, _handler: object, _body: object) -> None:
        """Answer nothing until the server stops."""
        self.released.wait(30)

    def stop(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def reply(status: int, text: str, content_type: str = "application/json") -> Answer:
    def answer(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
        data = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("Connection", "close")
        # What the client tries again it tries at once, so that no test waits.
        handler.send_header("Retry-After-Ms", "1")
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def texts(*given: str, finish: str = "stop") -> Answer:
    """A right answer with these samples, or with the last of them as often as the request asks."""

    def answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        listed = [*given, *[given[-1]] * (body.get("n", 1) - len(given))]
        choices = [
            {"index": i, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
            for i, text in enumerate(listed)
        ]
        usage = {"prompt_tokens": 11, "completion_tokens": 3 * len(listed), "total_tokens": 11 + 3 * len(listed)}
        document = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        }
        reply(200, json.dumps(document))(handler, body)

    return answer


def error(status: int, message: str) -> Answer:
    return reply(status, json.dumps({"error": {"message": message, "type": "x", "code": None, "param": None}}))
