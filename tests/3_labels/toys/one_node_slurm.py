"""A real Slurm of one node, in a folder of its own: started by a test, stopped with everything it started.

Nothing is installed or changed outside the folder: its own munge key and socket, ports, state, spool and logs.  It
takes root and the programs munged, slurmctld, slurmd, sbatch, squeue and scancel (Debian: munge slurmctld slurmd
slurm-client).  The node may promise more cores than the machine has, so that several jobs run at once.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

CONFIGURATION = """\
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5,batch_sched_delay=0,defer_batch=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
MessageTimeout=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory_MB} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=asleep Nodes={host} Default=NO MaxTime=INFINITE State=INACTIVE
"""

DAEMONS = ("munged", "slurmctld", "slurmscriptd", "slurmd")


class Slurm:
    """A one-node Slurm; ``environment`` is what its clients need."""

    def __init__(self, cores: int = 8) -> None:
        # Short, because a socket's path has at most 107 characters, and root's own, because munged insists.
        self.folder = Path(tempfile.mkdtemp(prefix="toy-slurm-", dir="/tmp"))
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.configuration = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            controller_port=free_port(),
            daemon_port=free_port(),
            folder=self.folder,
            cores=cores,
            memory_MB=16000,
        )
        (self.folder / "slurm.conf").write_text(self.configuration, encoding="utf-8")

    def start(self) -> None:
        """Start the three daemons and wait until the node is idle."""
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {"socket": "socket", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={self.folder}/munge.{name}" for option, name in files.items()]
        self._run("munged", "--foreground", "--force", "--num-threads=2", f"--key-file={key}", *options)
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged to listen")
        self.start_controller()
        self._run("slurmd", "-D")
        self._wait_for_node()

    def start_controller(self) -> None:
        """Start slurmctld, again after :meth:`stop_controller`; it finds its state."""
        self._run("slurmctld", "-D", "-i")
        if "slurmd" in self._daemons:
            self._wait_for_node()

    def _wait_for_node(self) -> None:
        states = ("idle", "mixed", "allocated")
        self._wait(lambda: self.client("sinfo", "--noheader", "--format=%T").split("\n")[0] in states, "a node")

    def stop_controller(self) -> None:
        """Stop slurmctld: from now on no client gets an answer; what runs goes on."""
        self._end("slurmctld")

    def client(self, *command: str) -> str:
        """Return what a client program prints; empty where it fails."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout if done.returncode == 0 else ""

    def jobs(self) -> list[str]:
        """Return the ids of jobs that wait or run."""
        return self.client("squeue", "--noheader", "--format=%i").split()

    def stop(self) -> None:
        """Cancel every job, stop the daemons, and end whatever still runs under this Slurm."""
        if "slurmctld" in self._daemons:
            self.client("scancel", "--full", "--user=root")
            deadline = time.monotonic() + 15.0
            while self.jobs() and time.monotonic() < deadline:
                time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name)
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """Return processes that were started under this Slurm, besides its daemons and this one."""
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    daemon = (entry / "comm").read_text(encoding="utf-8").strip() in DAEMONS
                    if not daemon and mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def logs(self) -> str:
        """Return the last lines of every log, for a failed start."""
        return "\n".join(
            f"{log.name}: {log.read_text('utf-8', 'replace')[-1500:]}" for log in self.folder.glob("*.log")
        )

    def _run(self, program: str, *arguments: str) -> None:
        found = shutil.which(program) or f"/usr/sbin/{program}"
        # A test run that is killed takes its daemons with it.
        tie = ["setpriv", "--pdeathsig", "TERM"]
        with (self.folder / f"{program}.out.log").open("ab") as out:
            self._daemons[program] = subprocess.Popen(
                [*tie, found, *arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _wait(self, holds, what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                logs = self.logs()
                self.stop()
                raise TimeoutError(f"Slurm did not start: waited {seconds:g} s for {what}\n{logs}")
            time.sleep(0.1)


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
