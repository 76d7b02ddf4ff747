# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # cache is a variable of the script that reads this file.
#
# Debian's source packages, for the scripts that need some. They set cache, a directory
# in which there is one "apt" while something is fetched.

. "$SCRIPTS/lib-apt.sh"

# apt with the archives that this machine gets its Debian packages from, but for
# sources, too, and with lists and settings of its own.
source_apt()
{
	local -a apt_options
	private_apt "$cache/apt"
	apt-get "${apt_options[@]}" "$@"
}

source_versions()
{
	local -a apt_options
	private_apt "$cache/apt"
	apt-cache "${apt_options[@]}" showsrc --only-source "$1" | sed -n 's/^Version: //p' | sort -rVu
}

list_sources()
{
	# shellcheck disable=SC2016 # apt's variables, not the shell's.
	apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' \
		'Component: main' | sort -u | while read -r site suite; do
		source_line deb-src "$site" "$suite"
	done
}

# With a version that is a backport, the suite of those is a source as well: the package
# may come from there although that is none of the machine's sources.
source_lists()
{
	local apt=$cache/apt site codename
	# Fetched once in a run, and only if something is missing.
	if [ -d "$apt" ]; then return; fi
	mkdir -p "$apt"
	list_sources >"$apt/sources.list"
	if ! [ -s "$apt/sources.list" ]; then
		# A machine that never asked its mirror.
		$(if [ "$(id -u)" != 0 ]; then echo sudo; fi) apt-get update
		list_sources >"$apt/sources.list"
	fi
	if ! [ -s "$apt/sources.list" ]; then
		echo "apt has no source of Debian packages"
		return 1
	fi
	if [[ ${1:-} == *~bpo* ]]; then
		site=$(debian_site)
		codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
		source_line deb-src "$site" "$codename-backports" >>"$apt/sources.list"
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
	source_lists "${3:-}"
	for version in ${3:-} $(source_versions "$name"); do
		rm -rf "$dir"
		mkdir -p "$dir"
		if (cd "$dir" && source_apt --download-only source "$name=$version"); then return; fi
	done
	rm -rf "$dir"
	echo "no source of $name can be had"
	return 1
}

# The upstream source of a package of this version, as an archive in DIR. The mirror may
# have that, and no longer the files of the Debian revision.
#
#   fetch_upstream NAME DIR VERSION: prints the name of the archive.
fetch_upstream()
{
	local name=$1 dir=$2 wanted=$3 version file
	local upstream=${wanted#*:}
	upstream=${upstream%-*}
	source_lists "$wanted" >&2 || return
	for version in "$wanted" $(source_versions "$name"); do
		if [[ $version != *"$upstream"-* ]]; then continue; fi
		rm -rf "$dir"
		mkdir -p "$dir"
		(cd "$dir" && source_apt --download-only source "$name=$version") >&2 || true
		file=$(compgen -G "$dir/${name}_$upstream.orig.tar.*[a-z0-9]" | grep -v '\.asc$' | head -n 1) || true
		if [ -n "$file" ]; then
			echo "$file"
			return
		fi
	done
	rm -rf "$dir"
	echo "no source of $name $upstream can be had" >&2
	return 1
}
