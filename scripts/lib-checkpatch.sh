# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Which of checkpatch's types do not hold here, for scripts/lint and scripts/series.

ignored=(
	FILE_PATH_CHANGES	# MAINTAINERS is not part of the overlay
	COMMIT_MESSAGE		# a patch file here is a diff below a short text
	MISSING_SIGN_OFF	# signed off when mailed
	NO_AUTHOR_SIGN_OFF	# likewise
)

# ... and for the selftests, which are programs:
ignored_in_tests=(
	VOLATILE		# user space has no READ_ONCE()
	MACRO_ARG_REUSE		# macros of tests are used with constants
	ENOSYS			# here it is what is expected of numbers of no system call
	BIT_MACRO		# user space has no BIT()
	STRCPY			# nor strscpy()
	MACRO_WITH_FLOW_CONTROL	# SKIP() and ASSERT_*() return, and so does what is made of them
)

# ... and for headers of user space, where there is no BIT():
ignored_in_uapi=(BIT_MACRO)

# ... and for trace events, whose form is that of all others in the kernel:
ignored_in_events=(
	OPEN_ENDED_LINE
	PARENTHESIS_ALIGNMENT
)

# ... and for the documents:
ignored_in_documents=(
	EMBEDDED_FILENAME	# a line of the log that names the page
)

# ... and for programs whose names have no ending, and patches that are data:
ignored_in_programs=(EXECUTE_PERMISSIONS)
ignored_in_data=(TRAILING_WHITESPACE)	# an empty line of a context is one space

# The types to ignore for a patch that touches these files of the kernel tree, or for them.
ignored_types()
{
	local file
	local -a types=("${ignored[@]}")
	for file in "$@"; do
		case $file in
		*.patch) types+=("${ignored_in_data[@]}") ;;
		tools/testing/aio-tools/*) types+=("${ignored_in_programs[@]}") ;;
		esac
		case $file in
		tools/testing/*) types+=("${ignored_in_tests[@]}") ;;
		include/uapi/*) types+=("${ignored_in_uapi[@]}") ;;
		include/trace/*) types+=("${ignored_in_events[@]}") ;;
		Documentation/*) types+=("${ignored_in_documents[@]}") ;;
		esac
	done
	printf '%s\n' "${types[@]}" | sort -u | paste -sd,
}
