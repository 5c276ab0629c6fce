"""Harmless things inside jobs: what code does for good reasons, and looks like P02 or P07."""

from pipeline.simulate import deeds
from pipeline.simulate.clock import Process
from pipeline.simulate.endings import SIGTERM
from pipeline.simulate.lines_access import Program, Subject
from pipeline.simulate.lines_training import SCRIPT
from pipeline.simulate.scene import Scene
from pipeline.simulate.training import RANK_PROGRAM
from pipeline.simulate.wares import ProjectJob


def running(scene: Scene, *, probe: bool = True) -> ProjectJob | None:
    """Some job that runs and has its ranks."""
    found = [
        job for job in scene.site.slurm.running.values()
        if isinstance(job, ProjectJob) and not job.over and not job.protected and job.shares and job.shares[-1].ranks
        and (job.has_probe or not probe)
    ]  # fmt: skip
    return scene.world.dice("harmless").choice(found) if found else None


def loader_cleaned_up(scene: Scene) -> Process:
    """A rank ends a worker of its own data loader: a signal from inside, to a process that is not a rank."""
    job = running(scene)
    if job is None:
        return
    share = job.shares[0]
    rank, worker = share.ranks[0], share.host.process()
    fields = {"pid": rank.pid, "uid": job.owner.uid, "means": "os.kill", "signal": SIGTERM, "target_pid": worker}
    fields["through"] = [f"{job.run.folder}/{SCRIPT}"]
    scene.site.training.probe(share.host, "signal_requested", job, **fields)
    subject = Subject.daemon(job.owner.uid, job.owner.gid)
    pids = (share.agent_pid or share.stepd_pid, rank.pid)
    deeds.send_signal(share.host, subject, pids, RANK_PROGRAM, (worker, subject, "pt_data_worker"), SIGTERM)
    scene.chronicle.look_alike("loader_cleaned_up", "p02", job.owner, scene.world.now, job, host=share.host.name)
    return
    yield


PROGRAMS = (
    ("/usr/bin/ffmpeg", ("ffmpeg", "-i", "clip.mp4", "-f", "rawvideo", "-")),
    ("/usr/bin/git", ("git", "rev-parse", "HEAD")),
    ("/usr/local/cuda/bin/nvcc", ("nvcc", "--version")),
    ("/usr/bin/ninja", ("ninja", "-v")),
)


def loader_starts_programs(scene: Scene) -> Process:
    """A job starts ffmpeg, git, nvcc or ninja."""
    job = running(scene)
    if job is None:
        return
    exe, argv = scene.world.dice("harmless").choice(PROGRAMS)
    share = job.shares[0]
    rank = share.ranks[0]
    fields = {"pid": rank.pid, "uid": job.owner.uid, "means": "subprocess.Popen", "executable": exe, "arguments": list(argv)}
    scene.site.training.probe(share.host, "process_spawned", job, **fields)
    deeds.execute(share.host, Subject.daemon(job.owner.uid, job.owner.gid), rank.pid, argv, exe, job.run.folder)
    scene.chronicle.look_alike("loader_starts_program", "p07", job.owner, scene.world.now, job, host=share.host.name)
    return
    yield


def odd_pickle(scene: Scene) -> Process:
    """The owner's own checkpoint names a class of the owner's own code, or functools.partial."""
    job = running(scene)
    if job is None or not job.run.checkpoints:
        return
    module, name = scene.world.dice("harmless").choice(
        (("megatron.core.enums", "ModelType"), ("functools", "partial"), ("teamlib.config", "Config"))
    )
    share = job.shares[0]
    fields = {"pid": share.ranks[0].pid, "uid": job.owner.uid, "path": job.run.checkpoints[-1].path}
    scene.site.training.probe(share.host, "global_unpickled", job, module=module, name=name, **fields)
    scene.chronicle.look_alike("odd_pickle", "p07", job.owner, scene.world.now, job)
    return
    yield


def debugger(scene: Scene) -> Process:
    """The owner attaches a debugger to an own rank, stops it and lets it go on: looks suspicious, is the owner."""
    job = running(scene, probe=False)
    if job is None:
        return
    share = job.shares[0]
    session = deeds.log_in(scene.world, share.host, job.owner, scene.world.login_hosts[0].address)
    yield scene.soon(10, 120)
    if not job.over:
        rank = share.told[0]
        deeds.run_command(session, ("py-spy", "dump", "--pid", str(rank.pid)), "/usr/bin/py-spy")
        target = (rank.pid, Subject.daemon(job.owner.uid, job.owner.gid), "python3")
        pids = (session.shell_pid, share.host.process())
        gdb = Program("gdb", "/usr/bin/gdb", ("gdb", "-p", str(rank.pid)))
        for signal in (19, 18):
            deeds.send_signal(share.host, session.subject(), pids, gdb, target, signal)
            yield scene.soon(3, 30)
        scene.chronicle.look_alike("debugging", "p01", job.owner, scene.world.now, job, host=share.host.name)
    scene.leave(session, scene.world.login_hosts[0].address)
