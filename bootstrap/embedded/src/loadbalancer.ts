/** HAProxy on 127.0.0.1 in front of the nodes' NodePorts, so that a node may go. */
import { writeIfChanged } from "./files.ts";
import { type Endpoint, nodes, state } from "./layout.ts";
import type { Program } from "./supervisor.ts";

const path = (): string => state("config", "haproxy.cfg");

/** Text of HAProxy's configuration; its checks speak HTTP/1.1, as Envoy refuses 1.0. */
export function haproxyConfig(endpoints: Endpoint[]): string {
  const sections = endpoints.map((endpoint) => {
    const check = endpoint.healthPort === undefined ? "check" : `check port ${endpoint.healthPort}`;
    return `listen ${endpoint.name}
  bind 127.0.0.1:${endpoint.port}
  option httpchk
  http-check send meth GET uri ${endpoint.healthPath} ver HTTP/1.1 hdr Host ${endpoint.name}
${nodes.map((node) => `  server ${node.name} ${node.address}:${endpoint.nodePort} ${check}`).join("\n")}
`;
  });
  return `global
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

/** Writes the configuration and returns the program, to be supervised. */
export function loadBalancerProgram(endpoints: Endpoint[]): Program {
  writeIfChanged(path(), haproxyConfig(endpoints));
  return { name: "haproxy", command: ["haproxy", "-db", "-f", path()], inputs: [path()] };
}
