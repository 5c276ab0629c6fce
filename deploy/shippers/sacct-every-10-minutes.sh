#!/bin/sh
# From cron on the controller, every 10 minutes; windows overlap on purpose, rows that come twice merge.  The file is then shipped to
# logs.scheduler like any other.  The time zone travels with the times.
set -eu
SLURM_TIME_FORMAT='%Y-%m-%dT%H:%M:%S%z' exec sacct -aDP -S now-25minutes -E now \
  -o JobID,JobIDRaw,JobName,User,UID,Account,Partition,QOS,State,ExitCode,DerivedExitCode,Submit,Start,End,Elapsed,Timelimit,NNodes,NodeList,AllocTRES,Restarts \
  >>"${1:-/var/log/slurm/sacct.log}"
