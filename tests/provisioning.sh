# What every provision.sh begins with; to be sourced.

fail() {
    echo "provision.sh: $*" >&2
    exit 1
}

need_programs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null ||
            fail "$program is missing, expected Debian 12 or a system derived from it."
    done
}

need_packages() {
    local package status missing=()
    for package in "$@"; do
        status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || status=missing
        [ "$status" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] || fail "needs \`apt-get install --no-install-recommends ${missing[*]}\`, then start again."
}
