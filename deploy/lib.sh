# What quickstart and test share: from an interpreter to an environment in .venv that has the command `trainwatch`.
# Sourced with `set -euo pipefail` from the top of the checkout.  Says what it does; safe to run twice and side by side.

started=$SECONDS

say() { printf '== %s\n' "$*" >&2; }

fail() { # fail MESSAGE ADVICE
  printf 'error: %s\n  what to do: %s\n' "$1" "$2" >&2
  exit 1
}

system_package() { # system_package NAME...: installs it when we may, else names it
  command -v apt-get >/dev/null || fail "$* is missing" "install it with this system's package manager, then try again."
  [ "$(id -u)" = 0 ] || fail "$* is missing, and only root can install it" "run as root: apt-get install $*"
  say "system package $*: installing"
  export DEBIAN_FRONTEND=noninteractive
  local log
  log=$(mktemp)
  # The lists may be missing (minimal images) or old; a failed update alone is no reason to stop.
  apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >"$log" 2>&1 || true
  if ! apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" </dev/null >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    fail "apt-get install $* failed" "check the network and the package sources, then try again."
  fi
  rm -f "$log"
}

private_packages() { # private_packages FOLDER NAME...: unpacked there and not installed, so that they take nothing over; missing is no error
  local folder=$1 work complete
  shift
  complete="$folder/complete-$(echo "$*" | cksum | cut -d' ' -f1)"
  [ -e "$complete" ] && return
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 0
  say "packages $*: unpacking in $folder"
  mkdir -p "$folder"
  work=$(mktemp -d "$folder/download.XXXXXX")
  mkdir "$work/partial"
  apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=0 -o Acquire::http::Timeout=20 update </dev/null >/dev/null 2>&1 || true
  local name package
  # One by one: some exclude one another.
  for name in "$@"; do
    apt-get -q -y --no-install-recommends --download-only -o Dir::Cache::archives="$work" -o Debug::NoLocking=1 install "$name" \
      </dev/null >"$work/log" 2>&1 || { say "$name: not to be had; its tests are skipped"; rm -rf "$work"; return 0; }
  done
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$folder"; done
  touch "$complete"
  rm -rf "$work"
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() { # sets $python
  local named=${TRAINWATCH_PYTHON:-${PYTHON:-}} candidate
  if [ -n "$named" ]; then
    command -v "$named" >/dev/null || fail "there is no Python at $named" "correct TRAINWATCH_PYTHON or PYTHON."
    new_enough "$named" || fail "$named is older than Python 3.11" "set TRAINWATCH_PYTHON to a newer one."
    python=$named
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
      python=$candidate
      return
    fi
  done
  fail "no Python of version 3.11 or later was found" "install one (Debian 12: apt-get install python3), or set TRAINWATCH_PYTHON."
}

make_environment() { # make_environment LOCK...: .venv holds what the locks list, and the command
  find_python
  mkdir -p .trainwatch
  # In a subshell, so that no process started later inherits the lock.
  (
    flock 9
    build_environment "$@"
  ) 9>.trainwatch/environment.lock
}

build_environment() {
  local requirements=() lock
  stamp_is_current "$@" && return
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1 || [ "$(identity .venv/bin/python)" != "$(identity "$python")" ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      # Debian and Ubuntu split the standard library.
      system_package "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" ca-certificates
    fi
    say "environment: making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
  fi
  say "environment: installing from $*; minutes where downloads are slow"
  for lock in "$@"; do requirements+=(-r "$lock"); done
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes "${requirements[@]}" </dev/null ||
    fail "pip could not install from $*" "check the network and pip's configuration (mirror, proxy, certificates), then try again."
  # The checkout itself, without a build: it is on the path, and the command stands beside the interpreter.
  printf '%s\n' "$PWD" >"$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/trainwatch.pth"
  cat >.venv/bin/trainwatch <<'END'
#!/bin/sh
# -P: a folder named pipeline where the user happens to be is not ours.
exec "$(dirname "$(readlink -f "$0")")/python" -P -m pipeline "$@"
END
  chmod +x .venv/bin/trainwatch
  write_stamp "$@"
}

identity() { "$1" -c 'import sys; print(sys.version_info[:2], sys.base_prefix)' 2>/dev/null || echo none; }

# .venv/made-from/ has one file for each thing the environment was made from, so that quickstart, which needs one lock, and test,
# which needs two, do not undo one another's work.
ingredients() { # prints NAME DIGEST
  local file
  printf 'interpreter %s\n' "$(printf '%s %s' "$(identity "$python")" "$PWD" | sha256sum | cut -c1-32)"
  for file in deploy/lib.sh "$@"; do printf '%s %s\n' "${file//\//-}" "$(sha256sum <"$file" | cut -c1-32)"; done
}

stamp_is_current() {
  local name digest
  .venv/bin/python -c '' 2>/dev/null || return 1
  while read -r name digest; do
    [ "$(cat ".venv/made-from/$name" 2>/dev/null)" = "$digest" ] || return 1
  done < <(ingredients "$@")
}

write_stamp() {
  local name digest
  mkdir -p .venv/made-from
  while read -r name digest; do printf '%s\n' "$digest" >".venv/made-from/$name"; done < <(ingredients "$@")
}
