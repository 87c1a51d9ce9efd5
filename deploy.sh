#!/usr/bin/env bash
# Brings the logging platform up on this machine, or completes what an earlier run left undone.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export STATE_DIR=${STATE_DIR:-/var/lib/logging-platform}
export CACHE_DIR=${CACHE_DIR:-/var/cache/logging-platform}
export DEPLOY_LOG=${DEPLOY_LOG:-/var/log/logging-platform.log}
lock=/run/lock/logging-platform.lock
cluster=embedded
stage_count=11
stage_number=0
build_id=

usage() {
  cat <<'TEXT'
Usage: ./deploy.sh [COMMAND] [OPTION...]

Commands
  bootstrap   bring the platform up; running it again completes or changes nothing (default)
  status      what runs, and which commit of the repository
  env         export lines for the shell: eval "$(./deploy.sh env)"
  doctor      check the machine, the cluster and the repository; say what to do
  destroy     remove everything but the build cache; --purge removes that too

Options
  --http-port PORT   port of the platform on 127.0.0.1 (bootstrap; default 80)
  --purge            remove the build cache too (destroy)
  --dry-run          say what would be done, and do nothing (bootstrap, destroy)
  -h, --help         this text

Exit codes
  0  done
  1  a stage failed: the last lines name the object, its condition and the next command
  2  the command line is wrong
  3  the machine lacks something that cannot be installed: root, Node 20, npm, Go 1.21, git

Environment
  STATE_DIR    what the running platform lives in (default /var/lib/logging-platform)
  CACHE_DIR    compiled tools and images (default /var/cache/logging-platform)
  WAIT_SECONDS deadline of every wait (default 30 to 300, by what is waited for)
  DEPLOY_LOG   what every command printed (default /var/log/logging-platform.log)
TEXT
}

main() {
  local command= purge= dry_run= http_port=
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
      --purge) purge=1 ;;
      --dry-run) dry_run=1 ;;
      -h | --help) usage && exit 0 ;;
      *) wrong_usage "unknown argument: $1" ;;
    esac
    shift
  done
  command=${command:-bootstrap}
  if [ -n "$purge" ] && [ "$command" != destroy ]; then wrong_usage "--purge belongs to destroy"; fi
  require_machine
  mkdir -p "$(dirname "$DEPLOY_LOG")"
  case $command in bootstrap | destroy) [ -n "$dry_run" ] || take_lock ;; esac
  install_node_packages
  case $command in
    bootstrap) if [ -n "$dry_run" ]; then embedded plan; else bootstrap "$http_port"; fi ;;
    status) gitops status ;;
    env) embedded env ;;
    doctor) embedded doctor && gitops doctor ;;
    destroy) if [ -n "$dry_run" ]; then embedded remains; else destroy "$purge"; fi ;;
  esac
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
    echo "istioctl install failed (next: tail -n 40 $DEPLOY_LOG)" >&2
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
  echo
  echo "The platform runs commit ${commit:0:12} in $((SECONDS / 60)) min $((SECONDS % 60)) s."
  embedded summary
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
  if [ "$status" != 0 ] && [ -n "${STAGE_TITLE:-}" ]; then
    printf '%s failed\n' "$STAGE_TITLE" >&2
    exit 1
  fi
}

# Tools are compiled in the order they are needed while the cluster already starts.
start_compiling() {
  # A session of its own, so that the compiler ends with it; without the lock, which is this run's.
  setsid node --import "$repository/node_modules/tsx/dist/loader.mjs" "$repository/bootstrap/embedded/src/cli.ts" build \
    >/dev/null 2>&1 9>&- &
  build_id=$!
}

stop_compiling() {
  if [ -n "$build_id" ]; then
    kill -- "-$build_id" 2>/dev/null || true
    wait "$build_id" 2>/dev/null || true
    build_id=
  fi
}

require_machine() {
  local missing=()
  if [ "$(id -u)" != 0 ]; then
    echo "deploy.sh makes namespaces and mounts: run it as root (next: sudo ./deploy.sh)" >&2
    exit 3
  fi
  for program in git node npm go; do command -v "$program" >/dev/null || missing+=("$program"); done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "missing: ${missing[*]} (next: install ${missing[*]} and run ./deploy.sh again)" >&2
    exit 3
  fi
  if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo "Node $(node -v) is too old: 20 or newer is needed (next: install it and run ./deploy.sh again)" >&2
    exit 3
  fi
  # From 1.21 on, Go fetches the toolchain that a module asks for.
  if ! go env GOTOOLCHAIN 2>/dev/null | grep -q .; then
    echo "$(go version) is too old: Go 1.21 or newer is needed (next: install it and run ./deploy.sh again)" >&2
    exit 3
  fi
}

# One run at a time; a killed one lets go of the lock by itself.
take_lock() {
  exec 9>"$lock"
  if ! flock --wait 120 9; then
    echo "another deploy.sh is at work and did not end within 120 s (next: fuser -v $lock)" >&2
    exit 1
  fi
  # destroy removes the file: whoever waited on it meanwhile starts over with the one that stands there now.
  if ! [ "$lock" -ef /proc/self/fd/9 ]; then take_lock; fi
}

install_node_packages() {
  if ! [ "$repository/node_modules/.package-lock.json" -nt "$repository/package-lock.json" ]; then
    npm ci --prefix "$repository" --ignore-scripts --no-audit --no-fund >>"$DEPLOY_LOG" 2>&1 \
      || { echo "npm ci failed (next: tail $DEPLOY_LOG)" >&2 && exit 1; }
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
gitops() { on_cluster typescript tools/src/cli.ts "$@"; }
on_cluster() { KUBECONFIG=$STATE_DIR/kubeconfig/admin.yaml PATH=$STATE_DIR/bin:$PATH "$@"; }
typescript() { node --import "$repository/node_modules/tsx/dist/loader.mjs" "$repository/$1" "${@:2}"; }

trap finish EXIT
main "$@"
