"""The hum of the machines: cron on every host, rsyslog's marks, people logging in to look around, scanners at the door.

It is a good part of the volume, and it is what proves that a host's logs were being heard: a health check leaves audit records
in every ten minutes of the clock, rsyslog a mark in every ten.
"""

from pipeline.simulate import deeds
from pipeline.simulate import lines_access as text
from pipeline.simulate.clock import DAY, HOUR, MINUTE, SECOND, Process
from pipeline.simulate.machines import Host
from pipeline.simulate.people import UNSET
from pipeline.simulate.world import World

CRON = "/usr/sbin/cron"
CHECK_PERIOD = 10 * MINUTE
CRON_PERIOD = 30 * MINUTE
MARK_PERIOD = 10 * MINUTE


def hum(world: World) -> None:
    """Start everything of this module."""
    for host in world.hosts:
        world.clock.start(health_checks(world, host))
        world.clock.start(cron(world, host))
        world.clock.start(marks(world, host))
    world.clock.start(visitors(world))
    for host in world.login_hosts:
        world.clock.start(scanners(world, host))


def health_checks(world: World, host: Host) -> Process:
    """A systemd timer checks the node just after every tenth minute."""
    dice = world.dice("background")
    while True:
        yield (world.now // CHECK_PERIOD + 1) * CHECK_PERIOD + dice.randrange(800, 2500)
        for kind in ("SERVICE_START", "SERVICE_STOP"):
            if host.is_up:
                host.audit.event([(kind, text.user_message(1, 0, UNSET, UNSET, text.unit("node-health")))])
            yield world.now + dice.randrange(300, 4000)


def cron(world: World, host: Host) -> Process:
    """Root's own jobs every half hour; every other time they also show in auth.log."""
    dice = world.dice("background")
    while True:
        yield (world.now // CRON_PERIOD + 1) * CRON_PERIOD + dice.randrange(800, 2500)
        if host.is_up:
            _cron_job(host, seen_in_auth_log=(world.now // CRON_PERIOD) % 2 == 0)


def _cron_job(host: Host, *, seen_in_auth_log: bool) -> None:
    pid, session = host.process(), host.new_session()
    for kind, operation, auid, ses in (
        ("USER_ACCT", "accounting", UNSET, UNSET),
        ("CRED_ACQ", "setcred", UNSET, UNSET),
        ("LOGIN", "", 0, session),
        ("USER_START", "session_open", 0, session),
        ("CRED_DISP", "setcred", 0, session),
        ("USER_END", "session_close", 0, session),
    ):
        if kind == "LOGIN":
            host.audit.event([(kind, text.login(pid, 0, session))])
        else:
            message = text.pam(operation, "root", CRON, "?", "?", "cron")
            host.audit.event([(kind, text.user_message(pid, 0, auid, ses, message))])
    if seen_in_auth_log:
        host.auth.line(f"CRON[{pid}]", "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)")
        host.auth.line(f"CRON[{pid}]", "pam_unix(cron:session): session closed for user root")


def marks(world: World, host: Host) -> Process:
    """rsyslog says that it is there."""
    yield world.now + world.dice("background").randrange(MARK_PERIOD)
    while True:
        if host.is_up:
            host.system.line("rsyslogd", "-- MARK --")
        yield world.now + MARK_PERIOD


def visitors(world: World) -> Process:
    """Members log in on login nodes, admins on any node now and then to look after it."""
    dice = world.dice("background")
    per_day = 4 * len(world.people.members)
    while True:
        yield world.now + round(dice.expovariate(1) * DAY / per_day)
        if dice.random() < 0.08:
            host = dice.choice(world.gpu_hosts)
            if host.is_up:
                session = deeds.log_in(world, host, dice.choice(world.people.admins), world.login_hosts[0].address)
                deeds.sudo(session, dice.choice(("/usr/bin/nvidia-smi -q", "/usr/bin/systemctl status slurmd", "/usr/bin/dmesg -T")))
                world.clock.start(stay(world, session, world.login_hosts[0].address))
        else:
            session = deeds.log_in(world, dice.choice(world.login_hosts), dice.choice(world.people.members))
            world.clock.start(stay(world, session, ""))


def stay(world: World, session: deeds.Session, origin: str) -> Process:
    """Somebody who looks around leaves again."""
    yield world.soon("background", 120, 4 * 3600)
    if session.host.is_up:
        deeds.log_out(session, origin)


def scanners(world: World, host: Host) -> Process:
    """Strangers try passwords."""
    dice = world.dice("background")
    while True:
        yield world.now + round(dice.expovariate(1) * HOUR / 4)
        address = f"203.0.113.{dice.randrange(1, 255)}"
        for _ in range(dice.randrange(1, 4)):
            pid, port = host.process(), dice.randrange(20_000, 60_000)
            user = dice.choice(("root", "invalid user admin", "invalid user test", "invalid user from x"))
            host.auth.line(f"sshd[{pid}]", f"Failed password for {user} from {address} port {port} ssh2")
            yield world.now + dice.randrange(SECOND, 4 * SECOND)
