#!/usr/bin/env bash
# Builds the clients and registries of the end-to-end tests that Debian has not, or has too old (list.txt: name,
# version, programs; quick ones first), each once, into <cache>/<name>-<version>/. The cache is $DAMSELFLY_E2E_CLIENTS,
# else damselfly/clients below the user's cache folder.
#
#   install.sh            all of them, those that fail to build are named at the end (exit 1)
#   install.sh NAME…      some of them
#   install.sh --cache    prints the cache folder
#
# Go's environment is the machine's own, but for cgo: nothing here needs a C compiler. Without go: exit 3.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DAMSELFLY_E2E_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/damselfly/clients}

# go install MODULE/PATH@VERSION… with the programs in the folder $out.
from_module() { GOBIN=$out go install -ldflags='-s -w' "$@"; }

# A program of a module that `go install` refuses (its go.mod has exclude or replace lines): as a dependency.
as_dependency() {
  local package=$1 version=$2
  (
    cd "$work"
    printf 'module e2e\n\ngo 1.24\n' >go.mod
    go get "$package@$version"
    go build -ldflags='-s -w' -o "$out/" "$package"
  )
}

# A few lines of our own over a library.
own_program() {
  local name=$1 module=$2 version=$3
  (
    cd "$work"
    cp "$here/$name.go" main.go
    cp main.go "$out/"
    printf 'module e2e\n\ngo 1.24\n' >go.mod
    go get "$module@$version"
    go build -mod=mod -ldflags='-s -w' -o "$out/$name" .
  )
}

build() {
  local name=$1 version=$2
  case $name in
  crane) from_module "github.com/google/go-containerregistry/cmd/crane@$version" ;;
  oras) from_module "oras.land/oras/cmd/oras@$version" ;;
  conformance) from_module "github.com/opencontainers/distribution-spec/conformance@$version" ;;
  # Without CRI (and Kubernetes' libraries with it) it builds in half the time; the tests use ctr.
  containerd)
    from_module -tags=no_cri,no_aufs,no_btrfs,no_devmapper,no_zfs \
      "github.com/containerd/containerd/v2/cmd/containerd@$version" \
      "github.com/containerd/containerd/v2/cmd/ctr@$version"
    ;;
  # The program's own main but for the cloud storage drivers, which are most of its build.
  distribution) own_program registry github.com/distribution/distribution/v3 "$version" ;;
  estargz) own_program estargz github.com/containerd/stargz-snapshotter/estargz "$version" ;;
  nydus-snapshotter)
    as_dependency github.com/containerd/nydus-snapshotter/cmd/containerd-nydus-grpc "$version"
    ;;
  stargz-snapshotter) own_program stargz github.com/containerd/stargz-snapshotter "$version" ;;
  esac
}

# Builds beside the final folder and renames, so that what is there is whole. A lock keeps two runs apart.
install_one() {
  local name=$1 version=$2 target started
  shift 2
  target=$cache/$name-$version
  # Of a program of our own the source is kept beside it.
  if [ -d "$target" ] && { [ ! -f "$here/$1.go" ] || cmp -s "$here/$1.go" "$target/main.go"; }; then
    echo "$name $version: here"
    return
  fi
  rm -rf "$target"
  started=$SECONDS
  work=$(mktemp -d "$cache/.work.XXXXXX")
  out=$work/out
  mkdir "$out"
  # Its own shell with errexit, which an `if` would switch off.
  set +e
  (
    set -e
    build "$name" "$version"
    for program in "$@"; do test -x "$out/$program"; done
  ) >"$work/log" 2>&1 </dev/null
  local code=$?
  set -e
  if [ $code -eq 0 ]; then
    mv "$out" "$target"
    echo "$name $version: built in $((SECONDS - started)) s"
  else
    echo "$name $version: not built (exit code $code); the end of its output:" >&2
    tail -n 15 "$work/log" >&2
    failed+=("$name")
  fi
  rm -rf "$work"
}

if [ "${1:-}" = --cache ]; then
  echo "$cache"
  exit
fi

command -v go >/dev/null || {
  echo "go is not here, so none of these is built: $(cut -d' ' -f1 "$here/list.txt" | xargs)" >&2
  exit 3
}
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9
export CGO_ENABLED=0
failed=()
while read -r name version programs; do
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  # shellcheck disable=SC2086 # a list of words
  install_one "$name" "$version" $programs
done <"$here/list.txt"
[ ${#failed[@]} -eq 0 ] || {
  echo "not built: ${failed[*]}" >&2
  exit 1
}
