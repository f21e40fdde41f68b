# shellcheck shell=bash disable=SC2154  # `name` is the caller's
# Debian roots for tests, sourced by `run` and `bare`, which set `name`. They are kept outside the checkout, and
# made anew after a week or when what makes them changed.
#
# `bookworm`, `trixie`: a Debian as debootstrap makes it, and in apt's cache what the tests install.
# `oldest`: Debian 12 with what Ubuntu 22.04 has, or older: systemd 247 (22.04: 249), Redis 6.0.16, redis-py 3.5.3,
# bottle 0.12.19, waitress 1.4.4, all of Debian 11; PyYAML 5.4.1 and setuptools 59.6 from PyPI.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
cache=${XDG_CACHE_HOME:-/var/cache}/netify-agent-e2e
mirror=${E2E_MIRROR:-} # empty: debootstrap knows one

say() { printf '%s: %s\n' "$name" "$*"; }
skip() { printf '\n*** %s SKIPPED: %s ***\n\n' "$name" "$*" >&2; exit "${E2E_SKIP_STATUS:-1}"; }

need_tools() {
    [ "$(id -u)" -eq 0 ] || skip 'it takes root to run a container'
    command -v apt-get >/dev/null || skip 'it takes a Debian or an Ubuntu to make one'
    local tool missing=()
    for tool in debootstrap:debootstrap systemd-nspawn:systemd-container ip:iproute2; do
        command -v "${tool%:*}" >/dev/null || missing+=("${tool#*:}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing with apt-get: ${missing[*]}"
    "$root/packaging/apt" update || true
    "$root/packaging/apt" install --no-install-recommends "${missing[@]}" ||
        skip "${missing[*]} can't be installed"
}

# What a new gateway has, and in apt's cache what the package asks for: the tests have no network.
depends=$(sed -n '/^Depends:/,/^Suggests:/p' "$root/packaging/debian/control" |
    sed -n 's/^ \([a-z0-9-]*\).*,$/\1/p' | grep -v '^\$' | sort -u | tr '\n' ' ')
include=systemd,systemd-sysv,dbus,iproute2,curl,ca-certificates,python3
# For a build of the package, and for `make` in a checkout.
build_tools='build-essential debhelper dh-python git make python3-venv'

make_debian() { # suite, directory
    # shellcheck disable=SC2086  # one word a package
    debootstrap --variant=minbase --include="$include" "$1" "$2" $mirror &&
        chroot "$2" apt-get -qq update &&
        chroot "$2" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --download-only $depends &&
        rm -f "$2/etc/resolv.conf" &&
        echo gateway >"$2/etc/hostname" &&
        : >"$2/etc/machine-id" # if it were absent, systemd would ask for a locale and a password
}

make_oldest() { # directory
    cp -a "$cache/bookworm/root" "$1" &&
        # pip has to trust what this machine trusts: there may be a proxy.
        cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt" &&
        cp -L /etc/resolv.conf "$1/etc/resolv.conf" &&
        chroot "$1" env DEBIAN_FRONTEND=noninteractive depends="$depends" build_tools="$build_tools" \
            sh -euxs <<'EOF'
sed 's/bookworm/bullseye/' /etc/apt/sources.list >/etc/apt/sources.list.d/bullseye.list
cat >/etc/apt/preferences.d/oldest <<'PIN'
Package: *
Pin: release n=bullseye
Pin-Priority: 100

Package: systemd systemd-sysv libsystemd0 redis-server redis-tools python3-redis python3-bottle python3-waitress
Pin: release n=bullseye
Pin-Priority: 1001
PIN
apt-get -qq update
apt-get -qq install --no-install-recommends --allow-downgrades systemd systemd-sysv libsystemd0 \
    python3-pip python3-setuptools python3-wheel
# An old pip applies the first to what it builds with, a new pip the second.
echo 'cython<3' >/tmp/constraint
PIP_CONSTRAINT=/tmp/constraint PIP_BUILD_CONSTRAINT=/tmp/constraint \
    python3 -m pip install --quiet --break-system-packages --root-user-action=ignore PyYAML==5.4.1
# bottle 0.12.19 imports a function that Python 3.11 removed; 22.04 has Python 3.10.
echo 'import inspect; inspect.getargspec = lambda f: inspect.getfullargspec(f)[:4]' \
    >"$(python3 -c 'import site; print(site.getsitepackages()[0])')/getargspec.pth"
python3 -m pip download --quiet --no-deps --dest /tmp setuptools==59.6.0
cd /usr/lib/python3/dist-packages
rm -rf setuptools setuptools-* pkg_resources _distutils_hack distutils-precedence.pth
python3 -m zipfile -e /tmp/setuptools-59.6.0-*.whl .
python3 -c 'import setuptools; assert setuptools.__version__ == "59.6.0"'
# shellcheck disable=SC2086  # one word a package
apt-get -qq install --download-only --no-install-recommends $build_tools
# shellcheck disable=SC2086
apt-get -qq install --download-only $depends
rm -rf /tmp/* /etc/resolv.conf
EOF
}

make_image() { # name
    local image=$cache/$1 new=$cache/$1.new
    [ "$1" != oldest ] || make_image bookworm || return
    if [ "$(cat "$image/recipe" 2>/dev/null)" = "$recipe" ] &&
        [ -z "$(find "$image/recipe" -mtime +7)" ]; then return; fi
    say "making the image $1 in $cache (a minute or two)"
    rm -rf --one-file-system "$new"
    mkdir -p "$new"
    if [ "$1" = oldest ]; then make_oldest "$new/root"; else make_debian "$1" "$new/root"; fi \
        >"$cache/$1.log" 2>&1 || { tail -n 5 "$cache/$1.log" >&2; return 1; }
    echo "$recipe" >"$new/recipe"
    rm -rf --one-file-system "$image"
    mv "$new" "$image"
}

recipe=$({ echo "$depends $include $build_tools" && declare -f make_image make_debian make_oldest; } |
    sha256sum | cut -d ' ' -f 1)

make_images() { # names
    local image
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    for image in "$@"; do
        make_image "$image" || skip "the image $image cannot be made here, see $cache/$image.log"
    done
    exec 9>&-
}

# A copy of an image that costs nothing; what is written stays in the directory.
mount_copy() { # image, directory
    mkdir -p "$2/upper" "$2/work" "$2/root"
    mount -t overlay overlay -o "lowerdir=$cache/$1/root,upperdir=$2/upper,workdir=$2/work" "$2/root"
}

inside() { # directory of a root, options of systemd-nspawn, --, command
    local directory=$1
    shift
    systemd-nspawn --quiet --register=no --keep-unit --as-pid2 --console=pipe --directory "$directory" "$@"
}

# What git tracks in this checkout, as a repository of its own.
copy_checkout() { # directory
    mkdir -p "$1"
    git -C "$root" ls-files -z | tar --create --directory "$root" --null --files-from - |
        tar --extract --no-same-owner --directory "$1"
    git -C "$1" init --quiet
    git -C "$1" add --all
}
