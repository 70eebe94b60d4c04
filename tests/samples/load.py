#!/usr/bin/env python3
"""Fills a running service with sample calls over HTTP, and writes the correct results. See README.md."""

import argparse
import hashlib
import hmac
import http.client
import itertools
import json
import sys
import threading
import time
import urllib.parse
from datetime import datetime, timezone

# Python would write compiled files beside the sources.
sys.dont_write_bytecode = True

import calls  # noqa: E402
import expected  # noqa: E402
import kinds  # noqa: E402

ATTEMPTS = 30
BUSY = (408, 429, 500, 502, 503, 504)


class Refused(Exception):
    """A request that the service refuses."""


class Client:
    """A client with one persistent connection, which retries while the service is busy."""

    def __init__(self, options):
        self.options = options
        url = urllib.parse.urlsplit(options.url)
        connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self.connection = connect(url.hostname, url.port, timeout=120)
        self.prefix = url.path.rstrip("/")

    def send(self, method, path, body, headers=None):
        data = json.dumps(body, ensure_ascii=False).encode()
        for attempt in range(ATTEMPTS):
            try:
                self.connection.request(method, self.prefix + path, data, self.headers(path, data, headers))
                answer = self.connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as problem:
                self.connection.close()
                if attempt + 1 == ATTEMPTS:
                    raise Refused(f"{method} {path}: {problem}") from problem
                time.sleep(min(2, 0.05 * 2**attempt))
                continue
            if answer.status < 300:
                return
            if answer.status not in BUSY or attempt + 1 == ATTEMPTS:
                raise Refused(f"{method} {path}: {answer.status} {text[:500].decode(errors='replace')}")
            time.sleep(min(2, 0.05 * 2**attempt))

    def headers(self, path, data, more):
        made = {"Content-Type": "application/json", **(more or {})}
        if path == calls.POST_CALL:
            at = int(time.time())
            digest = hmac.new(self.options.secret.encode(), f"{at}.".encode() + data, hashlib.sha256).hexdigest()
            made["ElevenLabs-Signature"] = f"t={at},v0={digest}"
        elif path.startswith("/webhooks/"):
            if self.options.ingest_token:
                made["Authorization"] = f"Bearer {self.options.ingest_token}"
        elif self.options.token:
            made["Authorization"] = f"Bearer {self.options.token}"
        return made


def load(options, truths):
    """Sends all calls over a bounded number of connections. The requests of a call stay in their order."""
    numbers = itertools.count()
    problems = []
    sent = itertools.count()

    def work():
        client = Client(options)
        while not problems and (index := next(numbers)) < options.calls:
            try:
                call = kinds.make(options.seed, options.now, index)
                truths[index] = call.truth()
                for request in call.requests:
                    client.send(*request)
                    next(sent)
            except Exception as problem:
                problems.append(problem)
        client.connection.close()

    threads = [threading.Thread(target=work) for _ in range(min(options.connections, options.calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return next(sent)


def instant(text):
    """Returns the seconds since 1970 of an ISO 8601 time."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return at.replace(tzinfo=at.tzinfo or timezone.utc).timestamp()


def whole(text):
    number = int(text)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="address of the service, such as http://127.0.0.1:8080")
    parser.add_argument("--secret", help="signing secret of the post-call webhook")
    parser.add_argument("--token", help="API token")
    parser.add_argument("--ingest-token", help="token of the webhooks for turns and histories")
    parser.add_argument("--calls", type=whole, default=300, help="number of conversations (300)")
    parser.add_argument("--seed", default="1", help="seed of the random choices (1)")
    parser.add_argument("--now", type=instant, default=time.time(), help="end of the thirty days of calls (now)")
    parser.add_argument("--connections", type=whole, default=32, help="connections at once (32)")
    parser.add_argument("--expected", metavar="FILE", help="write the correct results as JSON")
    parser.add_argument("--requests", metavar="FILE", help="write the requests as JSON lines, and send none")
    options = parser.parse_args()
    options.now = int(options.now)
    if not options.requests and not (options.url and options.secret):
        parser.error("--url and --secret are needed to send")
    if not options.connections:
        parser.error("--connections: must be at least 1")
    return options


def main():
    options = read_options()
    drivers = calls.drivers() if options.calls else []
    truths = [None] * options.calls
    begin = time.monotonic()
    if options.requests:
        with open(options.requests, "w", encoding="utf-8") as out:
            for driver in drivers:
                print(json.dumps(["PUT", f"/api/v1/drivers/{driver['id']}", driver], ensure_ascii=False), file=out)
            for index in range(options.calls):
                call = kinds.make(options.seed, options.now, index)
                truths[index] = call.truth()
                for request in call.requests:
                    print(json.dumps(request, ensure_ascii=False), file=out)
    else:
        client = Client(options)
        for driver in drivers:
            body = {"name": driver["name"], "phone_number": driver["phone_number"]}
            client.send("PUT", f"/api/v1/drivers/{driver['id']}", body)
        sent = load(options, truths)
        seconds = time.monotonic() - begin
        print(f"{options.calls} calls, {sent + len(drivers)} requests, {seconds:.1f} s")
    if options.expected:
        made = {"now": calls.iso(options.now), "seed": options.seed, **expected.expected(truths, drivers)}
        with open(options.expected, "w", encoding="utf-8") as out:
            json.dump(made, out, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    try:
        main()
    except Refused as problem:
        sys.exit(f"load.py: {problem}")
