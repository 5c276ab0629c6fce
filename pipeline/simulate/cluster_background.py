"""The hum of a large cluster: heartbeats of hosts, visitors, scanners, and hardware that fails by the node-day.

Heartbeats come once in the plan's width of coverage, instead of every ten minutes; the settings of the site say so too.
"""

from pipeline.simulate import background, deeds
from pipeline.simulate import lines_access as text
from pipeline.simulate.clock import DAY, HOUR, MINUTE, Process
from pipeline.simulate.fates import hardware, node_fail
from pipeline.simulate.machines import Host
from pipeline.simulate.people import UNSET
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import ProjectJob

# Infrastructure failures in 1,000 node-days: 2.34 and 6.50 at RSC, 3.79 at Llama 3.  Two lemon nodes in 250 have thirty times that.
PER_NODE_DAY = 0.0042
IDLE_PERIODS = 6  # in a story nodes report seldom while nothing runs there, as with Slurm's HealthCheckNodeState=ALLOC
LEMONS, LEMON_FACTOR = 0.008, 30


def hum(scene: Scene) -> None:
    """Start everything of this module."""
    world = scene.world
    thin = scene.plan.thinning
    for host in world.hosts:
        world.clock.start(heartbeats(scene, host))
    world.clock.start(visitors(scene, thin))
    for host in world.login_hosts:
        world.clock.start(scanners(scene, host, thin))
    world.clock.start(hazards(scene))
    for person in world.people.members:
        dice = world.dice("holidays")
        if dice.random() < 0.4:
            begin = world.start + round(dice.random() * (world.end - world.start))
            scene.away.goes(person, begin, begin + round(dice.uniform(1, 7) * DAY))


def heartbeats(scene: Scene, host: Host) -> Process:
    """A timer checks the node and rsyslog marks, just after each width of coverage has begun."""
    world = scene.world
    dice = world.dice("background")
    period = scene.plan.heartbeat_minutes * MINUTE
    message = text.user_message(1, 0, UNSET, UNSET, text.unit("node-health"))
    idle_periods = IDLE_PERIODS if scene.plan.plot else 1
    while True:
        yield (world.now // period + 1) * period + dice.randrange(800, 60_000)
        is_idle = host.gpus > 0 and host.free_gpus == host.gpus
        if host.is_up and not (is_idle and world.now // period % idle_periods):
            host.audit.event([("SERVICE_START", message)])
            host.system.line("rsyslogd", "-- MARK --")


def visitors(scene: Scene, thin: int) -> Process:
    """Members log in to look around, admins on nodes."""
    world = scene.world
    dice = world.dice("background")
    per_day = 4 * len(world.people.members) / thin
    while True:
        yield world.now + round(dice.expovariate(1) * DAY / per_day)
        if dice.random() < 0.08:
            host = dice.choice(world.gpu_hosts)
            if host.is_up:
                origin = world.login_hosts[0].address
                session = deeds.log_in(world, host, dice.choice(world.people.admins), origin)
                deeds.sudo(session, dice.choice(("/usr/bin/nvidia-smi -q", "/usr/bin/systemctl status slurmd", "/usr/bin/dmesg -T")))
                world.clock.start(background.stay(world, session, origin))
        else:
            person = dice.choice(world.people.members)
            if scene.present(person):
                session = deeds.log_in(world, dice.choice(world.login_hosts), person)
                world.clock.start(background.stay(world, session, ""))


def scanners(scene: Scene, host: Host, thin: int) -> Process:
    """Strangers try passwords."""
    world = scene.world
    dice = world.dice("background")
    while True:
        yield world.now + round(dice.expovariate(1) * HOUR * thin / 4)
        user = dice.choice(("root", "invalid user admin", "invalid user test"))
        address = f"203.0.113.{dice.randrange(1, 255)}"
        host.auth.line(f"sshd[{host.process()}]", f"Failed password for {user} from {address} port {dice.randrange(20_000, 60_000)} ssh2")


def hazards(scene: Scene) -> Process:
    """Hardware fails by the node-day, more often on a few lemons; who is hit is who runs there."""
    world, slurm = scene.world, scene.site.slurm
    dice = world.dice("hazards")
    count = len(world.gpu_hosts)
    lemons = set(dice.sample(range(count), max(1, round(count * LEMONS))))
    weights = [LEMON_FACTOR if number in lemons else 1 for number in range(count)]
    rate = PER_NODE_DAY * sum(weights)
    while True:
        yield world.now + round(dice.expovariate(1) * DAY / rate)
        host = dice.choices(world.gpu_hosts, weights)[0]
        jobs = [
            job for job in slurm.jobs_on(host) if isinstance(job, ProjectJob) and not job.over and not job.protected and not job.holds_only
        ]
        jobs = [job for job in jobs if job.shares[-1].ranks]
        if not jobs or host.quiet_until > world.now or not host.is_up:
            continue
        job = dice.choice(jobs)
        story = node_fail if dice.random() < 0.15 else hardware
        world.clock.start(story(scene.site, job, next(share for share in job.shares if share.host is host)))
        if world.gpu_hosts.index(host) in lemons:
            scene.chronicle.look_alike("lemon_node", "p14", world.people.root, world.now, job, host=host.name)
