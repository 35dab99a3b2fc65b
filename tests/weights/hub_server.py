"""A stand-in for the Hugging Face Hub: the part of its HTTP interface that huggingface_hub uses for models.

Small files are Git objects; those that end like weights are LFS objects, fetched through a redirect and uploaded separately.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote

LARGE = (".safetensors", ".pth")


class Refusal(Exception):
    def __init__(self, status, code="", message=""):
        self.status, self.code, self.message = status, code, message


class Repository:
    """Commits (name -> content) by their hashes, and revisions (name -> hash)."""

    def __init__(self, files=None, private=False, gated=False):
        self.private, self.gated, self.commits, self.revisions, self.messages = private, gated, {}, {}, []
        self.commit(files or {}, "initial commit")

    def commit(self, files, message, revision="main"):
        parent = self.revisions.get(revision) or self.revisions.get("main")
        content = (self.commits[parent] if parent else {}) | files
        sha = hashlib.sha1(repr((sorted(content.items()), len(self.commits))).encode()).hexdigest()
        self.commits[sha] = content
        self.revisions[revision] = sha
        self.messages.append(message)
        return sha

    def sha(self, revision):
        if revision not in self.revisions and revision not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.revisions.get(revision, revision)

    def files(self, revision="main"):
        return self.commits[self.sha(revision)]


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict


class Hub:
    """The server. `repositories` is its content, `requests` what it was asked; `damage(content)` damages what it sends."""

    TOKEN = "hf_writer"  # of the owner "me"; other tokens can only read

    def __init__(self):
        self.repositories, self.objects, self.requests, self.status = {}, {}, [], None
        self.damage = lambda content: content
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                hub.requests.append(f"{self.command} {path}")
                try:
                    found = hub.respond(self.command, path, token, body)
                except Refusal as refusal:
                    names = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
                    content = json.dumps({"error": refusal.message}).encode()
                    found = Answer(refusal.status, content, {name: value for name, value in names.items() if value})
                self.send_response(found.status)
                for name, value in ({"Content-Length": len(found.body)} | found.headers).items():
                    self.send_header(name, str(value))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(found.body)

            do_GET = do_HEAD = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def storage(self):
        """The address of large files: another host, so that the redirect is seen as one."""
        return f"http://localhost:{self.server.server_port}/objects/"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def respond(self, method, path, token, body):
        if self.status:
            raise Refusal(self.status, message="as the test wants it")
        name = r"([\w.-]+/[\w.-]+)"
        for kinds, pattern, action in (
            ("GET HEAD", rf"/{name}/resolve/([^/]+)/(.+)", self.file),
            ("GET", rf"/api/models/{name}(?:/revision/(.+))?", self.information),
            ("GET", rf"/api/models/{name}/tree/([^/]+)", self.tree),
            ("GET HEAD", r"/objects/(\w+)", self.send_object),
            ("PUT", r"/objects/(\w+)", self.receive_object),
            ("POST", r"/api/repos/create", self.create),
            ("POST", r"/api/validate-yaml", self.validate),
            ("POST", rf"/api/models/{name}/preupload/(.+)", self.preupload),
            ("POST", rf"/{name}\.git/info/lfs/objects/batch", self.batch),
            ("POST", rf"/api/models/{name}/commit/(.+)", self.commit),
        ):
            match = re.fullmatch(pattern, path)
            if match and method in kinds.split():
                return action(token, body, *(part and unquote(part) for part in match.groups()))
        raise Refusal(404, message=f"not part of the stand-in: {method} {path}")

    def repository(self, name, token, write=False):
        found = self.repositories.get(name)
        if found is None or (found.private and token != self.TOKEN):
            raise Refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        if write and (token != self.TOKEN or not name.startswith("me/")):
            raise Refusal(403, message="You don't have the rights to create or write to this repository")
        return found

    def information(self, token, _, name, revision):
        found = self.repository(name, token)
        sha = found.sha(revision or "main")
        files = [{"rfilename": file} for file in found.files(sha)]
        return as_json({"id": name, "sha": sha, "private": found.private, "siblings": files, "tags": []})

    def tree(self, token, _, name, revision):
        files = self.repository(name, token).files(revision)
        return as_json([{"type": "file", "path": file, "size": len(files[file]), "oid": git_hash(files[file])} for file in files])

    def file(self, token, _, name, revision, file):
        found = self.repository(name, token)
        if found.gated and token != self.TOKEN:
            raise Refusal(403, "GatedRepo", "Access to model is restricted")
        sha = found.sha(revision)
        if file not in found.files(sha):
            raise Refusal(404, "EntryNotFound", "Entry not found")
        content = found.files(sha)[file]
        if not file.endswith(LARGE):
            return Answer(200, self.damage(content), {"X-Repo-Commit": sha, "ETag": f'"{git_hash(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        self.objects[digest] = content
        headers = {"X-Repo-Commit": sha, "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": len(content)}
        return Answer(302, b"", headers | {"Location": self.storage + digest})

    def send_object(self, _, __, digest):
        return Answer(200, self.damage(self.objects[digest]), {"ETag": f'"{digest}"'})

    def receive_object(self, _, body, digest):
        if hashlib.sha256(body).hexdigest() != digest:
            raise Refusal(400, message="checksum differs")
        self.objects[digest] = body
        return as_json({})

    def create(self, token, body):
        wanted = json.loads(body)
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        if not token:
            raise Refusal(401, message="Invalid username or password.")
        if token != self.TOKEN or not name.startswith("me/"):
            raise Refusal(403, message="You don't have the rights to create a model under this namespace")
        url = f"{self.endpoint}/{name}"
        if name in self.repositories:
            return Answer(409, json.dumps({"error": "exists", "url": url}).encode(), {})
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.repositories[name] = Repository({".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        return as_json({"url": url, "id": "1", "name": name})

    def validate(self, _, body):
        assert json.loads(body)["content"].startswith("---\n")
        return as_json({"errors": [], "warnings": []})

    def preupload(self, token, body, name, revision):
        self.repository(name, token, write=True).sha(revision)
        modes = [(file["path"], "lfs" if file["path"].endswith(LARGE) else "regular") for file in json.loads(body)["files"]]
        return as_json({"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes]})

    def batch(self, token, body, name):
        self.repository(name, token, write=True)
        found = [
            one | ({} if one["oid"] in self.objects else {"actions": {"upload": {"href": self.storage + one["oid"]}}})
            for one in json.loads(body)["objects"]
        ]
        return as_json({"transfer": "basic", "objects": found})

    def commit(self, token, body, name, revision):
        found = self.repository(name, token, write=True)
        found.sha(revision)
        lines = [json.loads(line) for line in body.splitlines()]
        files, message = {}, next(line["value"]["summary"] for line in lines if line["key"] == "header")
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                files[line["value"]["path"]] = self.objects[line["value"]["oid"]]
        sha = found.commit(files, message, revision)
        return as_json({"commitUrl": f"{self.endpoint}/{name}/commit/{sha}", "commitOid": sha, "success": True})


def as_json(value):
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
