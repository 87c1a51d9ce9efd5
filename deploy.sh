#!/usr/bin/env bash
# Brings the logging platform up, on this machine or on an existing cluster, or completes what an earlier run left undone.
set -euo pipefail
# What a shell, a hook or `sudo` hands down and what would change where cd, Git, tar and kubectl look.
unset CDPATH BASH_ENV ENV KUBE_CONTEXT TAR_OPTIONS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX
# Left empty, a tilde would be nothing too.
[ -n "${HOME:-}" ] || unset HOME
export HOME=${HOME:-~}

repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
export STATE_DIR=${STATE_DIR:-/var/lib/logging-platform}
export CACHE_DIR=${CACHE_DIR:-/var/cache/logging-platform}
export DEPLOY_LOG=${DEPLOY_LOG:-/var/log/logging-platform.log}
for name in STATE_DIR CACHE_DIR DEPLOY_LOG; do
  # Programs with other working directories are given these too.
  case ${!name} in /*) ;; *) printf -v "$name" %s "$PWD/${!name}" ;; esac
done
# Of a directory whose configuration is the user's, not ours, nothing is read.
export TSX_TSCONFIG_PATH=$repository/tsconfig.json
# Not in /run/lock, where anybody could put a file of this name first.
lock=/run/logging-platform.lock
# Where the cluster on this machine is, for whoever sends everything else through a proxy.
unproxied="localhost 127.0.0.1 ::1 10.250.0.1 10.250.0.0/24 10.244.0.0/16 10.96.0.0/16 .svc .cluster.local"
link=
# As it was called, for whoever is told to call it again.
again=./deploy.sh
[ $# -eq 0 ] || again+=$(printf ' %q' "$@")

# The stages of bootstrap, in their order; bootstrap/src/stages.ts and the clusters beside it say what each one does.
stages_of_this_machine=(
  "Debian packages"
  "Network and image mirror"
  "Images from packages"
  "Kubernetes"
  "DNS and storage"
  "Istio"
  "Git server"
  "Repository"
  "Argo CD"
  "Applications"
  "Platform answers"
)
# What a backup holds has to lie there before anything makes keys and passwords of its own.
stages_of_a_restore=(
  "${stages_of_this_machine[0]}"
  "State of the backup"
  "${stages_of_this_machine[@]:1}"
)
stages_of_an_existing_cluster=(
  "Pre-flight"
  "Istio"
  "Argo CD"
  "Applications"
  "Platform answers"
)
stages_of_kind=("kind" "Images" "${stages_of_an_existing_cluster[@]}")

usage() {
  cat <<'TEXT'
Usage: ./deploy.sh [COMMAND] [FILE] [OPTION...]

Commands
  bootstrap   bring the platform up; running it again completes or changes nothing (default)
  status      say what runs, and which commit of the repository
  env         print export lines for the shell: eval "$(./deploy.sh env)"
  doctor      check the machine, the cluster and the repository; say what to do
  backup      write the state of the cluster on this machine into FILE: etcd, volumes with the Git repository, keys
              (default /var/backups/logging-platform-TIME.tar.gz)
  restore     bring back the platform of a backup's FILE, on a machine without a platform
  destroy     remove everything but the build cache; --purge removes that too

Without --context or --kind the platform runs on this machine, on a cluster that bootstrap assembles; that needs root.

Options
  --http-port PORT   port of the platform on 127.0.0.1 (bootstrap; default 80)
  --purge            remove the build cache too (destroy)
  --dry-run          say what would be done, and do nothing (bootstrap, destroy)
  -h, --help         this text

Options for an existing cluster (docs/existing-cluster.md)
  --context NAME           a context of the kubeconfig; for bootstrap, status, doctor and destroy
  --kind                   use a kind cluster, which bootstrap creates with a registry (docs/kind.md)
  --repo URL               the repository that Argo CD reads (default: the remote origin)
  --revision REF           the branch, tag or commit that it follows (default: the branch that the repository names)
  --repo-credentials FILE  an SSH key, or lines username=… and password=… (default: GIT_USERNAME, GIT_PASSWORD)
  --registry HOST/PATH     where images of services/* are pulled from (default: as Git names them)
  --cluster NAME           a directory of gitops/clusters (default: upstream; without --context embedded)
  --keep-istio             leave an installed Istio unchanged; destroy does so too
  --ha                     an Argo CD that survives the loss of a node; needs three nodes
  --yes                    confirm destroy on an existing cluster

Exit codes
  0  done
  1  a stage failed, or the checkout cannot be deployed: the last lines name the object, its condition and the next
     command
  2  the command line is wrong
  3  the machine lacks something that cannot be installed: root, Node 20, npm, Go 1.21, git, flock; for an
     existing cluster kubectl instead of root, for --kind docker and kind too

Environment
  STATE_DIR    the state of the running platform (default /var/lib/logging-platform)
  CACHE_DIR    compiled tools and images (default /var/cache/logging-platform)
  WAIT_SECONDS deadline of every wait (default 30 to 300, depending on what it waits for)
  DEPLOY_LOG   the output of every command (default /var/log/logging-platform.log)
               Without root, for an existing cluster, cache and log are below ~/.cache and ~/.local/state.
  KUBECONFIG   the file with the contexts (default ~/.kube/config)
  HTTPS_PROXY  and similar variables apply to downloads; deploy.sh adds the addresses of its own cluster to NO_PROXY
TEXT
}

main() {
  local command= locks=
  local -A takes=() given=()
  read_command_line "$@"
  command=${command:-bootstrap}
  for option in purge yes; do
    [ -z "${given[--$option]+x}" ] || [ "$command" = destroy ] || wrong_usage "--$option belongs to destroy"
  done
  if [ "$command" = restore ] && [ -z "${given[--file]:-}" ]; then wrong_usage "restore takes the FILE of a backup"; fi
  case $command in
    backup | restore) [ -z "${given[--dry-run]+x}" ] || wrong_usage "--dry-run belongs to bootstrap and destroy" ;;
  esac
  case $command in bootstrap | backup | restore | destroy) [ -n "${given[--dry-run]+x}" ] || locks=flock ;; esac
  require_temporary_directory
  case $repository in *\?*) link_repository ;; esac
  if [ -n "${given[--kind]+x}" ]; then choose_kind; fi
  if [ -n "${given[--context]+x}" ]; then on_an_existing_cluster; else on_this_machine; fi
}

# Options and their values as usage() names them; each goes on to bootstrap as it stands there.
read_command_line() {
  local line name value
  while IFS= read -r line; do
    if [[ $line =~ ^\ \ (--[a-z-]+)(\ ([A-Z/]+))?\ \  ]]; then takes[${BASH_REMATCH[1]}]=${BASH_REMATCH[3]}; fi
  done < <(usage)
  while [ $# -gt 0 ]; do
    name=${1%%=*} value=
    case $1 in
      bootstrap | status | env | doctor | backup | restore | destroy)
        [ -z "$command" ] || wrong_usage "one command at a time: $command or $1"
        command=$1
        shift
        continue
        ;;
      -h | --help) usage && exit 0 ;;
      --*=?*) [ -n "${takes[$name]:-}" ] || wrong_usage "unknown argument: $1" && value=${1#*=} ;;
      --*) [ -n "${takes[$1]+x}" ] || wrong_usage "unknown argument: $1" ;;
      *)
        case $command in backup | restore) ;; *) wrong_usage "unknown argument: $1" ;; esac
        [ -n "$1" ] && [ -z "${given[--file]:-}" ] || wrong_usage "$command takes one FILE"
        # Programs with other working directories are given it.
        case $1 in /*) given[--file]=$1 ;; *) given[--file]=$PWD/$1 ;; esac
        shift
        continue
        ;;
    esac
    if [ -n "${takes[$name]}" ] && [ -z "$value" ]; then
      [ -n "${2:-}" ] || wrong_usage "$name takes a value"
      value=$2
      shift
    fi
    shift
    if [ "$name" = --http-port ]; then require_port "$value"; fi
    given[$name]=$value
  done
}

# hand_on STAGE...: one process does the work, with the command, its options and the stages in their order.
hand_on() {
  local option options=()
  for option in "${!given[@]}"; do options+=("$option${given[$option]:+=${given[$option]}}"); done
  node --import "$(loader)" "$repository/bootstrap/src/cli.ts" "$command" "${options[@]}" -- "$@"
}

choose_kind() {
  [ -z "${given[--context]+x}" ] || wrong_usage "--kind makes a context of its own: leave --context out"
  given[--context]=kind-logging-platform
  # Under their full names, as `npm run release -- app --registry http://localhost:5001` pushes them.
  given[--registry]=${given[--registry]:-localhost:5001/docker.io/logging-platform}
}

on_this_machine() {
  local option
  for option in --repo --revision --registry --repo-credentials --keep-istio --ha --yes; do
    [ -z "${given[$option]+x}" ] || wrong_usage "$option belongs to --context"
  done
  require_root
  # `su` leaves these out.
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  # Pods and their users read what is written here; secrets have modes of their own.
  umask 022
  spare_the_proxy
  require_programs git node npm go ${locks:+flock}
  require_versions
  case $command in bootstrap | restore) require_whole_checkout ;; esac
  open_log
  [ -z "$locks" ] || take_lock
  install_node_packages
  if [ "$command" = restore ]; then hand_on "${stages_of_a_restore[@]}"; else hand_on "${stages_of_this_machine[@]}"; fi
  if [ "$command" = destroy ] && [ -n "$locks" ]; then rm -f "$DEPLOY_LOG" "$lock"; fi
}

on_an_existing_cluster() {
  local context=${given[--context]} kind=${given[--kind]+x}
  if [ -n "${given[--http-port]+x}${given[--purge]+x}" ]; then
    wrong_usage "--http-port and --purge belong to the cluster on this machine"
  fi
  case $command in backup | restore) wrong_usage "$command belongs to the cluster on this machine" ;; esac
  [ "$command" != env ] || wrong_usage "env works only for the embedded cluster: kubectl config use-context $context"
  if [ "$command" = destroy ] && [ -z "${given[--yes]+x}$kind${given[--dry-run]+x}" ]; then
    wrong_usage "destroy deletes what the platform stored on the cluster of $context: add --yes, or --dry-run to see what"
  fi
  if [ "$(id -u)" != 0 ]; then as_user; fi
  require_programs git node npm go kubectl $locks ${kind:+docker kind}
  require_versions
  if [ -z "$kind" ] && ! kubectl config get-contexts "$context" >/dev/null 2>&1; then
    wrong_usage "the kubeconfig has no context $context (kubectl config get-contexts lists them)"
  fi
  given[--cluster]=${given[--cluster]:-upstream}
  if ! [ -e "$repository/gitops/clusters/${given[--cluster]}/kustomization.yaml" ]; then
    wrong_usage "gitops/clusters has no cluster named ${given[--cluster]}"
  fi
  if [ "$command" = bootstrap ]; then require_checkout; fi
  mkdir -p "$CACHE_DIR"
  open_log
  [ -z "$locks" ] || take_lock
  install_node_packages
  if [ -n "$kind" ]; then hand_on "${stages_of_kind[@]}"; else hand_on "${stages_of_an_existing_cluster[@]}"; fi
}

# Without root nothing outside of the home directory is written.
as_user() {
  local state=${XDG_STATE_HOME:-$HOME/.local/state}/logging-platform
  if [ "$CACHE_DIR" = /var/cache/logging-platform ]; then CACHE_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/logging-platform; fi
  if [ "$DEPLOY_LOG" = /var/log/logging-platform.log ]; then DEPLOY_LOG=$state/deploy.log; fi
  lock=$state/lock
  mkdir -p "$state"
}

require_root() {
  if [ "$(id -u)" != 0 ]; then
    echo "deploy.sh makes namespaces and mounts: run it as root (next: sudo $again)" >&2
    case $command in
      backup | restore) ;;
      *) echo "on an existing cluster it needs no root (next: $again --context NAME)" >&2 ;;
    esac
    exit 3
  fi
}

require_programs() {
  local missing=()
  for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "missing: ${missing[*]} (next: $(way_to "${missing[@]}"))" >&2
    exit 3
  fi
}

# How a machine gets these programs: by a command, or from where newer ones than Debian's are to be had.
way_to() {
  local program packages= pages=
  for program in "$@"; do
    case $program in
      git) packages+=" git" ;;
      flock) packages+=" util-linux" ;;
      docker) packages+=" docker.io" ;;
      node | npm) [[ $pages == *nodejs* ]] || pages+="https://nodejs.org/en/download, " ;;
      go) pages+="https://go.dev/dl, " ;;
      kubectl) pages+="https://kubernetes.io/docs/tasks/tools, " ;;
      kind) pages+="https://kind.sigs.k8s.io, " ;;
    esac
  done
  echo "$pages${pages:+then }${packages:+apt-get install --yes$packages && }$again"
}

require_versions() {
  if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo "Node $(node -v) is too old: 20 or newer is needed (next: https://nodejs.org/en/download, then $again)" >&2
    exit 3
  fi
  # From 1.21 on, Go fetches the toolchain that a module asks for.
  if [ -z "$(GOFLAGS='' go env GOTOOLCHAIN 2>/dev/null)" ]; then
    echo "$(go version) is too old: Go 1.21 or newer is needed (next: https://go.dev/dl, then $again)" >&2
    exit 3
  fi
}

# One that is left over from another login or machine fails whoever writes a file first, far from its cause.
require_temporary_directory() {
  if [ -n "${TMPDIR:-}" ] && ! { [ -d "$TMPDIR" ] && [ -w "$TMPDIR" ]; }; then
    echo "TMPDIR is $TMPDIR, which is no directory that can be written: /tmp is used" >&2
    unset TMPDIR
  fi
}

# Git says itself where it does not read a checkout: one of another owner, or none at all.
require_checkout() {
  if ! shallow=$(git -C "$repository" rev-parse --is-shallow-repository); then
    echo "Git does not read $repository (next: do what Git says, then $again)" >&2
    exit 1
  fi
}

require_whole_checkout() {
  require_checkout
  if [ "$shallow" = true ]; then
    echo "this clone is shallow: the platform's Git server needs the whole history" >&2
    echo "next: git -C $(printf %q "$repository") fetch --unshallow && $again" >&2
    exit 1
  fi
}

# A proxy reaches neither this machine nor the cluster on it; whoever lists what it is not for rarely knows of the latter.
spare_the_proxy() {
  local - address list given="${NO_PROXY:-} ${no_proxy:-}"
  if [ -z "${HTTPS_PROXY:-}${HTTP_PROXY:-}${ALL_PROXY:-}${https_proxy:-}${http_proxy:-}${all_proxy:-}" ]; then return; fi
  list=,
  # With commas, blanks or both between them; an asterisk is no pattern of files.
  set -f
  for address in ${given//,/ } $unproxied; do
    case $list in *",$address,"*) ;; *) list+=$address, ;; esac
  done
  list=${list#,}
  export NO_PROXY=${list%,} no_proxy=${list%,}
}

# What commands print is nobody else's to read; a file of an earlier version was open.
open_log() {
  mkdir -p "$(dirname "$DEPLOY_LOG")"
  if [ -c "$DEPLOY_LOG" ]; then return; fi
  (umask 077 && : >>"$DEPLOY_LOG")
  chmod go-rwx "$DEPLOY_LOG"
}

# One run at a time; a killed one lets go of the lock by itself.
take_lock() {
  local status=0 holder
  mkdir -p "$(dirname "$lock")"
  # Appended to, for until the lock is had the file says who has it.
  exec 9>>"$lock"
  flock --wait 120 --conflict-exit-code 75 9 || status=$?
  if [ "$status" = 75 ]; then
    holder=$(cat "$lock")
    echo "another deploy.sh${holder:+, process $holder,} is at work and did not end within 120 s" >&2
    # Ends when that process does, and at once where it has ended.
    echo "next: ${holder:+tail --pid=$holder -f /dev/null; }$again" >&2
    exit 1
  elif [ "$status" != 0 ]; then
    echo "flock cannot lock $lock (next: do what flock says, then $again)" >&2
    exit 1
  fi
  # destroy removes the file: whoever waited on it meanwhile starts over with the one that stands there now.
  if ! [ "$lock" -ef /proc/self/fd/9 ]; then take_lock; fi
  echo $$ >|"$lock"
}

install_node_packages() {
  if ! [ "$repository/node_modules/.package-lock.json" -nt "$repository/package-lock.json" ]; then
    # Whatever NODE_ENV and npm's own settings leave out: everything here is a development dependency.
    npm ci --prefix "$repository" --no-global --include=dev --include=optional --ignore-scripts --no-audit --no-fund \
      >>"$DEPLOY_LOG" 2>&1 \
      || { echo "npm ci failed (next: tail -n 40 $(printf %q "$DEPLOY_LOG"))" >&2 && exit 1; }
  fi
}

require_port() {
  if ! [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] || (($1 > 65535)); then wrong_usage "--http-port takes a number, not '$1'"; fi
}

wrong_usage() {
  echo "$1" >&2
  echo "next: ./deploy.sh --help" >&2
  exit 2
}

# tsx cuts every path at a question mark: it is given one without, and Node takes links as they are.
link_repository() {
  local directory
  directory=$(mktemp -d 2>/dev/null) || return 0
  link=$directory/checkout
  ln -s "$repository" "$link" || return 0
  repository=$link
  export NODE_OPTIONS="${NODE_OPTIONS:-} --preserve-symlinks --preserve-symlinks-main"
}

# Node takes a loader for a URL, where these characters of a path mean something else.
loader() {
  local url=$repository/node_modules/tsx/dist/loader.mjs
  url=${url//%/%25}
  url=${url//\#/%23}
  url=${url//\?/%3F}
  echo "file://${url//\\/%5C}"
}

remove_link() {
  [ -z "$link" ] || rm -rf "${link%/*}"
}

trap remove_link EXIT
main "$@"
