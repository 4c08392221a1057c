#!/usr/bin/env bash
# Installs the Debian packages of build/packages.txt that are missing, and
# creates the unprivileged user Chrome, Xvfb and PulseAudio run as when the
# worker is root. Silent and quick when nothing is missing.
#
#   build/setup.sh [--print] [all | GROUP...]     default: all
#
# --print lists the packages instead of installing them. SETUP_UID, when
# set, is the id of a user that has yet to be created (the image pins it).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/packages.txt
user=tapedeck
home=/var/lib/tapedeck
policy=/usr/sbin/policy-rc.d
attempts=4

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

groups_known() { sed -n 's/^\[\([a-z]*\)\].*$/\1/p' "$list"; }

# packages GROUP prints the packages of one group, one a line.
packages() {
	local line group=
	while IFS= read -r line || [[ -n $line ]]; do
		line=${line%%#*}
		line=${line//[[:space:]]/}
		case $line in
		'') ;;
		'['*']') group=${line:1:-1} ;;
		*) [[ $group != "$1" ]] || printf '%s\n' "$line" ;;
		esac
	done <"$list"
}

as_root() {
	if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# missing prints those of its arguments that dpkg does not have installed.
missing() {
	local -A have=()
	local name state
	while read -r name state; do
		[[ $state == installed ]] && have[$name]=1
	done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
	for name in "$@"; do
		[[ -n ${have[$name]:-} ]] || printf '%s\n' "$name"
	done
}

# Only what this run made is undone: a container image often has its own
# policy-rc.d, and that one stays.
guarded=
log=
cleanup() {
	[[ -z $guarded ]] || as_root rm -f "$policy"
	[[ -z $log ]] || rm -f "$log"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# guard_services stops redis-server and nginx from being started by their
# packages: the tests run their own, on free ports.
guard_services() {
	[[ ! -e $policy ]] || return 0
	guarded=1
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" \
		>>"$log" 2>&1 </dev/null
}

# install_packages tries a few times, since a mirror in the middle of its
# update, or a network that is just coming up, is gone a little later.
install_packages() {
	local try
	log=$(mktemp)
	guard_services
	for ((try = 1; try <= attempts; try++)); do
		if apt update && apt install -y --no-install-recommends "$@"; then
			return 0
		fi
		if ((try < attempts)); then
			say "apt-get failed (attempt $try of $attempts), trying again in $((try * 5)) s"
			sleep $((try * 5))
		fi
	done
	tail -n 25 "$log" >&2
	die "apt-get could not install: $* (the names are those of Debian 12)"
}

# The user owns its home, and nothing can log in as it.
create_user() {
	getent passwd "$user" >/dev/null || useradd --system --user-group --no-log-init \
		--no-create-home --home-dir "$home" --shell /usr/sbin/nologin \
		--comment 'Tapedeck recorder' ${SETUP_UID:+--uid "$SETUP_UID"} "$user"
	[[ -d $home ]] || install -d -o "$user" -g "$(id -gn "$user")" -m 0750 "$home"
}

user_missing() {
	[[ " ${wanted[*]} " == *' runtime '* && $(id -u) -eq 0 ]] || return 1
	[[ ! -d $home ]] || ! getent passwd "$user" >/dev/null
}

print_only=
wanted=()
for argument in "${@:-all}"; do
	case $argument in
	--print) print_only=1 ;;
	all) mapfile -t -O "${#wanted[@]}" wanted < <(groups_known) ;;
	*)
		grep -qx -- "$argument" < <(groups_known) ||
			die "unknown group \"$argument\"; known are: all $(groups_known | paste -sd ' ')"
		wanted+=("$argument")
		;;
	esac
done
[[ ${#wanted[@]} -gt 0 ]] || mapfile -t wanted < <(groups_known)

mapfile -t names < <(for group in "${wanted[@]}"; do packages "$group"; done | sort -u)
if [[ -n $print_only ]]; then
	printf '%s\n' "${names[@]}"
	exit 0
fi

command -v dpkg-query >/dev/null || die "needs Debian (dpkg and apt); elsewhere use the container image"
mapfile -t absent < <(missing "${names[@]}")

todo=
[[ ${#absent[@]} -eq 0 ]] || todo="installing with apt: ${absent[*]}"
! user_missing || todo="${todo:+$todo; }creating the system user $user"
[[ -n $todo ]] || exit 0

say "$todo"
[[ $(id -u) -eq 0 ]] || command -v sudo >/dev/null ||
	die "this needs root and there is no sudo; as root run: $here/setup.sh ${wanted[*]}"
[[ ${#absent[@]} -eq 0 ]] || install_packages "${absent[@]}"
! user_missing || create_user
