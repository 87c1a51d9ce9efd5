import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "js-yaml";
import { afterAll, describe, expect, it, vi } from "vitest";
import { follow } from "../../../lib/test/follow.ts";
import { failureOf } from "../../../tools/test/shop.ts";

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
    // Envoy answers HTTP/1.0 with 426: a node would never be up.
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
  // A share, and not all.
  const all = Number(/^ {2}maxconn (\d+)$/m.exec(text)?.[1]);
  expect(limit * 4).toBeLessThan(all);
});

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
