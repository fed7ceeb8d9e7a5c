"""The tool, every command of it, against real nodes: what it prints, and with which code it exits."""

import base64
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import uuid

from case import OwnCase, SharedCase
from cluster import program

DONE, REFUSED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130


class Result:
    def __init__(self, done):
        self.code = done.returncode
        self.raw = done.stdout
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    def json(self):
        return json.loads(self.out)

    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return f"exit {self.code}\n{self.out}\n{self.err}"


class Tool:
    """Mixed into the cases of system tests."""

    def environment(self, url=None):
        return {**os.environ, "ANNAL_URL": url or self.cluster.url()}

    def annal(self, *arguments, stdin=b"", url=None, timeout=60):
        done = subprocess.run(
            [program("annal"), *[str(argument) for argument in arguments]],
            input=stdin,
            capture_output=True,
            env=self.environment(url),
            timeout=timeout,
            check=False,
        )
        return Result(done)

    def good(self, *arguments, **more):
        result = self.annal(*arguments, **more)
        self.assertEqual(result.code, DONE, result)
        return result

    def bad(self, code, words, *arguments, **more):
        """It exits with that code and says these words."""
        result = self.annal(*arguments, **more)
        self.assertEqual(result.code, code, result)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, result.err)
        return result

    def folder(self):
        folder = tempfile.TemporaryDirectory(prefix="annal-tool-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def file(self, content, name="events.ndjson"):
        path = os.path.join(self.folder(), name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def unique(self, what="x"):
        return f"{what}{uuid.uuid4().hex[:12]}"

    def event(self, stream, **more):
        """One event appended with the tool."""
        arguments = []
        for name, value in {"type": "T", **more}.items():
            arguments += ["--" + name.replace("_", "-"), value]
        return self.good("append", stream, *arguments).json()


class ToolCase(Tool, SharedCase):
    pass


class HelpTest(ToolCase):
    def test_every_command_has_help_with_an_example(self):
        listed = re.findall(r"^  ([a-z]+) +[A-Z]", self.good("--help").out.split("short options.")[-1], re.M)
        self.assertGreater(len(listed), 20)
        for command in listed:
            with self.subTest(command):
                text = self.good(command, "--help").out
                self.assertRegex(text, rf"Examples?: annal {command}\b")

    def test_query_syntax_is_in_the_help_once(self):
        self.assertEqual(self.good("--help").out.count("A QUERY says"), 1)

    def test_wrong_usage(self):
        for words, arguments in (
            ("command is missing", []),
            ("no command 'begin'", ["begin"]),
            ("--output", ["status", "-o", "xml"]),
            ("stream, --all", ["read"]),
            ("read whole", ["read", "S", "--type", "T"]),
            ("followed whole", ["tail", "S", "--tag", "T"]),
            ("stands alone", ["read", "--type", "T", "--query", "tag=x"]),
            ("stands alone", ["count", "--query", "tag=x", "--tag", "x"]),
            ("at character 1", ["count", "--query", "colour=red"]),
            ("at character 10", ["read", "--query", "type=A,B,"]),
            ("is empty", ["count", "--tag", ""]),
            ("system records", ["read", "--type", "T", "--system"]),
            ("--batch", ["append", "S"]),
            ("in the file alone", ["append", "S", "--batch", "-"]),
            ("--after goes with", ["append", "S", "--type", "T", "--after", "1"]),
            ("--epoch goes with", ["append", "S", "--type", "T", "--epoch", "1"]),
            ("--if-none: at character", ["append", "S", "--type", "T", "--if-none", "x"]),
            ("NAME=VALUE", ["append", "S", "--type", "T", "--check", "S"]),
            ("checks nothing", ["append", "S", "--type", "T", "--check", "S=any"]),
            ("no version", ["append", "S", "--type", "T", "--check", "S=new"]),
            ("tag is empty", ["append", "S", "--type", "T", "--tags", "a,,b"]),
            ("one too many", ["load", "S", "S"]),
            ("which stream", ["load"]),
            ("no time", ["at", "yesterday"]),
            ("no time", ["at", "2026-02-30"]),
            ("which time", ["at"]),
            ("is wanted", ["checkpoint", "put", "me"]),
            ("get, put", ["checkpoint"]),
            ("go with `checkpoint put`", ["checkpoint", "get", "me", "--epoch", "1"]),
            ("no number", ["checkpoint", "put", "me", "far"]),
            ("is wanted", ["snapshot", "put", "S", "1"]),
            ("go with `snapshot get`", ["snapshot", "delete", "S", "--raw"]),
            ("absolute path", ["backup", "here"]),
            ("which file", ["backup"]),
            ("which file", ["verify"]),
            ("cannot open", ["verify", "/no/such/file"]),
            ("cannot open", ["import", "/no/such/file"]),
            ("cannot open", ["append", "--batch", "/no/such/file"]),
            ("cannot open", ["export", "/no/such/folder/file"]),
            ("cannot open", ["append", "S", "--type", "T", "--data", "@/no/such/file"]),
            ("--kill", ["bench", "--rows", "failover"]),
            ("names no row", ["bench", "--rows", "nonsense"]),
        ):
            with self.subTest(arguments):
                self.bad(USAGE, words, *arguments)

    def test_an_argument_that_only_the_node_refuses_is_wrong_usage_too(self):
        for arguments in (
            ["append", "$reserved", "--type", "T"],
            ["append", self.new_stream(), "--type", "x" * 256],
            ["cluster", "assign", "1", "king"],
        ):
            with self.subTest(arguments):
                self.bad(USAGE, "INVALID_ARGUMENT", *arguments)

    def test_nobody_there(self):
        url = "annal://127.0.0.1:1"
        for command in (["count"], ["streams"], ["load", "S"], ["checkpoint", "get", "x"], ["at", "now"]):
            with self.subTest(command):
                self.bad(UNREACHABLE, "refused", *command, "--timeout", "300", url=url)


class AppendTest(ToolCase):
    def test_an_event_with_everything(self):
        stream, tag = self.new_stream(), self.unique()
        answer = self.event(stream, data='{"n":1}', metadata="by hand", tags=f"{tag},b", tag="c,d")
        self.assertEqual(answer["version"], 1)
        (event,) = self.good("read", stream).lines()
        self.assertEqual(event["data"], {"n": 1})
        self.assertEqual(event["metadata_text"], "by hand")
        self.assertEqual(sorted(event["tags"]), sorted([tag, "b", "c,d"]))
        again = self.good("append", stream, "--type", "T", "--id", event["id"]).json()
        self.assertTrue(again["duplicate"])
        self.assertEqual(again["position"], answer["position"])

    def test_expect(self):
        stream = self.new_stream()
        self.event(stream, expect="no_stream")
        self.event(stream, expect=1)
        self.bad(
            REFUSED,
            ["WRONG_EXPECTED_VERSION", "version 1 was expected", "at version 2"],
            *["append", stream, "--type", "T", "--expect", 1],
        )

    def test_if_none(self):
        first, tag = self.new_stream(), self.unique()
        condition = ["--if-none", f"type=Taken tag={tag}"]
        self.event(first, type="Other", tag=tag)
        taken = self.good("append", first, "--type", "Taken", "--tag", tag, *condition).json()
        refused = self.bad(
            REFUSED,
            ["CONDITION_FAILED", f"position {taken['position']}"],
            *["append", first, "--type", "Taken", "--tag", tag, *condition, "--missed"],
        )
        self.assertEqual([event["position"] for event in refused.lines()], [taken["position"]])
        self.good("append", first, "--type", "Taken", *condition, "--after", taken["position"])
        result = self.annal("append", first, "--type", "T", "--if-none", "tag=" + self.unique(), *condition)
        self.assertEqual(result.code, REFUSED)
        self.assertIn("condition 1", result.err)

    def test_check(self):
        written, checked = self.new_stream(), self.new_stream()
        self.event(checked)
        answer = self.good("append", written, "--type", "T", "--check", f"{checked}=1").json()
        self.assertEqual(answer["version"], 1)
        self.bad(
            REFUSED,
            ["WRONG_EXPECTED_VERSION", checked],
            *["append", written, "--type", "T", "--check", f"{checked}=no_stream"],
        )
        self.assertEqual(self.good("stream", written).json()["version"], 1)

    def test_checkpoint_in_the_same_step(self):
        stream, consumer = self.new_stream(), self.unique("consumer=")
        self.good("append", stream, "--type", "T", "--checkpoint", f"{consumer}=41", "--epoch", 2)
        stored = self.good("checkpoint", "get", consumer).json()
        self.assertEqual((stored["position"], stored["epoch"]), (41, 2))
        arguments = ["append", stream, "--type", "T", "--checkpoint", f"{consumer}=42", "--epoch", 1]
        self.bad(REFUSED, ["CHECKPOINT_CONFLICT", "position 41, epoch 2"], *arguments)
        self.assertEqual(self.good("stream", stream).json()["version"], 1)

    def test_a_batch_is_one_step(self):
        one, two = self.new_stream(), self.new_stream()
        text = "".join(
            json.dumps(line) + "\n"
            for line in (
                {"stream": one, "type": "A", "data": {"n": 1}, "expected_version": "no_stream"},
                {"stream": two, "type": "B", "data_text": "plain\ntext", "tags": ["x"]},
                {"stream": one, "type": "C", "data_base64": "/w=="},
            )
        )
        answer = self.good("append", "--batch", self.file(text)).json()
        self.assertEqual(answer["events"], 3)
        self.assertEqual(answer["versions"], {one: 2, two: 1})
        self.assertEqual(answer["position"], answer["first_position"] + 2)
        page = self.good("read", "--all", "--from", answer["first_position"], "--limit", 3).lines()
        self.assertEqual([event["type"] for event in page], ["A", "B", "C"])
        self.assertEqual(page[1]["data_text"], "plain\ntext")
        self.assertEqual(page[2]["data_base64"], "/w==")
        self.bad(REFUSED, "WRONG_EXPECTED_VERSION", "append", "--batch", "-", stdin=text.encode())
        self.assertEqual(self.good("stream", two).json()["version"], 1)

    def test_a_batch_without_ids_is_new_each_time(self):
        stream = self.new_stream()
        line = json.dumps({"stream": stream, "type": "T"}).encode()
        for version in (1, 2):
            answer = self.good("append", "--batch", "-", stdin=line).json()
            self.assertFalse(answer["duplicate"])
            self.assertEqual(answer["versions"], {stream: version})

    def test_a_bad_batch_is_told_with_its_line(self):
        text = b'{"stream":"S","type":"T"}\n\n{"stream":"S"}\n'
        self.bad(REFUSED, ":3: \"type\" is missing", "append", "--batch", self.file(text))
        self.bad(REFUSED, "has no events", "append", "--batch", self.file(b"\n"))


class ReadTest(ToolCase):
    def setUp(self):
        super().setUp()
        self.tag, self.kind, self.category = self.unique("tag "), self.unique("Kind"), self.unique("C")
        self.streams = [f"{self.category}-1", f"{self.category}-2"]
        self.positions = [
            self.event(self.streams[number % 2], type=self.kind + "ABC"[number % 3], tag=tag)["position"]
            for number, tag in enumerate([self.tag, "even", self.tag, "even", self.tag, "even"])
        ]

    def expected(self, *numbers):
        return [self.positions[number] for number in numbers]

    def queries(self):
        """(options, numbers of the events that they mean)"""
        a, b = self.kind + "A", self.kind + "B"
        quoted = f'tag="{self.tag}"'
        return (
            (["--type", a], (0, 3)),
            (["--type", a, "--type", b], (0, 1, 3, 4)),
            (["--tag", self.tag], (0, 2, 4)),
            (["--tag", self.tag, "--tag", "even"], ()),
            (["--category", self.category, "--type", b], (1, 4)),
            (["--prefix", self.category], (0, 1, 2, 3, 4, 5)),
            (["--prefix", self.streams[0], "--prefix", self.streams[1]], (0, 1, 2, 3, 4, 5)),
            (["--query", f"type={a},{b} {quoted}"], (0, 4)),
            (["--query", f"type={a}; {quoted}; stream={self.streams[1]} type={b}"], (0, 1, 2, 3, 4)),
            (["--query", f"stream={self.streams[0]} type={a}"], (0,)),
        )

    def test_read(self):
        for options, numbers in self.queries():
            with self.subTest(options):
                found = [event["position"] for event in self.good("read", *options).lines()]
                self.assertEqual(found, self.expected(*numbers))
                found = [event["position"] for event in self.good("read", "-b", *options).lines()]
                self.assertEqual(found, self.expected(*reversed(numbers)))

    def test_read_within_bounds(self):
        options = ["--category", self.category]
        result = self.good("read", *options, "--from", self.positions[2], "--limit", 2)
        self.assertEqual([event["position"] for event in result.lines()], self.expected(2, 3))
        self.assertEqual(self.good("read", *options, "-o", "json", "--limit", 3).json()[2]["version"], 2)

    def test_count(self):
        for options, numbers in self.queries():
            with self.subTest(options):
                self.assertEqual(self.good("count", *options).json()["count"], len(numbers))
        answer = self.good("count").json()
        self.assertGreaterEqual(answer["head"], answer["count"])
        self.assertEqual(self.good("count", "--query", "all").json()["count"], answer["count"])

    def test_tail(self):
        for options, numbers in self.queries():
            if not numbers:
                continue
            with self.subTest(options):
                result = self.good("tail", *options, "--after", 0, "--limit", len(numbers))
                found = [event["position"] for event in result.lines()]
                self.assertEqual(found, self.expected(*numbers))

    def test_export(self):
        for options, numbers in self.queries():
            with self.subTest(options):
                found = [event["position"] for event in self.good("export", "-", *options).lines()]
                self.assertEqual(found, self.expected(*numbers))

    def test_tables_have_a_head_and_a_row_for_each(self):
        for command, title in (
            (["read", "--category", self.category], "POSITION"),
            (["streams", "--category", self.category], "STREAM"),
            (["categories", "--prefix", self.category], "CATEGORY"),
            (["types", "--prefix", self.kind], "TYPE"),
        ):
            with self.subTest(command):
                rows = len(self.good(*command).lines())
                table = self.good(*command, "-o", "table").out.splitlines()
                self.assertEqual(len(table), rows + 1)
                self.assertIn(title, table[0])
                self.assertEqual(len(self.good(*command, "-o", "json").json()), rows)

    def test_names(self):
        self.assertEqual(
            self.good("streams", "--category", self.category).lines(),
            [{"stream": stream, "version": 3} for stream in self.streams],
        )
        self.assertEqual(
            self.good("streams", "--prefix", self.category, "--after", self.streams[0]).lines(),
            [{"stream": self.streams[1], "version": 3}],
        )
        limited = self.good("streams", "--prefix", self.category, "--limit", 1).lines()
        self.assertEqual([line["stream"] for line in limited], self.streams[:1])
        self.assertEqual(
            self.good("categories", "--prefix", self.category).lines(),
            [{"category": self.category, "events": 6}],
        )
        self.assertEqual(
            self.good("types", "--prefix", self.kind).lines(),
            [{"type": self.kind + letter, "events": 2} for letter in "ABC"],
        )

    def test_at(self):
        (event,) = self.good("event", self.positions[3], "-o", "json").json()
        self.assertLessEqual(self.good("at", event["created"]).json()["position"], self.positions[3])
        self.assertEqual(self.good("at", "1980-01-01").json()["position"], 1)
        self.assertLessEqual(self.good("at", "-1h").json()["position"], self.positions[3])
        later = self.good("at", "2200-01-01T00:00:00+02:00").json()
        self.assertGreater(later["position"], later["head"])

    def test_text_is_shown_as_text(self):
        stream = self.new_stream()
        for data in ("no JSON, but text: ä", '{"json": true}', "two\nlines"):
            self.event(stream, data=data)
        self.good("append", stream, "--type", "T", "--data", "@" + self.file(b"\xff\x00", "data"))
        texts = self.good("read", stream).lines()
        self.assertEqual(texts[0]["data_text"], "no JSON, but text: ä")
        self.assertEqual(texts[1]["data"], {"json": True})
        self.assertEqual(texts[2]["data_text"], "two\nlines")
        self.assertEqual(base64.b64decode(texts[3]["data_base64"]), b"\xff\x00")
        table = self.good("read", stream, "-o", "table").out
        self.assertIn("no JSON, but text: ä", table)
        self.assertIn("two lines", table)
        self.assertIn("base64:/wA=", table)


class ConsumerTest(ToolCase):
    def test_checkpoints(self):
        prefix = self.unique("consumer ")
        first, second = prefix + "1", prefix + "2"
        self.bad(REFUSED, "NOT_FOUND", "checkpoint", "get", first)
        self.good("checkpoint", "put", first, 10, "--if-position", 0)
        stored = self.good("checkpoint", "get", first).json()
        self.assertEqual((stored["consumer"], stored["position"]), (first, 10))
        self.assertRegex(stored["updated"], r"^20\d\d-.*Z$")
        self.good("checkpoint", "put", first, 20, "--if-position", 10, "--epoch", 5)
        arguments = ["checkpoint", "put", first, 30]
        self.bad(REFUSED, ["CHECKPOINT_CONFLICT", "20"], *arguments, "--if-position", 10, "--epoch", 5)
        self.bad(REFUSED, ["CHECKPOINT_CONFLICT", "epoch 5"], *arguments, "--epoch", 4)
        self.good("checkpoint", "put", second, 7)
        listed = self.good("checkpoint", "list", "--prefix", prefix).lines()
        self.assertEqual(
            [(line["consumer"], line["position"], line["epoch"]) for line in listed],
            [(first, 20, 5), (second, 7, 0)],
        )
        table = self.good("checkpoint", "list", "--prefix", prefix, "-o", "table").out
        self.assertRegex(table, rf"CONSUMER[^\n]*\n{first} +20 +5 ")
        self.good("checkpoint", "delete", first)
        self.bad(REFUSED, "NOT_FOUND", "checkpoint", "get", first)
        listed = self.good("checkpoint", "list", "--prefix", prefix).lines()
        self.assertEqual([line["consumer"] for line in listed], [second])

    def test_snapshots_and_load(self):
        stream = self.new_stream()
        self.bad(REFUSED, "STREAM_NOT_FOUND", "load", stream)
        for number in range(1, 6):
            self.event(stream, data=json.dumps({"n": number}))
        self.assertIsNone(self.good("load", stream).json()["snapshot"])
        self.bad(REFUSED, "NOT_FOUND", "snapshot", "get", stream)
        self.good("snapshot", "put", stream, 2, "--type", "Sum", "--data", '{"sum": 3}')
        self.good("snapshot", "put", stream, 4, "--data", "-", stdin=b"\xffstate")
        latest = self.good("snapshot", "get", stream).json()
        self.assertEqual((latest["version"], latest["data_base64"]), (4, "/3N0YXRl"))
        older = self.good("snapshot", "get", stream, "--max-version", 3).json()
        self.assertEqual((older["version"], older["type"], older["data"]), (2, "Sum", {"sum": 3}))
        self.assertEqual(self.good("snapshot", "get", stream, "--raw").raw, b"\xffstate")
        loaded = self.good("load", stream).json()
        self.assertEqual((loaded["version"], loaded["snapshot"]["version"]), (5, 4))
        self.assertEqual([event["version"] for event in loaded["events"]], [5])
        self.assertEqual(self.good("load", stream, "-o", "json").json()["events"], loaded["events"])
        self.assertIn("snapshot of version 4", self.good("load", stream, "-o", "table").out)
        self.assertEqual(self.annal("snapshot", "put", stream, 6, "--data", "x").code in (1, 2), True)
        self.good("snapshot", "delete", stream)
        self.assertIsNone(self.good("load", stream).json()["snapshot"])

    def test_load_goes_on_where_the_first_page_ends(self):
        stream = self.new_stream()
        line = json.dumps({"stream": stream, "type": "T", "data": "x" * 4000})
        self.good("append", "--batch", "-", stdin=(line + "\n").encode() * 1500)
        loaded = self.good("load", stream).json()
        self.assertEqual([event["version"] for event in loaded["events"]], list(range(1, 1501)))


class NodeTest(ToolCase):
    def test_digest_beyond_the_head_is_refused_at_once(self):
        begin = time.monotonic()
        self.bad(REFUSED, "beyond the head", "digest", "--position", 10**12, "--timeout", 30000)
        self.assertLess(time.monotonic() - begin, 10)

    def test_digest_is_the_same_everywhere(self):
        position = self.event(self.new_stream())["position"]
        answers = [
            self.good("digest", "--position", position, url="annal://" + node.address).json()
            for node in self.cluster.nodes.values()
        ]
        self.assertEqual(answers, [answers[0]] * 3)

    def test_status_stats_ping_stream_event(self):
        stream = self.new_stream()
        position = self.event(stream)["position"]
        self.assertEqual(len(self.good("status").json()["nodes"]), 3)
        self.assertGreaterEqual(len(self.good("stats").json()), 10)
        self.assertIn("head", self.good("ping").json())
        self.assertEqual(self.good("stream", stream).json()["count"], 1)
        for which in (position, f"{stream}@1"):
            self.assertEqual(self.good("event", which).json()["stream"], stream)
        self.bad(USAGE, "no position", "event", "nonsense")
        self.bad(REFUSED, "NOT_FOUND", "event", 10**12)

    def test_backup_and_verify(self):
        position = self.event(self.new_stream(), data="x" * 100000)["position"]
        for node in self.cluster.nodes.values():
            path = os.path.join(self.folder(), "backup")
            url = "annal://" + node.address
            answer = self.good("backup", path, url=url).json()
            self.assertEqual(answer["path"], path)
            self.assertGreaterEqual(answer["position"], position)  # acknowledged before
            self.assertEqual(answer["bytes"], os.path.getsize(path))
            report = self.good("verify", path, url="annal://nowhere.invalid:1").json()
            self.assertEqual((report["state"], report["node"]), ("good", node.number))
            self.assertEqual((report["position"], report["bytes"]), (answer["position"], answer["bytes"]))
            self.bad(USAGE, "is there already", "backup", path, url=url)
            self.assertIn("good", self.good("verify", path, "-o", "table").out)
            self.spoil(path)

    def spoil(self, path):
        """Any byte that changes is found, and any end that is missing."""
        with open(path, "rb") as file:
            content = file.read()
        for at in (3, 30, len(content) // 2, len(content) - 5):
            wrong = bytearray(content)
            wrong[at] ^= 0x10
            self.bad(REFUSED, "verify: ", "verify", self.file(bytes(wrong), "backup"))
        self.bad(REFUSED, "verify: ", "verify", self.file(content[:-1], "backup"))
        self.bad(REFUSED, "no backup", "verify", self.file(b"something else entirely " * 9, "backup"))

    def test_a_small_bench(self):
        path = os.path.join(self.folder(), "bench.json")
        rows = "condition,condition-and,read-tag,read-type,linearizable,backup"
        self.good(
            *["bench", "--rows", rows, "--seconds", 1, "--tagged", 10000, "--streams", 1000],
            *["--backup-dir", self.folder(), "--json", path],
            timeout=180,
        )
        with open(path, encoding="utf-8") as file:
            results = {row["row"]: row for row in json.load(file)["rows"]}
        self.assertEqual(set(results), set(rows.split(",")))
        for name, row in results.items():
            self.assertGreater(row["events"], 0, name)
            self.assertEqual("ratio_to_base" in row, name != "linearizable")


class ImportTest(ToolCase):
    def line(self, stream, **more):
        return {"stream": stream, "type": "T", "id": str(uuid.uuid4()), **more}

    def write(self, lines):
        return self.file("".join(json.dumps(line) + "\n" for line in lines))

    def versions(self, stream):
        return [event["data"] for event in self.good("read", stream).lines()]

    def test_export_and_import_keep_every_byte(self):
        stream = self.new_stream()
        payloads = [b'{"a" : 1.10}', b"text\n", b"\xff\x00", b"", b" 1 ", b'{\n "a": 1\n}\n', b"null", b'"']
        for payload in payloads:
            self.good("append", stream, "--type", "T", "--data", "@" + self.file(payload, "data"))
        exported = self.good("export", "-", "--stream", stream)
        other = Other(self)
        self.good("import", "-", stdin=exported.raw, url=other.url)
        again = self.good("export", "-", "--stream", stream, url=other.url)
        kept = ("stream", "id", "type", "version", "tags", "data", "data_text", "data_base64")
        self.assertEqual(
            [{key: line.get(key) for key in kept} for line in again.lines()],
            [{key: line.get(key) for key in kept} for line in exported.lines()],
        )
        with other.node.connect() as connection:
            page = connection.call("read_stream", {"stream": stream})
        self.assertEqual([event[6] for event in page["events"]], payloads)

    def test_a_repeated_id_costs_no_other_event(self):
        stream = self.new_stream()
        lines = [self.line(stream, data=number) for number in range(10)]
        lines.insert(5, {**lines[2], "data": "again"})
        summary = self.good("import", "--skip-bad", self.write(lines)).json()
        self.assertEqual((summary["new"], summary["already_there"], summary["bad"]), (10, 1, 0))
        self.assertEqual(self.versions(stream), list(range(10)))

    def test_an_id_of_another_stream_costs_that_event_alone(self):
        stream, other = self.new_stream(), self.new_stream()
        taken = self.event(other)["id"]
        lines = [self.line(stream, data=number) for number in range(5)]
        lines[2]["id"] = taken
        path = self.write(lines)
        result = self.bad(REFUSED, [":3: EVENT_ID_CONFLICT"], "import", "--skip-bad", path)
        self.assertEqual((result.json()["new"], result.json()["bad"]), (4, 1))
        self.assertEqual(self.versions(stream), [0, 1, 3, 4])

    def test_without_skip_bad_it_ends_at_the_first(self):
        stream = self.new_stream()
        path = self.write([self.line(stream, data=1), {"stream": stream}, self.line(stream, data=2)])
        self.bad(REFUSED, ':2: "type" is missing', "import", path)
        summary = self.bad(REFUSED, ':2: "type" is missing', "import", "--skip-bad", path).json()
        self.assertEqual(summary["bad"], 1)
        self.assertEqual(self.versions(stream), [1, 2])

    def test_interrupted_it_says_what_was_done_and_goes_on_later(self):
        streams = [self.new_stream() for _ in range(20)]
        lines = [self.line(streams[number % 20], data=number) for number in range(3000)]
        path = self.write(lines)
        process = subprocess.Popen(
            [program("annal"), "import", path, "--rate", "500"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(),
        )
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, INTERRUPTED, err)
        stored = json.loads(out)["events"]
        self.assertTrue(0 < stored < 3000, stored)
        self.assertIn(f"{stored} events of the first", err.decode())
        self.assertIn("the same command again goes on", err.decode())
        summary = self.good("import", path).json()
        self.assertEqual((summary["events"], summary["already_there"]), (3000, stored))
        for number, stream in enumerate(streams):
            self.assertEqual(self.versions(stream), list(range(number, 3000, 20)))


class Other:
    """Another cluster, of one node, that ends with the test."""

    def __init__(self, case):
        from cluster import Cluster

        cluster = Cluster(1)
        case.addCleanup(cluster.close)
        cluster.start()
        self.node = cluster[1]
        self.url = cluster.url()


class LostNodesTest(Tool, OwnCase):
    def test_backup_without_a_leader_has_what_the_node_has(self):
        position = self.event(self.new_stream())["position"]
        node = self.cluster.followers()[0]
        self.good("digest", "--position", position, url="annal://" + node.address)
        for other in self.cluster.nodes.values():
            if other is not node:
                other.kill()
        path = os.path.join(self.folder(), "backup")
        result = self.good("backup", path, url="annal://" + node.address)
        self.assertIn("cannot tell whether it has all", result.err)
        self.assertGreaterEqual(result.json()["position"], position)
        self.good("verify", path)


if __name__ == "__main__":
    import unittest

    unittest.main()
