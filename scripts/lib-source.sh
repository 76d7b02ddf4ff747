# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # cache is a variable of the script that reads this file.
#
# Debian's source packages, for the scripts that need some. They set cache, a directory
# in which there is one "apt" while something is fetched.

# apt with the archives that this machine gets its Debian packages from, but for
# sources, too, and with lists and settings of its own.
source_apt()
{
	local apt=$cache/apt
	apt-get -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/parts" \
		-o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" \
		-o "APT::Sandbox::User=root" -o "Acquire::Languages=none" "$@"
}

source_versions()
{
	apt-cache -o "Dir::Etc::sourcelist=$cache/apt/sources.list" -o "Dir::Etc::sourceparts=$cache/apt/parts" \
		-o "Dir::State::lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache" \
		showsrc --only-source "$1" | sed -n 's/^Version: //p' | sort -rVu
}

list_sources()
{
	# shellcheck disable=SC2016 # apt's variables, not the shell's.
	apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' \
		'Component: main' | sort -u | while read -r site suite; do
		echo "deb-src [signed-by=$1] $site $suite main"
	done
}

source_lists()
{
	local apt=$cache/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	# Fetched once in a run, and only if something is missing.
	if [ -d "$apt" ]; then return; fi
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
	[ -f "$keyring" ] || keyring=/etc/apt/trusted.gpg.d
	list_sources "$keyring" >"$apt/sources.list"
	if ! [ -s "$apt/sources.list" ]; then
		# A machine that never asked its mirror.
		$(if [ "$(id -u)" != 0 ]; then echo sudo; fi) apt-get update
		list_sources "$keyring" >"$apt/sources.list"
	fi
	if ! [ -s "$apt/sources.list" ]; then
		echo "apt has no source of Debian packages"
		return 1
	fi
	source_apt update
}

# The newest version that the mirror really has: a security update's source may be
# announced and not be there. A version that is given is tried before the others.
#
#   fetch_source NAME DIR [VERSION]: the package's files are in DIR.
fetch_source()
{
	local name=$1 dir=$2 version
	source_lists
	for version in ${3:-} $(source_versions "$name"); do
		rm -rf "$dir"
		mkdir -p "$dir"
		if (cd "$dir" && source_apt --download-only source "$name=$version"); then return; fi
	done
	rm -rf "$dir"
	echo "no source of $name can be had"
	return 1
}
