"""The suites: what each needs installed and how it is started.

Everything installed goes below one cache folder, never into the source tree, and is pinned by a
file beside the suite. A runtime that is missing fails the run: a client not asked is not a client
that works.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("INTEROP_CACHE", HERE.parent.parent / "target" / "interop")).resolve()


@dataclass(frozen=True)
class Suite:
    name: str
    # Suites of one package share what is installed.
    package: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


VENV = CACHE / "python"
JAVA = CACHE / "java"
NODE_MODULES = CACHE / "kafkajs" / "node_modules"
GO = CACHE / "go"
LIBRDKAFKA = CACHE / "librdkafka"
REPOSITORY = HERE.parent.parent
# Our own client is part of the workspace, and is built where the workspace is.
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()

JAVA_COMMAND = [
    "java",
    "-Xmx256m",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-cp",
    f"{JAVA / 'classes'}:{JAVA / 'libs'}/*",
]
# kafkajs announces a change of its partitioner to everybody who does not silence it.
NODE = {"NODE_PATH": str(NODE_MODULES), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}


def _python(name: str, file: str) -> Suite:
    return Suite(name, "python", [str(VENV / "bin" / "python"), str(HERE / "python" / file)])


SUITES = [
    Suite("kcat", "kcat", [str(HERE / "kcat" / "suite.sh")]),
    Suite("librdkafka", "librdkafka", [str(LIBRDKAFKA / "debug" / "thalweg-interop-librdkafka")]),
    Suite("java", "java", [*JAVA_COMMAND, "Suite"]),
    Suite("franz-go", "go", [str(GO / "franz")]),
    Suite("sarama", "go", [str(GO / "sarama")]),
    _python("confluent-kafka", "confluent_kafka_suite.py"),
    _python("kafka-python", "kafka_python_suite.py"),
    _python("aiokafka", "aiokafka_suite.py"),
    Suite("kafkajs", "kafkajs", ["node", str(HERE / "kafkajs" / "suite.js")], NODE),
]


def group_suites(protocol: str) -> list[Suite]:
    """What administrators ask about groups of this protocol; for tests/interop/groups."""
    python = _python(f"confluent-{protocol}", "confluent_kafka_group_admin.py")
    return [
        Suite(f"java-{protocol}", "java", [*JAVA_COMMAND, "GroupAdmin", protocol]),
        Suite(python.name, python.package, [*python.command, protocol]),
    ]


class InstallFailed(Exception):
    """Why a package cannot be installed, with the end of what the installer said."""


def install(package: str) -> None:
    """Brings a suite's package, or "kafka", up to date; quick when it already is."""
    CACHE.mkdir(parents=True, exist_ok=True)
    _INSTALLERS[package](Log(CACHE / f"{package}.log"))


class Log:
    """Runs an installer's commands, keeping what they say until it is wanted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("")

    def run(self, command: list[str | Path], cwd: Path | None = None, **environment: str) -> None:
        words = [str(word) for word in command]
        if shutil.which(words[0]) is None:
            raise InstallFailed(f"{words[0]} is not installed on this machine")
        with self.path.open("a") as log:
            log.write(f"$ {' '.join(words)}\n")
            log.flush()
            done = subprocess.run(
                words,
                cwd=cwd,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if done.returncode != 0:
            end = "\n".join(self.path.read_text(errors="replace").splitlines()[-30:])
            raise InstallFailed(f"{' '.join(words)} exited with {done.returncode}; {self.path}:\n{end}")


def once(directory: Path, inputs: list[Path], make: Callable[[], None]) -> None:
    """Makes a folder anew unless it was made from these very inputs."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = directory / ".made-from"
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    make()
    stamp.write_text(digest)


def _kcat(log: Log) -> None:
    if shutil.which("kcat") is None:
        log.run(["apt-get", "update"])
        log.run(["apt-get", "install", "-y", "--no-install-recommends", "kcat"])


def _librdkafka(log: Log) -> None:
    manifest = HERE / "librdkafka" / "Cargo.toml"
    target = {"CARGO_TARGET_DIR": str(LIBRDKAFKA)}
    log.run(["cargo", "build", "--locked", "--manifest-path", manifest], **target)


def _thalweg(log: Log) -> None:
    words = ["build", "--locked", "-p", "thalweg-client", "--example", "group_member"]
    log.run(["cargo", *words], cwd=REPOSITORY)


def _java(log: Log) -> None:
    pom = HERE / "java" / "pom.xml"
    sources = sorted((HERE / "java" / "src").glob("*.java"))

    def make() -> None:
        maven = ["mvn", "-B", "-q", "-Dstyle.color=never", "-f", pom]
        log.run([*maven, "dependency:copy-dependencies", f"-DoutputDirectory={JAVA / 'libs'}"])
        log.run(["javac", "-d", JAVA / "classes", "-cp", f"{JAVA / 'libs'}/*", *sources])

    once(JAVA, [pom, *sources], make)


def _go(log: Log) -> None:
    GO.mkdir(exist_ok=True)
    log.run(["go", "build", "-mod=readonly", "-o", GO, "./..."], cwd=HERE / "go")


def _python_packages(log: Log) -> None:
    requirements = HERE / "python" / "requirements.txt"

    def make() -> None:
        log.run([sys.executable, "-m", "venv", VENV])
        log.run([VENV / "bin" / "pip", "install", "--no-deps", "-r", requirements])

    once(VENV, [requirements], make)


def _kafkajs(log: Log) -> None:
    manifests = [HERE / "kafkajs" / "package.json", HERE / "kafkajs" / "package-lock.json"]

    def make() -> None:
        for manifest in manifests:
            shutil.copy(manifest, NODE_MODULES.parent)
        log.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE_MODULES.parent)

    once(NODE_MODULES.parent, manifests, make)


def _kafka(log: Log) -> None:
    log.run([HERE / "kafka" / "run-kafka.sh", "--install"], INTEROP_CACHE=str(CACHE))


_INSTALLERS: dict[str, Callable[[Log], None]] = {
    "kafka": _kafka,
    "kcat": _kcat,
    "librdkafka": _librdkafka,
    "thalweg": _thalweg,
    "java": _java,
    "go": _go,
    "python": _python_packages,
    "kafkajs": _kafkajs,
}
