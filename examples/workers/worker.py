"""Counts the lines, words and bytes of texts: a pull worker that needs nothing but Python's standard library."""

import base64
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

URL = os.environ.get("WAITLESS_URL", "http://127.0.0.1:7878").rstrip("/")
KEY = os.environ.get("WAITLESS_API_KEY")
SERVICE = os.environ.get("WAITLESS_SERVICE", "texts")
# The work is made slow on purpose: each of its three steps takes this long.
STEP_SECONDS = float(os.environ.get("STEP_SECONDS", "1"))
# A worker that dies is noticed after this time. As long as it lives, it extends its lease three times as often.
LEASE_SECONDS = float(os.environ.get("LEASE_SECONDS", "30"))

STEPS = [("lines", lambda text: text.count(b"\n")), ("words", lambda text: len(text.split())), ("bytes", len)]


class Stop(BaseException):
    """SIGTERM or Ctrl-C."""


class Lost(Exception):
    """The work was cancelled or belongs to somebody else by now."""


def post(path, body=b"", media_type="application/json"):
    """One request. Returns status and body; OSError and HTTPException mean that no answer came."""
    headers = {"Content-Type": media_type}
    if KEY:
        headers["Authorization"] = f"Bearer {KEY}"
    request = urllib.request.Request(URL + path, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def insist(path, body, media_type="application/json"):
    """Asks until there is an answer that a repeat would not change, also while the server restarts."""
    while True:
        try:
            status, answer = post(path, body, media_type)
            if status < 500 and status != 429:
                return status, answer
            why = f"{status}: {answer.decode(errors='replace')}"
        except (OSError, http.client.HTTPException) as error:
            why = str(error)
        print(f"{path.split('/')[-1]}: {why}; again in a second", file=sys.stderr)
        time.sleep(1)


def tell(path, body, media_type="application/json"):
    """Answers or reports. A lease that is no longer ours is 404 or 409."""
    status, answer = insist(path, body, media_type)
    if status in (404, 409):
        raise Lost()
    if status != 200:
        sys.exit(f"{status}: {answer.decode(errors='replace')}")


def keep_alive(lease_url, done):
    """Extends the lease while the work goes on; progress does so too, but not while one step takes long."""
    extension = json.dumps({"leaseSeconds": LEASE_SECONDS}).encode()
    while not done.wait(LEASE_SECONDS / 3):
        try:
            post(f"{lease_url}/extend", extension)
        except (OSError, http.client.HTTPException):
            pass  # The next one may get through; if none does, the work goes to another worker.


def work(text, report):
    counts = {"by": "python"}
    for number, (name, count) in enumerate(STEPS):
        report({"stage": f"counting {name}", "percent": 100 * number // len(STEPS)})
        time.sleep(STEP_SECONDS)
        counts[name] = count(text)
    return json.dumps(counts, separators=(",", ":")).encode()


def handle(lease):
    lease_url = f"/v1/leases/{lease['token']}"
    request = lease["request"]
    text = base64.b64decode(request["bodyBase64"]) if "bodyBase64" in request else request.get("body", "").encode()
    done = threading.Event()
    threading.Thread(target=keep_alive, args=(lease_url, done), daemon=True).start()
    try:
        if text:
            result = work(text, lambda report: tell(f"{lease_url}/progress", json.dumps(report).encode()))
            tell(f"{lease_url}/reply", result)
        else:
            why = {"code": "no-text", "message": "there is no text to count", "retry": False}
            tell(f"{lease_url}/fail", json.dumps(why).encode())
    except Lost:
        print(f"{lease['operation']['id']} is no longer ours", file=sys.stderr)
    finally:
        done.set()


def main():
    def stop(*_):
        raise Stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    ask = json.dumps({"worker": "python", "waitSeconds": 30, "leaseSeconds": LEASE_SECONDS}).encode()
    held = None
    try:
        while True:
            status, answer = insist(f"/v1/services/{SERVICE}/leases", ask)
            if status != 200:
                sys.exit(f"{status}: {answer.decode(errors='replace')}")
            for held in json.loads(answer)["leases"]:
                handle(held)
                held = None
    except Stop:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if held:
            # Given back, it is free for the next worker at once and costs no attempt.
            post(f"/v1/leases/{held['token']}/release")
        print("stopped", file=sys.stderr)


main()
