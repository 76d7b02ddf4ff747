# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# apt with settings of its own, for the scripts that need more of Debian's archive than
# the machine's settings say. No host is named: the archive is the one that the machine
# gets its packages from. The machine's own settings and lists are left as they are.

debian_keyring()
{
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -f "$keyring" ] || keyring=/etc/apt/trusted.gpg.d
	echo "$keyring"
}

# The machine's archive of Debian packages (not the one of security updates).
debian_site()
{
	local site
	# shellcheck disable=SC2016 # apt's variable, not the shell's.
	site=$({
		apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian'
		# A machine that never asked its archive does not know who it is.
		apt-get indextargets --format '$(SITE)' 'Created-By: Packages'
	} 2>/dev/null | grep -E '/debian/?$' | head -n 1) || true
	if [ -z "$site" ]; then
		echo "apt has no source of Debian packages" >&2
		return 1
	fi
	echo "$site"
}

# A line for a list of sources: deb or deb-src, the archive, the suite.
source_line()
{
	echo "$1 [signed-by=$(debian_keyring)] $2 $3 main"
}

# Set apt_options: with them, apt has its lists and archives in the directory $1, and its
# sources are $1/sources.list and $1/parts.
private_apt()
{
	mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/parts"
	# shellcheck disable=SC2034 # For who calls this.
	apt_options=(-o "Dir::Etc::sourcelist=$1/sources.list" -o "Dir::Etc::sourceparts=$1/parts"
		-o "Dir::State::lists=$1/lists" -o "Dir::Cache=$1/cache"
		-o "APT::Sandbox::User=root" -o "Acquire::Languages=none")
}
