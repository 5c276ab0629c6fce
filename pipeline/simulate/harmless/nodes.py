"""Harmless things on nodes: they look like P14 and P18."""

from pipeline.simulate import deeds, deeds_files
from pipeline.simulate.clock import HOUR, MINUTE, SECOND, Process
from pipeline.simulate.machines import Host
from pipeline.simulate.scene import Scene


def _host(scene: Scene) -> Host | None:
    now = scene.world.now
    found = [
        host for host in scene.world.gpu_hosts if host.is_up and host.slow == 1.0 and not host.audit.stopped and host.quiet_until < now
    ]
    return scene.world.dice("harmless").choice(found) if found else None


def capping(scene: Scene) -> Process:
    """An admin caps the power of a node for an hour or two, under a ticket."""
    host = _host(scene)
    if host is None:
        return
    world, dice = scene.world, scene.world.dice("harmless")
    admin = dice.choice(world.people.admins)
    session = scene.enter(admin, host, world.login_hosts[0].address)
    ticket = world.ticket(admin, hosts=(host.name,))
    yield scene.soon(20, 120)
    for watts, slow in (("300", dice.uniform(1.2, 1.5)), ("700", 1.0)):
        deeds.sudo(session, f"/usr/bin/nvidia-smi -pl {watts}")
        deeds.run_command(session, ("nvidia-smi", "-pl", watts), "/usr/bin/nvidia-smi", as_root=True)
        host.slow = slow
        scene.chronicle.look_alike("capped_by_admin", "p14", admin, world.now, host=host.name, ticket=ticket)
        if slow > 1:
            yield world.now + round(dice.uniform(0.4, 0.8) * HOUR)
    scene.leave(session, world.login_hosts[0].address)


def passing_heat(scene: Scene) -> Process:
    """A node throttles by itself for a while."""
    host = _host(scene)
    if host is None:
        return
    host.slow = scene.world.dice("harmless").uniform(1.15, 1.5)
    host.kernel("mce: CPU12: Core temperature above threshold, cpu clock throttled (total events = 211)")
    person = scene.world.people.root
    scene.chronicle.look_alike("thermal_throttle", "p14", person, scene.world.now, host=host.name)
    yield scene.world.now + round(scene.world.dice("harmless").uniform(0.3, 3) * HOUR)
    host.kernel("mce: CPU12: Core temperature/speed normal")
    host.slow = 1.0


def reboot(scene: Scene) -> Process:
    """An idle node is rebooted for maintenance: auditd ends and starts by itself, a gap lies between."""
    found = [host for host in scene.world.gpu_hosts if host.is_up and host.free_gpus == host.gpus and not host.audit.stopped]
    if not found:
        return
    host = scene.world.dice("harmless").choice(found)
    deeds_files.audit_daemon(host, "DAEMON_END")
    host.is_up = False
    scene.chronicle.look_alike("reboot", "p18", scene.world.people.root, scene.world.now, host=host.name)
    yield scene.soon(300, 1500)
    host.boot()


def overflow(scene: Scene) -> Process:
    """The audit backlog overflows under load; the kernel says how many records it lost."""
    host = _host(scene)
    if host is None:
        return
    dice = scene.world.dice("harmless")
    lost = dice.randrange(20, 900)
    host.kernel("audit: audit_backlog=8193 > audit_backlog_limit=8192")
    host.kernel(f"audit: audit_lost={lost} audit_rate_limit=0 audit_backlog_limit=8192")
    scene.chronicle.look_alike("backlog_overflow", "p18", scene.world.people.root, scene.world.now, host=host.name)
    host.audit.stopped = True
    yield scene.world.now + dice.randrange(5, 40) * SECOND
    host.audit.stopped = False


def agent_upgrade(scene: Scene) -> Process:
    """An admin upgrades auditd under a ticket: rules are loaded anew, the daemon restarts."""
    host = _host(scene)
    if host is None:
        return
    world = scene.world
    admin = world.dice("harmless").choice(world.people.admins)
    session = scene.enter(admin, host, world.login_hosts[0].address)
    ticket = world.ticket(admin, hosts=(host.name,))
    yield scene.soon(30, 200)
    deeds.sudo(session, "/usr/bin/apt-get install --only-upgrade auditd")
    deeds_files.audit_switched(session, 0)
    deeds_files.audit_daemon(host, "DAEMON_END", admin.uid, session.number)
    host.audit.stopped = True
    yield world.now + round(world.dice("harmless").uniform(20, 90) * SECOND)
    host.audit.stopped = False
    deeds_files.audit_daemon(host, "DAEMON_START", admin.uid, session.number)
    deeds_files.audit_switched(session, 1)
    scene.chronicle.look_alike("agent_upgrade", "p18", admin, world.now, host=host.name, ticket=ticket)
    scene.leave(session, world.login_hosts[0].address)


def cut_off(scene: Scene) -> Process:
    """A node's shipper loses its connection; what it kept comes all at once, late and in order."""
    host = _host(scene)
    if host is None:
        return
    minutes = scene.world.dice("harmless").randrange(5, 45)
    host.cut_off(scene.world.now + minutes * MINUTE)
    scene.chronicle.look_alike("shipper_cut_off", "p18", scene.world.people.root, scene.world.now, host=host.name)
    return
    yield
