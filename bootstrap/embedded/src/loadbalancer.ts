/** HAProxy on 127.0.0.1 in front of the nodes' NodePorts, so that the endpoints survive the loss of a node. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { writeIfChanged } from "./files.ts";
import { type Endpoint, nodes, repository, state } from "./layout.ts";
import type { Program } from "./supervisor.ts";

const path = (): string => state("config", "haproxy.cfg");

/** The limit of connections to all endpoints together. Further ones wait until one is closed. */
const connections = 9000;

/**
 * Text of HAProxy's configuration. Its checks use HTTP/1.1, because Envoy refuses 1.0.
 * @param connectionsPerClient how many connections one address may have to an endpoint; the next one is closed at once
 */
export function haproxyConfig(endpoints: Endpoint[], connectionsPerClient: number): string {
  const sections = endpoints.map((endpoint) => {
    const check = endpoint.healthPort === undefined ? "check" : `check port ${endpoint.healthPort}`;
    return `listen ${endpoint.name}
  bind 127.0.0.1:${endpoint.port}
  stick-table type ip size 100k expire 10m store conn_cur
  tcp-request connection track-sc0 src
  tcp-request connection reject if { sc0_conn_cur gt ${connectionsPerClient} }
  option httpchk
  http-check send meth GET uri ${endpoint.healthPath} ver HTTP/1.1 hdr Host ${endpoint.name}
${nodes.map((node) => `  server ${node.name} ${node.address}:${endpoint.nodePort} ${check}`).join("\n")}
`;
  });
  return `global
  maxconn ${connections}
  # Where the machine allows fewer files, fewer are taken.
  no strict-limits
  stats socket ${state("supervisor", "haproxy.sock")} mode 600 level admin

defaults
  mode tcp
  balance roundrobin
  retries 3
  option redispatch
  timeout connect 3s
  timeout client 1h
  timeout server 1h
  timeout check 2s
  default-server inter 1s fastinter 500ms fall 3 rise 1 on-marked-down shutdown-sessions

${sections.join("\n")}`;
}

/**
 * The limit of connections for one client, from the file with the gateway's other limits.
 * @throws Failure if it is not set
 */
export function connectionsPerClient(
  text = readFileSync(join(repository, "gitops/platform/gateway/gateway.env"), "utf8"),
): number {
  const [, number] = /^CONNECTIONS_PER_CLIENT=(\d+)$/m.exec(text) ?? [];
  if (!number)
    throw new Failure(
      "gitops/platform/gateway/gateway.env sets no CONNECTIONS_PER_CLIENT",
      "git diff gitops/platform/gateway",
    );
  return Number(number);
}

/** Writes the configuration and returns the program for the supervisor. */
export function loadBalancerProgram(endpoints: Endpoint[]): Program {
  writeIfChanged(path(), haproxyConfig(endpoints, connectionsPerClient()));
  return { name: "haproxy", command: ["haproxy", "-db", "-f", path()], inputs: [path()] };
}
