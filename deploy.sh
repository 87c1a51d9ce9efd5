#!/usr/bin/env bash
# Brings the logging platform up, on this machine or on a cluster at hand, or completes what an earlier run left undone.
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
lock=/run/lock/logging-platform.lock
# Where the cluster on this machine is, for whoever sends everything else through a proxy.
unproxied="localhost 127.0.0.1 ::1 10.250.0.1 10.250.0.0/24 10.244.0.0/16 10.96.0.0/16 .svc .cluster.local"
cluster=
# As it was called, for whoever is told to call it again.
again=./deploy.sh
[ $# -eq 0 ] || again+=$(printf ' %q' "$@")
stage_count=11
stage_number=0
build_id=
link=
STAGE_TITLE=
# A cluster at hand: its context, and the options that the stages of bootstrap/upstream are given.
context=
target=()

usage() {
  cat <<'TEXT'
Usage: ./deploy.sh [COMMAND] [OPTION...]

Commands
  bootstrap   bring the platform up; running it again completes or changes nothing (default)
  status      what runs, and which commit of the repository
  env         export lines for the shell: eval "$(./deploy.sh env)"
  doctor      check the machine, the cluster and the repository; say what to do
  destroy     remove everything but the build cache; --purge removes that too

Without --context or --kind the platform runs on this machine, on a cluster that bootstrap assembles; that needs root.

Options
  --http-port PORT   port of the platform on 127.0.0.1 (bootstrap; default 80)
  --purge            remove the build cache too (destroy)
  --dry-run          say what would be done, and do nothing (bootstrap, destroy)
  -h, --help         this text

Options for a cluster at hand (docs/own-cluster.md)
  --context NAME           a context of the kubeconfig; for bootstrap, status, doctor and destroy
  --kind                   create a kind cluster and a registry first; bootstrap, destroy (docs/kind.md)
  --repo URL               the repository that Argo CD reads (default: the remote origin)
  --revision REF           the branch, tag or commit that it follows (default: the branch that Git names)
  --repo-credentials FILE  an SSH key, or lines username=… and password=… (default: GIT_USERNAME, GIT_PASSWORD)
  --registry HOST/PATH     where images of services/* are pulled from (default: as Git names them)
  --cluster NAME           a directory of gitops/clusters (default: upstream; without --context embedded)
  --keep-istio             Istio is there and is left alone, by destroy too
  --ha                     an Argo CD that outlives a node; needs three
  --yes                    destroy: yes, on somebody's own cluster

Exit codes
  0  done
  1  a stage failed, or the checkout is not one to deploy: the last lines name the object, its condition and the next
     command
  2  the command line is wrong
  3  the machine lacks something that cannot be installed: root, Node 20, npm, Go 1.21, git, flock; for a cluster at
     hand kubectl instead of root, for --kind docker and kind too

Environment
  STATE_DIR    what the running platform lives in (default /var/lib/logging-platform)
  CACHE_DIR    compiled tools and images (default /var/cache/logging-platform)
  WAIT_SECONDS deadline of every wait (default 30 to 300, by what is waited for)
  DEPLOY_LOG   what every command printed (default /var/log/logging-platform.log)
               For a cluster at hand and not as root, cache and log are below ~/.cache and ~/.local/state.
  KUBECONFIG   where contexts are (default ~/.kube/config)
  HTTPS_PROXY  and its like are used for downloads; NO_PROXY is given the addresses of the cluster on this machine
TEXT
}

main() {
  local command= purge= dry_run= http_port= kind= yes= locks=
  while [ $# -gt 0 ]; do
    case $1 in
      bootstrap | status | env | doctor | destroy)
        [ -z "$command" ] || wrong_usage "one command at a time: $command or $1"
        command=$1
        ;;
      --http-port)
        [ $# -gt 1 ] || wrong_usage "--http-port takes a port"
        http_port=$(port "$2")
        shift
        ;;
      --http-port=*) http_port=$(port "${1#*=}") ;;
      --context | --cluster | --repo | --revision | --registry | --repo-credentials)
        [ $# -gt 1 ] && [ -n "$2" ] || wrong_usage "$1 takes a value"
        choose "$1" "$2"
        shift
        ;;
      --context=?* | --cluster=?* | --repo=?* | --revision=?* | --registry=?* | --repo-credentials=?*)
        choose "${1%%=*}" "${1#*=}"
        ;;
      --keep-istio | --ha) target+=("$1") ;;
      --kind) kind=1 ;;
      --yes) yes=1 ;;
      --purge) purge=1 ;;
      --dry-run) dry_run=1 ;;
      -h | --help) usage && exit 0 ;;
      *) wrong_usage "unknown argument: $1" ;;
    esac
    shift
  done
  command=${command:-bootstrap}
  if [ -n "$purge" ] && [ "$command" != destroy ]; then wrong_usage "--purge belongs to destroy"; fi
  if [ -n "$yes" ] && [ "$command" != destroy ]; then wrong_usage "--yes belongs to destroy"; fi
  case $command in bootstrap | destroy) [ -n "$dry_run" ] || locks=flock ;; esac
  require_temporary_directory
  case $repository in *\?*) link_repository ;; esac
  if [ -n "$kind" ]; then use_kind; fi
  if [ -n "$context" ]; then
    at_hand "$command" "$kind" "$yes" "$dry_run" "$http_port$purge" "$locks"
    return
  fi
  if [ ${#target[@]} -gt 0 ]; then wrong_usage "${target[0]} belongs to --context"; fi
  if [ -n "$yes" ]; then wrong_usage "--yes belongs to --context"; fi
  cluster=${cluster:-embedded}
  require_root
  # `su` leaves these out.
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  # Pods and their users read what is written here; secrets have modes of their own.
  umask 022
  spare_the_proxy
  require_programs git node npm go ${locks:+flock setsid}
  require_versions
  if [ "$command" = bootstrap ]; then require_whole_checkout; fi
  mkdir -p "$(dirname "$DEPLOY_LOG")"
  [ -z "$locks" ] || take_lock
  install_node_packages
  case $command in
    bootstrap) if [ -n "$dry_run" ]; then embedded plan; else bootstrap "$http_port"; fi ;;
    status) gitops status ;;
    env) embedded env ;;
    doctor) embedded doctor && gitops doctor ;;
    destroy) if [ -n "$dry_run" ]; then embedded remains; else destroy "$purge"; fi ;;
  esac
}

# choose OPTION VALUE: one that takes a value.
choose() {
  case $1 in
    --context) context=$2 ;;
    --cluster) cluster=$2 ;;
    *) target+=("$1" "$2") ;;
  esac
}

use_kind() {
  [ -z "$context" ] || wrong_usage "--kind makes a context of its own: leave --context out"
  context=kind-logging-platform
  target+=(--kind)
  # Under their full names, as `npm run release -- app --registry http://localhost:5001` pushes them.
  case " ${target[*]} " in *" --registry "*) ;; *) target+=(--registry localhost:5001/docker.io/logging-platform) ;; esac
}

# at_hand COMMAND KIND YES DRY_RUN OTHERS LOCKS: everything for a cluster that somebody has.
at_hand() {
  local command=$1 kind=$2 yes=$3 dry_run=$4 locks=$6
  [ -z "$5" ] || wrong_usage "--http-port and --purge belong to the cluster on this machine"
  [ "$command" != env ] || wrong_usage "env belongs to the cluster on this machine: kubectl config use-context $context"
  if [ "$command" = destroy ] && [ -z "$yes$kind$dry_run" ]; then
    wrong_usage "destroy deletes what the platform stored on the cluster of $context: add --yes, or --dry-run to see what"
  fi
  if [ "$(id -u)" != 0 ]; then as_user; fi
  require_programs git node npm go kubectl $locks ${kind:+docker kind}
  require_versions
  if [ -z "$kind" ] && ! kubectl config get-contexts "$context" >/dev/null 2>&1; then
    wrong_usage "the kubeconfig has no context $context (kubectl config get-contexts lists them)"
  fi
  cluster=${cluster:-upstream}
  if ! [ -e "$repository/gitops/clusters/$cluster/kustomization.yaml" ]; then
    wrong_usage "gitops/clusters has no cluster named $cluster"
  fi
  target+=(--context "$context" --cluster "$cluster")
  export KUBE_CONTEXT=$context
  if [ "$command" = bootstrap ]; then require_checkout; fi
  mkdir -p "$(dirname "$DEPLOY_LOG")" "$CACHE_DIR"
  [ -z "$locks" ] || take_lock
  install_node_packages
  case $command in
    bootstrap) if [ -n "$dry_run" ]; then upstream plan; else bootstrap_at_hand "$kind"; fi ;;
    status) typescript tools/src/cli.ts status ;;
    doctor) upstream doctor ;;
    destroy)
      stage_count=1
      if [ -n "$dry_run" ]; then upstream remains; else stage "Destroy" upstream "destroy${kind:+-kind}"; fi
      ;;
  esac
}

bootstrap_at_hand() {
  stage_count=$((5 + ${1:-0} * 2))
  printf '\n=== bootstrap of %s %s ===\n' "$context" "$(date --iso-8601=seconds)" >>"$DEPLOY_LOG"
  if [ -n "$1" ]; then
    stage "kind" upstream kind
    stage "Images" upstream images
  fi
  stage "Pre-flight" upstream check
  stage "Istio" upstream istio
  stage "Argo CD" upstream argocd
  stage "Applications" applications_at_hand
  stage "Platform answers" upstream answers
  reached
  upstream summary
}

applications_at_hand() {
  commit=$(upstream applications)
}

# Without root nothing outside of the home directory is written.
as_user() {
  local state=${XDG_STATE_HOME:-$HOME/.local/state}/logging-platform
  if [ "$CACHE_DIR" = /var/cache/logging-platform ]; then CACHE_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/logging-platform; fi
  if [ "$DEPLOY_LOG" = /var/log/logging-platform.log ]; then DEPLOY_LOG=$state/deploy.log; fi
  lock=$state/lock
  mkdir -p "$state"
}

bootstrap() {
  printf '\n=== bootstrap %s ===\n' "$(date --iso-8601=seconds)" >>"$DEPLOY_LOG"
  stage "Debian packages" embedded packages
  stage "Network and image mirror" embedded registry
  start_compiling
  stage "Images from packages" embedded images docker.io/library/debian docker.io/library/node docker.io/library/busybox \
    docker.io/library/nginx docker.io/library/redis docker.io/logging-platform/git-server \
    docker.io/logging-platform/app docker.io/logging-platform/log-archiver
  stage "Kubernetes" embedded up ${1:+--http-port "$1"}
  stage "DNS and storage" embedded addons
  stage "Istio" istio
  stage "Git server" embedded git-server
  stage "Repository" publish
  stage "Argo CD" argocd
  stage "Applications" applications
  stage "Platform answers" embedded answers
  stop_compiling
  summary
}

publish() {
  commit=$(embedded publish)
}

istio() {
  embedded images docker.io/istio/pilot docker.io/istio/proxyv2 docker.io/istio/install-cni
  embedded install-binaries istio
  if ! on_cluster istioctl install --skip-confirmation --verify --readiness-timeout "${WAIT_SECONDS:-240}s" \
    --filename "$repository/bootstrap/istio/operator.yaml" --filename "$repository/bootstrap/istio/$cluster.yaml" \
    >>"$DEPLOY_LOG" 2>&1; then
    # Names the object that does not come up, and why, where it is one of these.
    WAIT_SECONDS=5 istio_is_ready
    echo "istioctl install failed (next: tail -n 40 $(printf %q "$DEPLOY_LOG"))" >&2
    return 1
  fi
  istio_is_ready
}

istio_is_ready() {
  embedded wait-for istio-system deployment/istiod daemonset/istio-cni-node deployment/istio-ingressgateway
}

argocd() {
  local source
  embedded images quay.io/argoproj/argocd
  embedded install-binaries argocd kustomize
  gitops render argocd --cluster "$cluster" | embedded apply
  source=$(gitops source --cluster "$cluster")
  embedded argocd-secrets "${source%% *}"
  embedded wait-for argocd statefulset/argocd-application-controller deployment/argocd-redis \
    deployment/argocd-repo-server deployment/argocd-server deployment/argocd-applicationset-controller
}

applications() {
  embedded images docker.io/otel/opentelemetry-collector-contrib quay.io/prometheus-operator/prometheus-operator \
    quay.io/prometheus-operator/prometheus-config-reloader quay.io/prometheus/prometheus quay.io/prometheus/alertmanager \
    quay.io/prometheus/node-exporter
  gitops render root --cluster "$cluster" | embedded apply
  gitops wait "$commit"
}

summary() {
  reached
  embedded summary
}

reached() {
  echo
  echo "The platform runs commit ${commit:0:12} in $((SECONDS / 60)) min $((SECONDS % 60)) s."
}

destroy() {
  stage_count=1
  stage "Destroy" embedded destroy ${1:+--purge}
  rm -f "$DEPLOY_LOG" "$lock"
}

# stage TITLE COMMAND...: one line with its outcome and its seconds; the noise goes to the log file.
stage() {
  local title=$1 started=$SECONDS
  shift
  stage_number=$((stage_number + 1))
  STAGE_TITLE=$(printf '[%2d/%d] %-26s' "$stage_number" "$stage_count" "$title")
  export STAGE_TITLE
  if [ -t 2 ]; then printf '\r\033[K%s' "$STAGE_TITLE" >&2; fi
  # Not inside a condition: there bash would go on after a command that failed.
  "$@"
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
  printf '%s %4d s\n' "$STAGE_TITLE" $((SECONDS - started))
  STAGE_TITLE=
}

# Names the stage that a failing command ended.
finish() {
  local status=$?
  stop_compiling
  [ -z "$link" ] || rm -rf "${link%/*}"
  if [ "$status" != 0 ] && [ -n "${STAGE_TITLE:-}" ]; then
    printf '%s failed\n' "$STAGE_TITLE" >&2
    exit 1
  fi
}

# Tools are compiled in the order they are needed while the cluster already starts.
start_compiling() {
  # A session of its own, so that the compiler ends with it; without the lock, which is this run's.
  setsid node --import "$(loader)" "$repository/bootstrap/embedded/src/cli.ts" build >/dev/null 2>&1 9>&- &
  build_id=$!
}

stop_compiling() {
  if [ -n "$build_id" ]; then
    kill -- "-$build_id" 2>/dev/null || true
    wait "$build_id" 2>/dev/null || true
    build_id=
  fi
}

require_root() {
  if [ "$(id -u)" != 0 ]; then
    echo "deploy.sh makes namespaces and mounts: run it as root (next: sudo $again)" >&2
    echo "on a cluster at hand it needs no root (next: $again --context NAME)" >&2
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
      flock | setsid) packages+=" util-linux" ;;
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
    echo "this clone is shallow: the platform's Git server cannot take half a history" >&2
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

port() {
  if ! [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] || (($1 > 65535)); then wrong_usage "--http-port takes a number, not '$1'"; fi
  echo "$1"
}

wrong_usage() {
  echo "$1" >&2
  echo "next: ./deploy.sh --help" >&2
  exit 2
}

embedded() { typescript bootstrap/embedded/src/cli.ts "$@"; }
upstream() { typescript bootstrap/upstream/src/cli.ts "$@" "${target[@]}"; }
gitops() { on_cluster typescript tools/src/cli.ts "$@"; }
on_cluster() { KUBECONFIG=$STATE_DIR/kubeconfig/admin.yaml KUBECTL=$STATE_DIR/bin/kubectl PATH=$STATE_DIR/bin:$PATH "$@"; }
typescript() { node --import "$(loader)" "$repository/$1" "${@:2}"; }

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

trap finish EXIT
main "$@"
