import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "js-yaml";
import { afterAll, describe, expect, it, vi } from "vitest";
import { until } from "../../../lib/failure.ts";
import { follow } from "../../../lib/test/follow.ts";
import { freePort } from "../../../lib/test/free-port.ts";
import { failureOf } from "../../../tools/test/shop.ts";

import type { Endpoint } from "../src/layout.ts";

const directory = mkdtempSync(join(tmpdir(), "loadbalancer-"));
vi.stubEnv("STATE_DIR", directory);
const { endpoints, nodes, repository } = await import("../src/layout.ts");
const { connectionsPerClient, haproxyConfig, loadBalancerProgram } = await import("../src/loadbalancer.ts");

afterAll(() => rmSync(directory, { recursive: true }));

const offered = endpoints(8088);
const text = haproxyConfig(offered, 70);
const lines = text.split("\n").map((line) => line.trim());

it("listens on loopback only, once for each endpoint", () => {
  const binds = lines.filter((line) => line.startsWith("bind "));
  expect(binds).toEqual(offered.map(({ port }) => `bind 127.0.0.1:${port}`));
  expect(new Set(binds).size).toBe(offered.length);
  expect(binds).toContain("bind 127.0.0.1:8088");
});

describe.each(offered)("the endpoint $name", ({ name, nodePort, healthPath, healthPort }) => {
  const section = text.split(/^(?=\S)/m).find((part) => part.startsWith(`listen ${name}\n`)) ?? "";

  it("leads to its NodePort on every node", () => {
    const servers = [...section.matchAll(/^ {2}server (\S+) (\S+)/gm)].map(([, node, address]) => [
      node,
      address,
    ]);
    expect(servers).toEqual(nodes.map((node) => [node.name, `${node.address}:${nodePort}`]));
  });

  it("asks every node for its health", () => {
    expect(section).toContain("  option httpchk\n");
    // Envoy answers HTTP/1.0 with 426, so a node would never be up.
    expect(section).toContain(`  http-check send meth GET uri ${healthPath} ver HTTP/1.1 hdr Host `);
    const servers = section.split("\n").filter((line) => line.startsWith("  server "));
    const check = healthPort === undefined ? " check" : ` check port ${healthPort}`;
    expect(servers.filter((line) => !line.endsWith(check))).toEqual([]);
  });
});

it("leads to the gateway at the node ports that its Service is given", () => {
  const profile = load(readFileSync(join(repository, "bootstrap/istio/embedded.yaml"), "utf8")) as {
    spec: { values: { gateways: Record<string, { ports: { port: number; nodePort: number }[] }> } };
  };
  const { ports = [] } = profile.spec.values.gateways["istio-ingressgateway"] ?? {};
  const app = offered.find(({ variable }) => variable === "APP_URL");
  expect(ports.find(({ port }) => port === 80)?.nodePort).toBe(app?.nodePort);
  expect(ports.find(({ port }) => port === 15021)?.nodePort).toBe(app?.healthPort);
});

it("passes a connection on to the other node where one does not answer", () => {
  expect(lines).toEqual(expect.arrayContaining(["option redispatch", "retries 3"]));
  expect(lines.find((line) => line.startsWith("default-server"))).toContain(
    "on-marked-down shutdown-sessions",
  );
});

it("gives one address a share of the connections, as the gateway's settings say", () => {
  const rule = (limit: number): string => `tcp-request connection reject if { sc0_conn_cur gt ${limit} }`;
  expect(lines.filter((line) => line === rule(70))).toHaveLength(offered.length);
  const settings = readFileSync(join(repository, "gitops/platform/gateway/gateway.env"), "utf8");
  const limit = Number(/^CONNECTIONS_PER_CLIENT=(\d+)$/m.exec(settings)?.[1]);
  const [path = ""] = loadBalancerProgram(offered).inputs;
  expect(readFileSync(path, "utf8")).toContain(rule(limit));
  // The limit must be only a part of all connections.
  const all = Number(/^ {2}maxconn (\d+)$/m.exec(text)?.[1]);
  expect(limit * 4).toBeLessThan(all);
});

it("closes what one client opens above its share, and lets its neighbour through", async () => {
  const server = createServer((socket) => socket.write("welcome")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const backend = (server.address() as AddressInfo).port;
  const frontend = await freePort();
  const share = 5;
  const [endpoint] = offered;
  const file = join(directory, "live.cfg");
  const live = haproxyConfig([{ ...(endpoint ?? offered[0]), port: frontend } as Endpoint], share)
    // There are no nodes here, and nothing that answers health checks.
    .replace(/^( {2}server \S+) \S+ check.*$/gm, `$1 127.0.0.1:${backend}`)
    .replace(/stats socket \S+/, `stats socket ${join(directory, "live.sock")}`);
  writeFileSync(file, live);
  const haproxy = spawn("/usr/sbin/haproxy", ["-db", "-f", file]);
  let said = "";
  haproxy.stderr.on("data", (data: Buffer) => {
    said += data.toString();
  });
  const sockets: Socket[] = [];
  /** Opens a connection from an address. @returns the received text, or "closed" */
  const open = (localAddress: string): Promise<string> =>
    new Promise((done) => {
      const socket = connect({ host: "127.0.0.1", port: frontend, localAddress });
      sockets.push(socket);
      socket.on("data", (data) => done(data.toString()));
      socket.on("error", () => done("closed")).on("close", () => done("closed"));
    });
  try {
    await until("HAProxy", 30, async () => {
      const heard = await open("127.0.0.9");
      return heard === "welcome" ? undefined : `${heard}: ${said}`;
    });
    const heard: string[] = [];
    for (let count = 0; count < share + 3; count++) heard.push(await open("127.0.0.2"));
    expect(heard).toEqual([...Array(share).fill("welcome"), ...Array(3).fill("closed")]);
    expect(await open("127.0.0.3")).toBe("welcome");
    // A client may open connections again after it has closed some.
    for (const socket of sockets) socket.destroy();
    await until("the share", 30, async () => {
      const again = await open("127.0.0.2");
      return again === "welcome" ? undefined : again;
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    haproxy.kill("SIGKILL");
    server.close();
  }
}, 90_000);

it("says what is missing in the gateway's settings", async () => {
  const { message, next } = await failureOf((async () => connectionsPerClient("BODY_BYTES=1\n"))());
  expect(message).toContain("sets no CONNECTIONS_PER_CLIENT");
  expect(await follow(next, { cwd: repository })).toMatchObject({ exitCode: 0 });
});

it("is restarted when its configuration changes", () => {
  const program = loadBalancerProgram(offered);
  const [path = ""] = program.inputs;
  expect(readFileSync(path, "utf8").replace(/sc0_conn_cur gt \d+/g, "sc0_conn_cur gt 70")).toBe(text);
  expect(program.command).toContain(path);
  loadBalancerProgram(endpoints(8089));
  expect(readFileSync(path, "utf8")).toContain("bind 127.0.0.1:8089\n");
});
