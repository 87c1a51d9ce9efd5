#!/bin/sh
# Ends the agent where it makes no progress, so that the kubelet starts it anew: its health port answers whatever its reader does.
# A line in a file that the agent reads like any other is the question; that its own counts move is the answer. An idle agent has
# read that line, one whose disk is full has been refused it: neither is stuck.
# Environment: POD_IP and METRICS_PORT (where the agent's own metrics are), HEARTBEAT (file), PROCESS (the agent's name), PAUSE and
# LIMIT (seconds).
set -u
case $POD_IP in *:*) host="[$POD_IP]" ;; *) host=$POD_IP ;; esac
was=
stuck=0
while :; do
  # A clock that is set back must not write the same line twice.
  echo "$(date +%s) $$ $stuck" >"${HEARTBEAT%/*}/new" && mv "${HEARTBEAT%/*}/new" "$HEARTBEAT"
  sleep "$PAUSE"
  # Not -T: with it Debian's busybox 1.35 ends in a segmentation fault.
  now=$(timeout 5 wget -q -O - "http://$host:$METRICS_PORT/metrics" | grep -E '^otelcol_(receiver|exporter)_[a-z_]*log_records(_total)?[{ ]')
  # Whoever has never had an answer cannot judge: it may be its own means that fail.
  if [ -z "$was" ] || { [ -n "$now" ] && [ "$now" != "$was" ]; }; then
    was=$now
    stuck=0
    continue
  fi
  stuck=$((stuck + PAUSE))
  [ "$stuck" -ge "$LIMIT" ] || continue
  id=$(pidof "$PROCESS") || continue
  echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) the agent has read and refused nothing for $stuck s: it is ended"
  # What is stuck may not hear the first.
  kill -TERM $id
  sleep 5
  kill -KILL $id 2>/dev/null
  stuck=0
done
