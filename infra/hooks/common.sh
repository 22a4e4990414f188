# What the hooks share. Sourced; whoever does it sets `hook` first.
# shellcheck shell=sh disable=SC2034,SC2154 # `hook` comes from there, and `root` is used there

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)

say() {
    printf 'hubwarden %s: %s\n' "$hook" "$1"
}

stop() {
    printf 'hubwarden %s: %s\n' "$hook" "$1" >&2
    exit 1
}

# need NAME: the azd environment must have it.
need() {
    eval "value=\${$1:-}"
    [ -n "$value" ] || stop "$1 is not set, so nothing was done. azd sets it (run 'azd provision' first); without azd, export it: docs/deploy.md says how."
}

need_az() {
    command -v az >/dev/null 2>&1 ||
        stop "the Azure CLI (az) is not on the PATH, so nothing was done. Install it (https://aka.ms/azcli), run 'az login', then 'azd hooks run $hook'."
    az account show --output none 2>/dev/null ||
        stop "az is not signed in, so nothing was done. Run 'az login', then 'azd hooks run $hook'."
}

# make_scratch: $scratch is a folder that nobody else can read, and gone at the end.
make_scratch() {
    scratch=$(umask 077 && mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
}

# lower TEXT
lower() {
    printf '%s' "$1" | tr '[:upper:]' '[:lower:]'
}
